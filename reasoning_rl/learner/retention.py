"""Which checkpoints a run keeps: the newest, and the best by a metric where it is asked to."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from reasoning_rl.config import TrainConfig
from reasoning_rl.journal import metrics_rows
from reasoning_rl.learner.checkpoint import checkpoints, prune, step_of
from reasoning_rl.recipes import load_config


class Retention:
    """Of the checkpoints in `folder`. A function of the metrics and of what is there, so that a resumed run keeps the same."""

    def __init__(self, folder: Path, config: TrainConfig, history: Iterable[Mapping[str, Any]] = ()) -> None:
        """`history`: the lines of metrics.jsonl so far."""
        self._folder, self._config = folder, config
        self._scores: dict[int, float] = {}
        self._said = False
        for row in history:
            self.note(row)

    def note(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        value = row.get(self._config.keep_best or "")
        if value is not None and isfinite(value) and is_due(int(row["step"]), self._config):
            self._scores[int(row["step"])] = float(value)

    def unknown(self, row: Mapping[str, Any]) -> bool:
        """Whether the best is asked for by a column that this line, of a step that saves, is the first not to have."""
        first = self._config.keep_best is not None and self._config.keep_best not in row and not self._said
        self._said |= first
        return first

    @property
    def best(self) -> int | None:
        """Step of the best checkpoint that is there."""
        return _best(self._steps, self._scores)

    @property
    def _steps(self) -> list[int]:
        return [step_of(checkpoint) for checkpoint in checkpoints(self._folder)]

    def prune(self) -> None:
        """Remove the others."""
        steps = self._steps
        due = {step for step in steps if is_due(step, self._config)}
        prune(self._folder, kept(steps, due, self._config.keep_checkpoints, self._scores))


def best_of(run: Path) -> int | None:
    """Step of the checkpoint that `train.keep_best` keeps in a run's folder. ReasoningRLError when settings or metrics can't be read."""
    return Retention(run / "checkpoints", load_config(run / "config.yaml").train, metrics_rows(run)).best


def is_due(step: int, config: TrainConfig) -> bool:
    """Whether the recipe asks for a checkpoint after this step."""
    return step == config.steps or bool(config.save_every and step % config.save_every == 0)


def kept(steps: Sequence[int], due: Collection[int], newest: int, scores: Mapping[int, float]) -> set[int]:
    """Of `steps`, ascending: the last, since training goes on from it; the `newest` of those that were due; the best, the first of equals.

    >>> sorted(kept([20, 40, 60, 70], {20, 40, 60}, 1, {20: 0.5, 40: 0.4, 60: 0.5}))
    [20, 60, 70]
    """
    regular = [step for step in steps if step in due]
    best = _best(regular, scores)
    return {*steps[-1:], *regular[-newest:], *([] if best is None else [best])}


def _best(steps: Sequence[int], scores: Mapping[int, float]) -> int | None:
    return max((step for step in steps if step in scores), key=lambda step: scores[step], default=None)
