"""A team of many processes on many machines: learners that share the gradient, samplers that take prompts as they become free.

    driver ── prompts ──▶ samplers ── answers ──▶ driver ── answers ──▶ learners ── weights ──▶ samplers

The driver holds no model. It starts both, hands out work, and is the one who writes the run's folder, but for checkpoints.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from reasoning_rl.cluster.hand import Hand
from reasoning_rl.cluster.learners import Learners
from reasoning_rl.cluster.pool import Pool
from reasoning_rl.cluster.publishing import Meet, Publish, Send, Transferred
from reasoning_rl.cluster.ray_session import has_gpus
from reasoning_rl.cluster.remote import RemoteSampler
from reasoning_rl.cluster.start import Place, Start
from reasoning_rl.cluster.transfer import chosen
from reasoning_rl.cluster.weights import Weights, put
from reasoning_rl.config import Config, PolicyConfig
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import EngineDied, EngineError
from reasoning_rl.learner.memory import PeakMemory
from reasoning_rl.learner.worker import Open, Prepare, Save, Update, Warm
from reasoning_rl.records import Completion, Prompt, Sample
from reasoning_rl.rollout.engine import Engine, OnFinished, Sampling, engine_for

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from reasoning_rl.learner.learner import Learned

T = TypeVar("T")


class ClusterTeam:
    """A Team. Learners are started when there is something to learn, samplers when a policy is opened."""

    def __init__(self, config: Config, say: Callable[[str], None] = lambda _: None) -> None:
        """For a driver that is connected to Ray. `say` hears of what takes long, and of deaths."""
        self._config, self._cluster, self._say = config, config.cluster, say
        self._gpus = wants_gpus(config.policy)
        vllm = engine_for(config.sampling.engine, on_gpu=self._gpus) == "vllm"
        self._way = chosen(config.cluster.transfer, on_gpu=self._gpus, vllm=vllm, placement=config.cluster.placement)
        self._learners: Learners | None = None
        self._pool: Pool | None = None
        self._opened: Open | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._version = 0
        self._met: list[RemoteSampler] = []
        """Samplers that weights go to directly."""

    @property
    def size(self) -> int:
        """See Team."""
        return self._cluster.learners

    @property
    def apart(self) -> bool:
        """See Team."""
        return self._cluster.placement == "separate"

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """See Team."""
        assert self._tokenizer is not None
        return self._tokenizer

    @property
    def context(self) -> int:
        """See Team."""
        return self._samplers.context

    def warm(self, work: Warm, on_step: Callable[[int, float], None]) -> None:
        """See Team."""
        learners = self._learning()
        heard = 0

        def listen() -> None:
            nonlocal heard
            if told := learners.progress():
                for step in range(heard, told[0] + 1):
                    on_step(step, told[1])
                heard = told[0] + 1

        learners.everyone(work, while_waiting=listen)

    def open(self, work: Open) -> None:
        """See Team. Samplers have the policy from its files."""
        if self._pool:
            self._pool.close()
        self._opened, self._version = work, 0
        self._tokenizer = load_tokenizer(work.model, work.revision)
        cluster, places = self._cluster, self._places()
        start = Start(work, Path.cwd(), cluster.cpus_per_sampler, cluster.tensor_parallel, self._way)
        needs = {"CPU": 0 if places else cluster.cpus_per_sampler, "GPU": cluster.tensor_parallel if self._gpus and not places else 0}
        self._say(f"Cluster: starting {cluster.samplers} samplers")
        begin = partial(RemoteSampler, start, needs, places)
        self._met = []
        self._pool = Pool(begin, cluster.samplers, rows=work.sampling.batch_rows, patience_s=cluster.wait_s, say=self._say)
        self._pool.publish(0, None, keep=1)

    def prepare(self, work: Prepare) -> int:
        """See Team."""
        assert self._opened is not None
        learners = self._learning()
        learners.everyone(replace(self._opened, samples=False))
        done = int(learners.everyone(work)[0])
        self._publish(done)
        return done

    def update(self, batches: Sequence[Sequence[Sample]], step: int, settle: Callable[[], None]) -> "Learned":
        """See Team."""
        if not self.apart:
            _all_of(hand.sleep() for hand in self._hands())
        learned: Learned = self._learning().everyone(Update(batches, step))[0]
        settle()
        self._publish(step + 1)
        return learned

    def save(self, folder: Path, step: int, state: Mapping[str, object]) -> None:
        """See Team. The first rank writes what is not shared out."""
        self._learning().everyone(Save(folder, step, state))

    def peaks(self) -> list[tuple[int, int]]:
        """See Team."""
        return [*self._learning().everyone(PeakMemory()), *_all_of(hand.peak() for hand in self._hands())]

    def metrics(self) -> dict[str, float]:
        """See Team. Of the samplers."""
        return self._samplers.metrics()

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See Team."""
        self._samplers.require_fit(prompts, max_tokens)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """See Engine."""
        return self._samplers.generate(prompts, sampling, on_finished)

    def pinned(self) -> Engine | None:
        """An engine of the present version, whichever is published later; None where samplers hold but one."""
        return Pinned(self._samplers, self._version) if self._way == "object_store" else None

    def break_off(self) -> None:
        """See Interruptible. Samplers of a lost node may wait for the room of the very learners that are to be closed next."""
        if self._pool:
            self._pool.break_off()

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:
        """See Engine."""
        self._distribute(put(named_tensors, version))

    def close(self) -> None:
        """See Engine."""
        if self._pool:
            self._pool.close()
        if self._learners:
            self._learners.close()
        self._pool = self._learners = None

    def _places(self) -> list[Place]:
        """Where colocated samplers find the learners' GPUs; none where samplers have their own, or there are no GPUs at all."""
        if self.apart or not self._gpus:
            return []
        width = self._cluster.tensor_parallel
        ranks = sorted(self._learning().nodes())  # Ray deals ranks to nodes in an order of its own
        places = [_place(ranks[start : start + width]) for start in range(0, len(ranks), width)]
        return places[: self._cluster.samplers]

    def _hands(self) -> list[RemoteSampler]:
        return _remote(self._samplers.hands())

    @property
    def _samplers(self) -> Pool:
        if self._pool is None:
            raise EngineError("no policy has been opened yet, or the team is closed")
        return self._pool

    def _learning(self) -> Learners:
        """The learners, started if need be."""
        if self._learners is None:
            self._say(f"Cluster: starting {self.size} learners")
            self._learners = Learners(self._cluster, gpus=self._gpus, say=self._say)
            self._learners.meet()
        return self._learners

    def _publish(self, version: int) -> None:
        """Give samplers the learners' weights."""
        if self._way == "object_store":
            weights: Weights = self._learning().everyone(Publish(version))[0]
            self._distribute(weights)
        else:
            self._transfer(version)

    def _distribute(self, weights: Weights) -> None:
        """Samplers read them where they lie."""
        self._samplers.publish(weights.version, weights, keep=self._config.train.off_policy_steps + 1)
        self._version = weights.version

    def _transfer(self, version: int) -> None:
        """Into all samplers, from GPU to GPU, while none of them is at work."""
        self._meet(_remote(self._samplers.settled()))
        edition = self._samplers.publish(version, Transferred(version), keep=1, holders=self._met)
        _all_of(hand.expect(edition) for hand in self._met)
        self._learning().everyone(Send(version))
        self._version = version

    def _meet(self, hands: list[RemoteSampler]) -> None:
        """Once, and again when others have come."""
        if hands != self._met:
            samplers = tuple(hand.process for hand in hands)
            self._learning().everyone(Meet(self._way, samplers, self._cluster.tensor_parallel, self._config.sampling.vllm))
            self._met = hands

    def __enter__(self) -> "ClusterTeam":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Pinned(Engine):
    """Samples by one version of the weights."""

    pool: Pool
    version: int

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """See Engine."""
        return self.pool.generate(prompts, sampling, on_finished, version=self.version)

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:  # noqa: ARG002
        """Never: others come with another version."""
        raise EngineError(f"this engine samples by version {self.version} alone")

    def close(self) -> None:
        """The team's to do."""


