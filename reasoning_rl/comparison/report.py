"""A comparison as a page for people, JSON for machines, a tidy table, and two pictures."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from reasoning_rl import __version__
from reasoning_rl.comparison.arms import Plan
from reasoning_rl.comparison.figures import Contrast, Key, Standing
from reasoning_rl.eval.metrics import METRICS, label, values_of
from reasoning_rl.eval.plots import course_grid, gains_plot
from reasoning_rl.eval.report import figure, markdown_table, span
from reasoning_rl.eval.statistics import Difference, Interval
from reasoning_rl.files import write_text, write_whole

COLUMNS = ("arm", "seed", "metric", "k", "before", "after", "gain")
PASS_AT_1: Key = ("pass@k", 1)
_NONE = "–"
_METHOD = """\
## How to read this

* **gain**: after minus before, paired by problem. All policies are asked the same held-out problems under the same randomness.
* **difference**: the gain minus that of the first objective, paired by problem and seed. **p** is Holm's, over all objectives compared.
* **Intervals** hold 95 %, from a bootstrap that redraws seeds and problems (arXiv:0712.1111). They cover other problems of this kind and \
other seeds of sampling and of the order of problems. They don't cover another cold start, data set, model, size or setting. Three seeds \
are few: where seeds differ more than problems do, such an interval holds about 80 %; with one seed it says nothing of other seeds. The \
p-values come from the same resamples and share this.
* **models held** are those in the learner's memory. Rules give the reward, so none of them is a reward model.
* **Peak memory** is that of the training processes, added up, with what Python and its libraries take. **seconds per step** is a median; \
a step samples, judges and learns."""


def write_report(plan: Plan, standings: Sequence[Standing], created: str | None = None) -> Path:
    """report.md, report.json, table.csv, gains.png and rewards.png in the folder of the comparison; the path of the first."""
    import pandas as pd

    out = plan.out
    table = pd.DataFrame([row for standing in standings for row in _rows(standing)], columns=list(COLUMNS)).astype({"k": "Int64"})
    write_whole(out / "table.csv", lambda temporary: table.to_csv(temporary, index=False))
    main = {one.arm.name: one.contrasts[PASS_AT_1] for one in standings if PASS_AT_1 in one.contrasts}
    differences = {name: contrast.difference for name, contrast in main.items() if contrast.difference}
    gains_plot({name: contrast.gain for name, contrast in main.items()}, differences, out / "gains.png")
    course_grid({one.arm.name: [outcome.course for outcome in one.outcomes] for one in standings if one.outcomes}, out / "rewards.png")
    write_text(out / "report.json", to_json(plan, standings, created or datetime.now(UTC).isoformat(timespec="seconds")))
    return write_text(out / "report.md", to_markdown(plan, standings))


def _rows(standing: Standing) -> Iterator[tuple[object, ...]]:
    """One row per seed and metric; a cost has neither before nor gain."""
    for outcome in standing.outcomes:
        for metric, k in standing.contrasts:
            before, after = (float(values_of(side, metric, k).mean()) for side in (outcome.before, outcome.after))
            yield standing.arm.name, outcome.run.seed, metric, k, before, after, after - before
        for name, value in outcome.costs.items():
            yield standing.arm.name, outcome.run.seed, name, None, None, value, None


def to_json(plan: Plan, standings: Sequence[Standing], created: str) -> str:
    facts = {
        "schema": 1,
        "created": created,
        "reasoning_rl": __version__,
        "recipe": plan.recipe,
        "overrides": list(plan.overrides),
        "seeds": list(plan.seeds),
        "problems": _problems(standings),
        "arms": [_facts(standing) for standing in standings],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _facts(standing: Standing) -> dict[str, object]:
    costs = dict.fromkeys(name for outcome in standing.outcomes for name in outcome.costs)
    return {
        "name": standing.arm.name,
        "overrides": list(standing.arm.overrides),
        "models": list(standing.models),
        "seeds": list(standing.seeds),
        "failures": {str(seed): why for seed, why in standing.failures.items()},
        "contrasts": [asdict(contrast) for contrast in standing.contrasts.values()],
        "costs": {name: standing.cost(name) for name in costs},
    }


def to_markdown(plan: Plan, standings: Sequence[Standing]) -> str:
    results = (_opening(plan, standings), _quality(standings), _costs(standings), _failures(standings))
    parts = (*results, _METHOD, _every_metric(standings), _settings(plan))
    return "\n\n".join(part for part in parts if part) + "\n"


def _problems(standings: Sequence[Standing]) -> int:
    return next(len(outcome.after) for standing in standings for outcome in standing.outcomes)


def _opening(plan: Plan, standings: Sequence[Standing]) -> str:
    counts = f"{len(plan.arms)} objectives, seeds {', '.join(map(str, plan.seeds))}, {_problems(standings)} held-out problems"
    shared = f", with `{' '.join(plan.overrides)}`" if plan.overrides else ""
    return f"# Objectives on the recipe `{plan.recipe}`\n\n{counts}{shared}."


def _quality(standings: Sequence[Standing]) -> str:
    header = ("objective", "seeds", "pass@1 before", "after", "gain", f"difference to {standings[0].arm.name}", "p")
    rows = [(one.arm.name, f"{len(one.outcomes)}", *_quality_cells(one)) for one in standings]
    return (
        f"## What they reach\n\n{markdown_table(header, rows)}\n\nIn brackets: 95 % intervals. The other metrics are "
        "[below](#before-and-after).\n\n![gain of each objective](gains.png)"
    )


def _quality_cells(standing: Standing) -> tuple[str, ...]:
    if not standing.outcomes:
        return (_NONE,) * 5
    main = standing.contrasts[PASS_AT_1]
    before, after = (figure(main.metric, side.value) for side in (main.before, main.after))
    return (before, after, _change(main.metric, main.gain), *_paired(main))


def _paired(contrast: Contrast) -> tuple[str, str]:
    """The difference to the first arm and its p-value."""
    if contrast.difference is None or contrast.holm is None:
        return (_NONE, _NONE)
    return _change(contrast.metric, contrast.difference), "<0.001" if contrast.holm < 0.001 else f"{contrast.holm:.3f}"


def _level(metric: str, interval: Interval) -> str:
    return f"{figure(metric, interval.value)} ({span(metric, interval.low, interval.high)})"


def _change(metric: str, change: Interval | Difference) -> str:
    """With signs, and no minus where it rounds to 0."""
    value, low, high = (f"{number:+z.{METRICS[metric].decimals}f}" for number in (change.value, change.low, change.high))
    return f"{value} ({low} to {high})"


def _every_metric(standings: Sequence[Standing]) -> str:
    """A table for each metric, of the arms that have an outcome."""
    known = [one for one in standings if one.outcomes]
    blocks = [f"### {label(*key)}\n\n{_before_and_after(known, key)}" for key in known[0].contrasts]
    return "\n\n".join(["## Before and after\n\nMeans over seeds and problems, in brackets their 95 % intervals.", *blocks])


def _before_and_after(standings: Sequence[Standing], key: Key) -> str:
    metric, _ = key
    found = [(one.arm.name, one.contrasts[key]) for one in standings]
    rows = [(name, _level(metric, one.before), _level(metric, one.after), _change(metric, one.gain)) for name, one in found]
    return markdown_table(("objective", "before", "after", "gain"), rows)


def _costs(standings: Sequence[Standing]) -> str:
    first = standings[0]
    gpu = ["peak_gpu_mib"] if any(standing.cost("peak_gpu_mib") for standing in standings) else []
    header = (
        "objective", "models held", "seconds per step", f"x {first.arm.name}", "tokens/s", "peak memory, MiB", f"x {first.arm.name}",
        *("peak of the GPU, MiB" for _ in gpu), "answers sampled", "minutes of training",
    )  # fmt: skip
    rows = [_cost_row(standing, first, gpu) for standing in standings]
    return f"## What they cost\n\n{markdown_table(header, rows, words=2)}\n\n![reward and pass rate of each objective](rewards.png)"


def _cost_row(standing: Standing, first: Standing, gpu: Sequence[str]) -> tuple[str, ...]:
    seconds = standing.cost("seconds")
    return (
        standing.arm.name,
        f"{len(standing.models)}: {', '.join(standing.models)}",
        _number(standing.cost("step_seconds"), 2),
        _ratio(standing.cost("step_seconds"), first.cost("step_seconds")),
        _number(standing.cost("tokens_per_second")),
        _number(standing.cost("peak_mib")),
        _ratio(standing.cost("peak_mib"), first.cost("peak_mib")),
        *(_number(standing.cost(name)) for name in gpu),
        _number(standing.cost("samples")),
        _number(None if seconds is None else seconds / 60, 1),
    )


def _number(value: float | None, digits: int = 0) -> str:
    return _NONE if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value is not None and base else _NONE


def _failures(standings: Sequence[Standing]) -> str:
    """A row for each objective and reason."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for name, seed, why in ((one.arm.name, seed, why) for one in standings for seed, why in one.failures.items()):
        seeds.setdefault((name, why), []).append(str(seed))
    rows = [(name, ", ".join(listed), why) for (name, why), listed in seeds.items()]
    return f"## Runs that are not done\n\n{markdown_table(('objective', 'seeds', 'why'), rows, words=3)}" if rows else ""


def _settings(plan: Plan) -> str:
    rows = [(arm.name, f"`{' '.join(arm.overrides)}`") for arm in plan.arms]
    table = markdown_table(("objective", "settings"), rows, words=2)
    return f"## Settings\n\nWhat each differs in from the recipe; the first is the base of differences.\n\n{table}"
