"""What a run watches itself for: updates that can't be made, failing verifiers, rewards and entropy that fall away, answers without end.

What a guard writes of a step is a function of the rows of metrics.jsonl up to it: a run that goes on writes what one that was never stopped
would.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning_rl.config import GuardsConfig
from reasoning_rl.errors import TrainingError, VerifierError
from reasoning_rl.learner.alarms import ALARMS, Alarm, Course
from reasoning_rl.learner.offenders import Skipped
from reasoning_rl.learner.tally import BUDGET, SKIPPED

Row = Mapping[str, float | None]
"""Of metrics.jsonl, where what is not finite is null."""

_STORM = "guards/verifier_storm"
_REMEDY = (
    "Checkpoints are free of such numbers. A lower learner.learning_rate or learner.max_grad_norm, policy.dtype=float32 or "
    "policy.autocast=off may help, in a run of another name, which may begin with a checkpoint of this one (docs/faq.md)"
)


@dataclass
class _Watched:
    """An alarm, with the limit that the recipe sets it and the course so far."""

    alarm: Alarm
    limit: float
    course: Course

    @property
    def rings(self) -> bool:
        return self.alarm.rings(self.course, self.limit)

    @property
    def words(self) -> str:
        return f"{self.alarm.says(self.course, self.limit)} (guards.{self.alarm.setting}; docs/faq.md)"


class Guards:
    """Looks at each step of a run once, in their order, and says what has become alarming."""

    def __init__(self, config: GuardsConfig, say: Callable[[str], None], history: Iterable[Row] = ()) -> None:
        """`history`: the rows of the steps before, of which nothing is said any more."""
        self.config, self._say = config, say
        limits = {name: getattr(config, alarm.setting) for name, alarm in ALARMS.items()}
        self._watched = {name: _Watched(ALARMS[name], limit, Course(config.window)) for name, limit in limits.items() if limit is not None}
        self._skipping = 0
        self._budget: float | None = None
        self._storm: str | None = None
        for row in history:
            self._take(row)

    def skipped(self, step: int, updates: Sequence[Skipped], rows: Path) -> None:
        """What becomes of the run when updates of a step, before it is looked at, were not made. `rows` is the file with their samples.

        TrainingError where `guards.nonfinite` is `stop`, or where it is the `guards.most_skipped`-th step in a row.
        """
        if not updates:
            return
        found = "; ".join(dict.fromkeys(update.found for update in updates))
        said = f"step {step}: {found}; {_counted(len(updates))} not made, and the answers are in {rows}"
        in_a_row = self._skipping + 1
        if self.config.nonfinite == "stop":
            raise TrainingError(f"{said}. {_REMEDY}; guards.nonfinite=skip goes on without such updates")
        if in_a_row >= self.config.most_skipped:
            raise TrainingError(f"{said}. Steps in a row so far: {in_a_row} (guards.most_skipped). {_REMEDY}")
        self._say(f"S{said[1:]}; the run goes on (guards.nonfinite is skip)")

    def look(self, step: int, metrics: Row) -> dict[str, float]:
        """`guards/*`: 1 where the step, or the course up to it, is alarming, else 0; nothing for what isn't watched. Says what is new."""
        rang, budget = {name for name, watched in self._watched.items() if watched.rings}, self._budget
        self._take(metrics)
        rings = {name: watched.rings for name, watched in self._watched.items()}
        for name, ringing in rings.items():
            if ringing and name not in rang and not (name == _STORM and self.config.verifier_storm == "stop"):  # which is said by `enforce`
                self._say(f"Step {step}: {self._watched[name].words}")
        if self._budget != budget:
            self._say(
                f"Step {step}: out of memory, and done again with learner.tokens_per_microbatch={self._budget:.0f}, as the rest will be"
            )
        self._storm = f"step {step}: {self._watched[_STORM].words}" if rings.get(_STORM) else None
        return {name: float(ringing) for name, ringing in rings.items()}

    def enforce(self) -> None:
        """VerifierError when the last step looked at, which is recorded by now, had a storm and `guards.verifier_storm` is `stop`."""
        if self._storm is not None and self.config.verifier_storm == "stop":
            raise VerifierError(f"{self._storm}. The run stops, since guards.verifier_storm is stop")

    def _take(self, row: Row) -> None:
        """One more step, at the end of those known."""
        for watched in self._watched.values():
            watched.course.add(_number(row, watched.alarm.column))
        self._skipping = self._skipping + 1 if _number(row, SKIPPED) else 0
        self._budget = _number(row, BUDGET) or self._budget


def _number(row: Row, column: str) -> float | None:
    """None where it is absent, null or not finite: a row that was read back and one that is about to be written look the same."""
    value = row.get(column)
    return value if value is not None and math.isfinite(value) else None


def _counted(updates: int) -> str:
    return "an update was" if updates == 1 else f"{updates} updates were"
