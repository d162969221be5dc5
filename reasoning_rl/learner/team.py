"""What the stages ask of those who sample and learn, wherever they are: in this process and its neighbours, or in a cluster."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reasoning_rl.records import Prompt, Sample
from reasoning_rl.rollout.engine import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from reasoning_rl.learner.learner import Learned
    from reasoning_rl.learner.worker import Open, Prepare, Warm


class Team(Engine, Protocol):
    """Samples by the policy that it has opened, and changes it. After EngineDied all there is left to do is to close it."""

    @property
    def size(self) -> int:
        """Ranks that share the gradient."""

    @property
    def apart(self) -> bool:
        """Whether it can sample in a thread while it learns."""

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Of the policy."""

    @property
    def context(self) -> int:
        """Tokens that a prompt and its completion may have together."""

    def warm(self, work: "Warm", on_step: Callable[[int, float], None]) -> None:
        """The cold start; `on_step` hears of steps and their losses."""

    def open(self, work: "Open") -> None:
        """Sample by this policy from here on."""

    def prepare(self, work: "Prepare") -> int:
        """Learn too, from here on; the number of steps done."""

    def update(self, batches: Sequence[Sequence[Sample]], step: int, settle: Callable[[], None]) -> "Learned":
        """A step of the learner, after which answers are those of version `step` + 1. `settle` is called before the weights change."""

    def save(self, folder: Path, step: int, state: Mapping[str, Any]) -> None:
        """A checkpoint in a folder of checkpoints, which holds `state` besides the learner's."""

    def peaks(self) -> list[tuple[int, int]]:
        """See PeakMemory, of every process."""

    def metrics(self) -> dict[str, float]:
        """What it says of itself since the last time, under names of metrics.jsonl."""

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """EngineError names the first prompt that leaves no room for `max_tokens` in the context."""
