"""One worker: a policy, the engine that samples from it, the learner that changes it.

And the pieces of work it does, which can travel between processes and machines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from reasoning_rl.config import ColdStartConfig, LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.data.store import load_demonstrations
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.learner.checkpoint import save_checkpoint, storing
from reasoning_rl.learner.coldstart import Memory, cold_start
from reasoning_rl.learner.learner import Learned, Learner, Models
from reasoning_rl.learner.parallel import ALONE, Ranks, join
from reasoning_rl.learner.sharding import shard, shard_values
from reasoning_rl.objectives import build
from reasoning_rl.policy.adapters import require_linear
from reasoning_rl.policy.policy import Policy, autocast_dtype, build_policy, load_policy
from reasoning_rl.policy.values import ValueModel
from reasoning_rl.records import Completion, Prompt, Sample
from reasoning_rl.rollout.engine import Elsewhere, OnFinished, Sampling, SharedEngine, engine_for
from reasoning_rl.rollout.local import LocalEngine

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_rl.objectives.objective import Need

TIMEOUT = timedelta(minutes=10)
"""How long a worker waits for the others before it gives up."""
Gather = Literal["auto", "float32", "bfloat16"]
"""See `cluster.gather`."""


class Worker:
    """What a process of a crew holds, or a rank of a cluster's learners."""

    policy: Policy
    engine: SharedEngine
    learner: Learner

    def __init__(self, ranks: Ranks = ALONE, gather: Gather | None = None) -> None:
        """`ranks` share gradients; with `gather`, weights, gradients and moments are shared out over them."""
        self.engine = Elsewhere()
        self.ranks, self._gather = ranks, gather
        self.sender: Sender | None = None
        """Where weights go from rank to sampler directly."""

    def load(self, model: str, config: PolicyConfig, revision: str | None = None) -> Policy:
        """A policy, or the part of one that is this rank's."""
        policy = self.load_whole(model, config, revision)
        if self._gather is not None:
            shard(policy, self.ranks, self._gathered(policy))
        return policy

    def load_whole(self, model: str, config: PolicyConfig, revision: str | None = None) -> Policy:
        """A policy; in the host's memory, if it is to be shared out."""
        if self._gather is None:
            return load_policy(model, config, revision)
        policy = load_policy(model, config.model_copy(update={"device": "cpu"}), revision)
        policy.autocast = autocast_dtype(config)
        return policy

    def value_model(self, trunk: Policy) -> ValueModel:
        """On a trunk that was loaded whole."""
        value = ValueModel(trunk)
        if self._gather is not None:
            shard_values(value, self.ranks, self._gathered(trunk))
        return value

    def _gathered(self, policy: Policy) -> torch.dtype | None:
        """Type in which weights are gathered; None for their own."""
        if self._gather == "auto":
            return policy.autocast if self.ranks.mesh and self.ranks.mesh.device_type == "cuda" else None
        return torch.bfloat16 if self._gather == "bfloat16" else None

    def let_go(self) -> None:
        """Of engine, policy and learner: two of them at once may not fit."""
        self.engine.close()
        self.engine = Elsewhere()
        for name in ("policy", "learner"):
            self.__dict__.pop(name, None)

    def close(self) -> None:
        """End the engine, and leave the others."""
        try:
            self.engine.close()
        finally:
            self.ranks.leave()


def one_of(rank: int, size: int, folder: Path) -> Worker:
    """Of a crew that meets in a folder. Several have a thread each."""
    if size > 1:
        torch.set_num_threads(1)
    return Worker(join(rank, size, folder / "rendezvous", TIMEOUT))


class Sender(Protocol):
    """Gives the policy's weights to samplers elsewhere. All ranks call it at the same time."""

    def send(self, version: int) -> None:
        """Ends when they have them."""

    def close(self) -> None:
        """Part from them."""


@dataclass(frozen=True)
class Warm:
    """Cold start on the demonstrations of a data folder, from `policy.model` or from nothing; the first worker writes it to `output`."""

    data: Path
    output: Path
    policy: PolicyConfig
    cold_start: ColdStartConfig
    seed: int
    tokens: int
    """Per micro-batch."""
    on_step: Callable[[int, float], None] | None = field(default=None, compare=False)

    def __call__(self, worker: Worker) -> None:
        if self.policy.model is None:
            tokenizer = load_tokenizer(str(self.data / "tokenizer"), None)
            policy = build_policy(self.policy.architecture, self.policy, tokenizer, self.seed)
        else:
            policy = load_policy(self.policy.model, self.policy, self.policy.revision)
        if self.policy.lora:  # trained later; said now
            require_linear(policy.model, self.policy.lora.targets)
        demonstrations = load_demonstrations(self.data)
        memory = Memory(self.tokens, self.policy.logits_mib)
        cold_start(policy, demonstrations, self.cold_start, seed=self.seed, memory=memory, ranks=worker.ranks, on_step=self.on_step)
        if worker.ranks.rank == 0:
            with storing(self.output):
                policy.save(self.output)


