"""What is found of a part of a run, and the run as it is looked at."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from reasoning_rl.checksums import damage
from reasoning_rl.claim import holder
from reasoning_rl.config import Config
from reasoning_rl.errors import ReasoningRLError, RunError
from reasoning_rl.journal import metrics_rows
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.recipes import load_config

METRICS = "metrics.jsonl"
State = Literal["ok", "not yet", "missing", "damaged", "under way"]
"""`not yet`: comes when the run goes on. `missing`: was removed, and the run does without. `under way`: changes while it is looked at."""


@dataclass(frozen=True)
class Finding:
    """Of one part."""

    part: str
    state: State
    detail: str
    remedy: str = ""
    """Of what is damaged: what makes it again, and what is lost."""


@dataclass(frozen=True)
class Run:
    """A run's folder, read once."""

    folder: Path

    @cached_property
    def holder(self) -> str | None:
        """Who writes there now."""
        return holder(self.folder)

    @cached_property
    def config(self) -> Config | None:
        """None where config.yaml is absent or can't be loaded."""
        try:
            return load_config(self.folder / "config.yaml")
        except ReasoningRLError:
            return None

    @cached_property
    def rows(self) -> list[int] | str:
        """The steps of metrics.jsonl, line by line, or what of it is damaged."""
        try:
            steps = [row["step"] for row in metrics_rows(self.folder)]
        except RunError as failure:
            return str(failure)
        wrong = next((line for line, step in enumerate(steps, start=1) if not isinstance(step, int)), None)
        return (
            steps
            if wrong is None
            else f"{self.folder / METRICS}:{wrong}: damaged: step is {steps[wrong - 1]!r}; a whole number is accepted"
        )

    @property
    def last(self) -> int | None:
        """Step of the last row of metrics, 0 where there is none; None where that can't be known."""
        return None if isinstance(self.rows, str) else max(self.rows, default=0)

    @property
    def checkpoints(self) -> list[Path]:
        """Oldest first, damaged ones too."""
        return checkpoints(self.folder / "checkpoints")

    @cached_property
    def broken(self) -> dict[Path, str]:
        """The checkpoints that are damaged, each with what is wrong."""
        return {path: found for path in self.checkpoints if (found := damage(path))}

    @property
    def whole(self) -> list[Path]:
        """The other checkpoints, oldest first."""
        return [path for path in self.checkpoints if path not in self.broken]

    def command(self, stage: str, *more: str) -> str:
        """What to type for a stage of this run."""
        recipe = str(self.folder / "config.yaml") if self.config else "…"
        moved = self.config is not None and self.config.folder.resolve() != self.folder.resolve()
        place = [f"runs={self.folder.parent}", f"name={self.folder.name}"] if moved else []
        return " ".join(["reasoning-rl", stage, "--recipe", *map(_word, (recipe, *place, *more))])


def _word(argument: str) -> str:
    return argument if "…" in argument else shlex.quote(argument)


def counted(number: int, thing: str) -> str:
    """With its plural.

    >>> counted(1, "step"), counted(2, "step")
    ('1 step', '2 steps')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