def _remote(hands: Iterable[Hand]) -> list[RemoteSampler]:
    return [hand for hand in hands if isinstance(hand, RemoteSampler)]


def _all_of(futures: Iterable[Future[T]]) -> list[T]:
    """The results of those whose process is alive; the pool sees to the others. Raises what one that is alive has to say."""
    asked = list(futures)
    return [future.result() for future in asked if not isinstance(future.exception(), EngineDied)]


def _place(ranks: Sequence[tuple[str, list[str]]]) -> Place:
    """Of a sampler on the GPUs of these ranks. EngineError where they are of several nodes."""
    nodes = {node for node, _ in ranks}
    if len(nodes) > 1:
        raise EngineError(
            f"cluster.tensor_parallel: {len(ranks)} GPUs of a colocated sampler lie on {len(nodes)} nodes here; a number that divides the "
            "GPUs of each node is accepted, and so is cluster.placement=separate"
        )
    return Place(nodes.pop(), tuple(gpu for _, gpus in ranks for gpu in gpus))


def wants_gpus(config: PolicyConfig) -> bool:
    """Whether learners and samplers take GPUs. EngineError where the recipe wants one and the cluster has none."""
    if config.device == "cpu":
        return False
    if config.device == "cuda" and not has_gpus():
        raise EngineError("policy.device: 'cuda', but no node of the cluster has a GPU; use 'auto' or 'cpu'")
    return has_gpus()