@dataclass(frozen=True)
class Open:
    """Load a policy, with the engine that the recipe asks for. An engine that was open is closed."""

    model: str
    config: PolicyConfig
    sampling: SamplingConfig
    revision: str | None = None
    samples: bool = True
    """Whether this worker has an engine at all."""

    def __call__(self, worker: Worker) -> None:
        worker.let_go()
        worker.policy = worker.load(self.model, self.config, self.revision)
        if self.samples:
            worker.engine = self._engine(worker.policy, worker.ranks)
            worker.engine.load_weights(worker.policy.weights(), 0)

    def _engine(self, policy: Policy, ranks: Ranks) -> SharedEngine:
        if engine_for(self.sampling.engine, on_gpu=policy.device.type == "cuda") == "local":
            return LocalEngine(policy, self.sampling.batch_rows)
        if ranks.rank:
            return Elsewhere()
        from reasoning_rl.rollout.vllm import VLLMEngine

        return VLLMEngine(policy, self.model, self.sampling, self.revision, threads=ranks.size if ranks.size > 1 else None)


@dataclass(frozen=True)
class Prepare:
    """Give the opened policy to a learner, with what the objective needs beside it, and with the state of a checkpoint.

    The reference model and the layers of the value model begin as `reference`. Where adapters are trained, the opened policy is `reference`
    too: they come here. Returns the number of steps done.
    """

    objective: ObjectiveConfig
    learner: LearnerConfig
    sampling: SamplingConfig
    policy: PolicyConfig
    steps: int
    reference: str
    checkpoint: Path | None = None

    def __call__(self, worker: Worker) -> int:
        objective = build(self.objective, self.sampling.max_tokens)
        if self.policy.lora is not None:
            worker.policy.adapt(self.policy.lora, self.checkpoint)
        worker.learner = Learner(
            self._models(worker, objective.needs),
            objective,
            self.learner,
            steps=self.steps,
            temperature=self.sampling.temperature,
            logits_mib=self.policy.logits_mib,
            ranks=worker.ranks,
        )
        if self.checkpoint is None:
            return 0
        done = worker.learner.resume(self.checkpoint)
        worker.engine.load_weights(worker.policy.weights(), done)
        return done

    def _models(self, worker: Worker, needs: "frozenset[Need]") -> Models:
        reference = self._reference(worker) if "reference" in needs else None
        return Models(worker.policy, reference, worker.value_model(self._trunk(worker)) if "values" in needs else None)

    def _reference(self, worker: Worker) -> Policy:
        """The model that the run began with, from its files: a copy of its own."""
        if worker.policy.adapted:
            return worker.policy.unadapted()
        return worker.load(self.reference, self.policy, self.policy.revision)

    def _trunk(self, worker: Worker) -> Policy:
        """Of the value model."""
        trunk = worker.load_whole(self.reference, self.policy, self.policy.revision)
        if self.policy.lora is not None:
            trunk.adapt(self.policy.lora)
        return trunk


@dataclass(frozen=True)
class Generate:
    """Sample from the engine."""

    prompts: Sequence[Prompt]
    sampling: Sampling
    on_finished: OnFinished | None = field(default=None, compare=False)
    """Only of the first worker: it does not travel."""

    def __call__(self, worker: Worker) -> list[list[Completion]]:
        return worker.engine.generate(self.prompts, self.sampling, self.on_finished)


@dataclass(frozen=True)
class Update:
    """One step of the learner on all workers, then the engine's new version."""

    batches: Sequence[Sequence[Sample]]
    step: int
    settle: Callable[[], None] | None = field(default=None, compare=False)
    """Returns when nothing is being sampled, so that the engine's weights may change. Only of the first worker: it does not travel."""

    def __call__(self, worker: Worker) -> Learned:
        worker.engine.sleep()
        learned = worker.learner.update(self.batches, self.step)
        if self.settle:
            self.settle()
        worker.engine.load_weights(worker.policy.weights(), self.step + 1)
        return learned


@dataclass(frozen=True)
class LoadWeights:
    """Give the engine other weights."""

    tensors: "dict[str, Tensor]"
    version: int

    def __call__(self, worker: Worker) -> None:
        worker.engine.load_weights(self.tensors.items(), self.version)


@dataclass(frozen=True)
class Save:
    """Write the checkpoint of a step into a folder of checkpoints, all workers together."""

    folder: Path
    step: int
    state: Mapping[str, Any] = field(default_factory=dict)
    """What it holds besides the learner's. That of the first worker counts."""

    def __call__(self, worker: Worker) -> None:
        save_checkpoint(self.folder, self.step, worker.policy, {**worker.learner.state(), **self.state}, worker.ranks)
