"""Which checkpoints a run keeps: the newest, and the best by a metric where it is asked to."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from reasoning_rl.config import TrainConfig
from reasoning_rl.learner.checkpoint import checkpoints, prune, step_of


class Retention:
    """Of the checkpoints in `folder`. A function of the metrics and of what is there, so that a resumed run keeps the same."""

    def __init__(self, folder: Path, config: TrainConfig, history: Iterable[Mapping[str, Any]] = ()) -> None:
        """`history`: the lines of metrics.jsonl so far."""
        self._folder, self._config = folder, config
        self._scores: dict[int, float] = {}
        for row in history:
            self.note(row)

    def note(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        value = row.get(self._config.keep_best or "")
        if value is not None and isfinite(value) and is_due(int(row["step"]), self._config):
            self._scores[int(row["step"])] = float(value)

    def unknown(self, row: Mapping[str, Any]) -> bool:
        """Whether the best is asked for by a column that this line, of a step that saves, doesn't have."""
        return self._config.keep_best is not None and self._config.keep_best not in row

    def prune(self) -> None:
        """Remove the others."""
        steps = [step_of(checkpoint) for checkpoint in checkpoints(self._folder)]
        due = {step for step in steps if is_due(step, self._config)}
        prune(self._folder, kept(steps, due, self._config.keep_checkpoints, self._scores))


def is_due(step: int, config: TrainConfig) -> bool:
    """Whether the recipe asks for a checkpoint after this step."""
    return step == config.steps or bool(config.save_every and step % config.save_every == 0)


def kept(steps: Sequence[int], due: Collection[int], newest: int, scores: Mapping[int, float]) -> set[int]:
    """Of `steps`, ascending: the last, since training goes on from it; the `newest` of those that were due; the best, the first of equals.

    >>> sorted(kept([20, 40, 60, 70], {20, 40, 60}, 1, {20: 0.5, 40: 0.4, 60: 0.5}))
    [20, 60, 70]
    """
    regular = [step for step in steps if step in due]
    scored = [step for step in regular if step in scores]
    best = {max(scored, key=lambda step: scores[step])} if scored else set()
    return {*steps[-1:], *regular[-newest:], *best}
