"""What the loop asks of a sampling engine: three methods, whoever implements them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion, Prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from reasoning_rl.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    n: int
    """Answers per prompt."""
    max_tokens: int
    temperature: float = 1.0
    """0 takes the most probable token each time."""
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    """Texts that end an answer and stay in it."""
    seed: int = 0
    stream: str = ""
    """Names the draw, for example `train/12`: the randomness of an answer is a function of (seed, stream, problem id, index) alone."""


VLLM_HELP = "`make setup-vllm` prepares an environment with it, which `make train ENGINE=vllm` uses; sampling.engine=local needs none"

OnFinished = Callable[[int, int, Completion], None]
"""Hears of a completion as soon as it is finished: index of its prompt, its place among the prompt's completions, itself. It is quick."""
More = Callable[[], Sequence[Prompt]]
"""Asked for further prompts to be answered in the same call, between two forward passes or two batches. They are numbered on."""


def renumbered(on_finished: OnFinished | None, indices: Sequence[int]) -> OnFinished | None:
    """For whoever is asked the prompts of these indices alone, and counts them from 0."""
    if on_finished is None:
        return None
    return lambda index, row, completion: on_finished(indices[index], row, completion)


class Engine(Protocol):
    """Samples completions from the policy whose weights it was last given."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """`sampling.n` completions of each prompt, in the order of the prompts.

        `on_finished` is called from this thread, once at most for each completion, in any order: an engine that knows of some only at the
        end leaves them out. Raises EngineError when a prompt and `max_tokens` don't fit into the context together, EngineDied when the
        engine breaks down: then all there is left to do is to close it, and to make another.
        """

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Take every tensor of the policy's state dict; completions carry `version` from here on."""

    def close(self) -> None:
        """Free what the engine holds, be it dead or alive. Calling it twice does no harm."""


class SharedEngine(Engine, Protocol):
    """An engine that shares a machine with the learner of its policy."""

    version: int
    """Of the weights it holds: the number of steps they have learned."""
    for_all: bool
    """Whether the first process of a crew samples for all of them; otherwise each has an engine of its own."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        """See Engine. `more` is asked whenever there is room; it ends when all is answered and the last time brought nothing."""

    @property
    def apart(self) -> bool:
        """Whether it can sample in a thread while the learner works: it has weights of its own, and does not sleep."""

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """EngineError names the first prompt that leaves no room for `max_tokens` in the context."""

    def sleep(self) -> None:
        """Give back the memory that the learner can use meanwhile. `load_weights` wakes it."""


class Elsewhere:
    """Stands where the engine is another process's."""

    for_all, apart = True, False
    version = 0

    def generate(
        self,
        prompts: Sequence[Prompt],  # noqa: ARG002
        sampling: Sampling,  # noqa: ARG002
        on_finished: OnFinished | None = None,  # noqa: ARG002
        more: More | None = None,  # noqa: ARG002
    ) -> list[list[Completion]]:
        """Whoever asks is wrong here."""
        raise EngineError("this process has no engine")

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:  # noqa: ARG002
        """They go to the other process."""
        self.version = version

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """The other process finds out."""

    def sleep(self) -> None:
        """Holds nothing."""

    def close(self) -> None:
        """Holds nothing."""


def engine_for(asked: str, *, on_gpu: bool) -> str:
    """The engine that `sampling.engine` means: `auto` is `vllm` where there are a GPU and vLLM, else `local`."""
    if asked != "auto":
        return asked
    return "vllm" if on_gpu and find_spec("vllm") else "local"


def require_engine(asked: str) -> None:
    """EngineError where `sampling.engine` asks for vLLM and it isn't installed."""
    if asked == "vllm" and not find_spec("vllm"):
        raise EngineError(f"sampling.engine: vLLM is not installed; {VLLM_HELP}")


def require_room(prompts: Sequence[Prompt], max_tokens: int, context: int, more: str = "") -> None:
    """EngineError names the first prompt that leaves no room for `max_tokens` in the context, and says what helps; `more`: what else."""
    for prompt in prompts:
        if len(prompt.token_ids) + max_tokens > context:
            raise EngineError(
                f"problem {prompt.problem.id}: a prompt of {len(prompt.token_ids)} tokens and {max_tokens} new ones "
                f"don't fit into the context of {context}; lower sampling.max_tokens or data.max_prompt_tokens{more}"
            )


def require_same_names(shapes: "Mapping[str, torch.Size]", given: "Mapping[str, Tensor]", version: int) -> None:
    """EngineError names a tensor that is not in both, or is of another shape than the engine's."""
    if given.keys() != shapes.keys():
        raise EngineError(
            f"weights of version {version}: {sorted(given.keys() ^ shapes.keys())[:4]} are not in both the policy and the engine"
        )
    for name, tensor in given.items():
        if tensor.shape != shapes[name]:
            raise EngineError(f"weights of version {version}: {name} is {tuple(tensor.shape)}, the engine's is {tuple(shapes[name])}")


def texts_of(answers: Sequence[Sequence[int]], policy: "Policy") -> list[str]:
    """What the tokens of each answer spell, special ones too, without the token that ended it."""
    ends = policy.end_tokens
    spoken = [list(ids[:-1]) if ids and ids[-1] in ends else list(ids) for ids in answers]
    texts: list[str] = policy.tokenizer.batch_decode(spoken, skip_special_tokens=False)
    return texts
