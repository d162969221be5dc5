"""What the loop asks of a sampling engine: three methods, whoever implements them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reasoning_rl.records import Completion, Prompt

if TYPE_CHECKING:
    from torch import Tensor


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


class Engine(Protocol):
    """Samples completions from the policy whose weights it was last given."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Completion]]:
        """`sampling.n` completions of each prompt, in the order of the prompts.

        Raises EngineError when a prompt and `max_tokens` don't fit into the context together.
        """

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:
        """Take every tensor of the policy's state dict; completions carry `version` from here on."""

    def close(self) -> None:
        """Free what the engine holds. Calling it twice does no harm."""
