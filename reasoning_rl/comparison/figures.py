"""What the runs of a comparison reached and what they cost, in numbers.

# S seeds, Q problems
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from reasoning_rl.comparison.arms import Arm, Plan
from reasoning_rl.comparison.runs import BASE, Run, runs_of
from reasoning_rl.config import Config
from reasoning_rl.errors import RunError
from reasoning_rl.eval.metrics import headline, reported, values_of
from reasoning_rl.eval.seeds import RESAMPLES, Table, holm, two_level, two_level_difference
from reasoning_rl.eval.statistics import Difference, Interval
from reasoning_rl.journal import read_metrics

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, int | None]
"""A metric and its k."""


@dataclass(frozen=True)
class Outcome:
    """A finished run. Problems are indexed by their id; the course has one row per step."""

    run: Run
    before: "pd.DataFrame"
    after: "pd.DataFrame"
    course: "pd.DataFrame"
    """Columns `samples` and `seconds`, of learning until then, and whatever metrics.jsonl has."""

    @cached_property
    def costs(self) -> dict[str, float]:
        """`step_seconds` and `tokens_per_second` are medians over steps, the others totals; absent is what the run didn't report."""
        named = {"memory/peak_mib": "peak_mib", "memory/peak_gpu_mib": "peak_gpu_mib", "samples": "samples", "seconds": "seconds"}
        highest = {name: float(self.course[column].max()) for column, name in named.items() if column in self.course}
        medians = {"step_seconds": "step_time", "tokens_per_second": "tokens_per_second"}
        return {name: float(self.course[column].median()) for name, column in medians.items()} | highest if len(self.course) else {}


@dataclass(frozen=True)
class Contrast:
    """A metric before and after training, over seeds and problems."""

    metric: str
    k: int | None
    before: Interval
    after: Interval
    gain: Interval
    difference: Difference | None = None
    """Of this gain to that of the first arm, on the seeds that both have; None for the first arm itself."""
    holm: float | None = None
    """Its p-value, corrected for the number of arms that the first is compared with."""


@dataclass(frozen=True)
class Standing:
    """What is known of an arm."""

    arm: Arm
    models: tuple[str, ...]
    """Held while it learns."""
    outcomes: tuple[Outcome, ...]
    failures: Mapping[int, str]
    """By seed, why there is no outcome."""
    contrasts: Mapping[Key, Contrast] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(outcome.run.seed for outcome in self.outcomes)

    def cost(self, name: str) -> float | None:
        """Median over the seeds, which a busy hour of the machine doesn't move; None where none reported it."""
        known = [outcome.costs[name] for outcome in self.outcomes if name in outcome.costs]
        return median(known) if known else None


def standings(plan: Plan) -> list[Standing]:
    """Of all arms, in the order of the plan. RunError where no run is done, or where runs were asked different problems."""
    return contrasted([_collected(plan, arm) for arm in plan.arms])


def contrasted(bare: Sequence[Standing], resamples: int = RESAMPLES) -> list[Standing]:
    """With what their outcomes say of before and after, and of the first of them. See `standings`."""
    outcomes = [outcome for standing in bare for outcome in standing.outcomes]
    if not outcomes:
        failures = "; ".join(f"{one.arm.name} with seed {seed}: {why}" for one in bare for seed, why in one.failures.items())
        raise RunError(f"not one run is done, so there is nothing to report ({failures})")
    _same_problems(outcomes)
    keys = headline(reported(outcomes[0].after, outcomes[0].run.config.eval.k))
    by_key = {key: _contrasts(bare, key, resamples) for key in keys}
    return [replace(one, contrasts={key: by_key[key][one.arm.name] for key in keys} if one.outcomes else {}) for one in bare]


def _collected(plan: Plan, arm: Arm) -> Standing:
    runs = [run for run in runs_of(plan) if run.arm == arm]
    done = [run for run in runs if run.is_done()]
    failures = {run.seed: run.failure() for run in runs if run not in done}
    return Standing(arm, models_held(runs[0].config), tuple(map(_outcome, done)), failures)


def models_held(config: Config) -> tuple[str, ...]:
    """What a learner keeps in memory for this objective. Rules give the reward, so PPO's fourth model, that of rewards, is never there."""
    from reasoning_rl.objectives import build

    needs = build(config.objective, config.sampling.max_tokens).needs
    return ("policy", *(["reference"] if "reference" in needs else []), *(["value"] if "values" in needs else []))


def _outcome(run: Run) -> Outcome:
    folder = run.config.folder
    last = "trained" if run.config.train.steps else BASE
    return Outcome(run, _problems(folder / "eval" / BASE), _problems(folder / "eval" / last), _course(folder))


def _problems(folder: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(folder / "problems.parquet").set_index("problem_id").sort_index()


def _course(folder: Path) -> "pd.DataFrame":
    """Steps of learning, with the answers sampled and the seconds spent until each. Evaluation is not in them."""
    metrics = read_metrics(folder)
    steps = metrics[metrics["step"] > 0].reset_index(drop=True)
    if steps.empty:
        return steps
    answers = (steps["num_tokens"] / steps["completions/mean_length"]).round()
    return steps.assign(samples=answers.cumsum(), seconds=steps["step_time"].cumsum())


def _same_problems(outcomes: Sequence[Outcome]) -> None:
    first = outcomes[0]
    for outcome in outcomes:
        for problems in (outcome.before, outcome.after):
            if list(problems.index) != list(first.after.index) or list(problems["question"]) != list(first.after["question"]):
                raise RunError(f"{outcome.run.name} and {first.run.name} were asked different problems, so no difference can be paired")


def _contrasts(standings: Sequence[Standing], key: Key, resamples: int) -> dict[str, Contrast]:
    """Of every arm that has an outcome, by name."""
    found = {one.arm.name: _contrast(one, standings[0], key, resamples) for one in standings if one.outcomes}
    p_values = {name: contrast.difference.p_value for name, contrast in found.items() if contrast.difference}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {name: replace(contrast, holm=corrected.get(name)) for name, contrast in found.items()}


def _contrast(standing: Standing, base: Standing, key: Key, resamples: int) -> Contrast:
    before_SQ, after_SQ = _before_and_after(standing.outcomes, key)
    before, after, gain = (two_level(values_SQ, resamples) for values_SQ in (before_SQ, after_SQ, after_SQ - before_SQ))
    return Contrast(*key, before, after, gain, None if standing is base else _difference(standing, base, key, resamples))


def _difference(standing: Standing, base: Standing, key: Key, resamples: int) -> Difference | None:
    """None where they share no seed."""
    shared = [seed for seed in standing.seeds if seed in base.seeds]
    if not shared:
        return None
    ours_SQ, theirs_SQ = (_gains([one for one in side.outcomes if one.run.seed in shared], key) for side in (standing, base))
    return two_level_difference(ours_SQ, theirs_SQ, resamples)


def _gains(outcomes: Sequence[Outcome], key: Key) -> Table:
    before_SQ, after_SQ = _before_and_after(outcomes, key)
    return after_SQ - before_SQ


def _before_and_after(outcomes: Sequence[Outcome], key: Key) -> tuple[Table, Table]:
    """(S, Q) each."""
    sides = ([outcome.before for outcome in outcomes], [outcome.after for outcome in outcomes])
    before_SQ, after_SQ = (np.array([values_of(problems, *key) for problems in side], dtype=np.float64) for side in sides)
    return before_SQ, after_SQ
