"""Runs side by side in one tidy table, each paired with the first one problem by problem."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.errors import RunError
from reasoning_rl.eval.metrics import METRICS, Measure, label, values_of
from reasoning_rl.eval.report import FILE, Report, figure, markdown_table, read_report, span
from reasoning_rl.eval.statistics import Difference, paired_difference

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

COLUMNS = ("run", "metric", "k", "value", "low", "high", "difference", "difference_low", "difference_high", "p_value", "n")
WHICH = "trained"
"""The report that the folder of a run stands for."""
RESAMPLES, FLIPS, SEED = 2000, 9999, 0
CIRCUMSTANCES = ("temperature", "top_p", "max_tokens", "stop")
"""Settings of sampling that two runs must share. The number of samples is none of them: pass@k is unbiased for any."""
MISMATCHES_SHOWN = 3


@dataclass(frozen=True)
class Run:
    """A report with the problems behind it."""

    path: Path
    report: Report
    problems: "pd.DataFrame"
    """Indexed by problem id."""


def compare(*paths: str | Path, allow_different: bool = False) -> "pd.DataFrame":
    """One row per run and metric, with its 95 % interval, and the paired difference to the first run with interval and p-value.

    A path is a folder of the eval stage, a report.json, or a run's folder, which stands for its `eval/trained`. The differences of
    the first run are NaN; `n` counts the problems: of the run in its own rows, of the pairing beside a difference.
    RunError when a report is missing or damaged, or when problems, prompts, sampling or rewards differ; with `allow_different` the runs
    are paired on the problems they share, of which there must be some.
    """
    import pandas as pd

    if not paths:
        raise RunError("compare: no report is named; give at least one folder that the eval stage wrote")
    runs = [_read(Path(path)) for path in paths]
    if not allow_different:
        _alike(runs)
    rows = [row for name, run in zip(_names(runs), runs, strict=True) for row in _rows(name, run, runs[0])]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"k": "Int64"})


def _rows(name: str, run: Run, first: Run) -> Iterator[tuple[object, ...]]:
    for measure in run.report.metrics:
        paired = None if run is first or first.report.find(measure.metric, measure.k) is None else _difference(run, first, measure)
        yield _row(name, measure, *(paired or (None, measure.n)))


def _row(name: str, measure: Measure, difference: Difference | None, problems: int) -> tuple[object, ...]:
    nan = float("nan")
    paired = (difference.value, difference.low, difference.high, difference.p_value) if difference else (nan, nan, nan, nan)
    return (name, measure.metric, measure.k, measure.value, measure.low, measure.high, *paired, problems)


def _difference(run: Run, first: Run, measure: Measure) -> tuple[Difference, int]:
    """On the problems both have, in the order of the first run."""
    shared = first.problems.index.intersection(run.problems.index, sort=False)
    if shared.empty:
        raise RunError(f"{run.path} and {first.path} share no problem, so no difference can be paired")
    ours, theirs = (values_of(side.problems.loc[shared], measure.metric, measure.k) for side in (run, first))
    return paired_difference(ours, theirs, RESAMPLES, FLIPS, SEED), len(shared)


def _read(path: Path) -> Run:
    import pandas as pd

    file = _report_file(path)
    report = read_report(file)
    table = file.with_name("problems.parquet")
    try:
        problems = pd.read_parquet(table).set_index("problem_id")
    except (OSError, ValueError, KeyError) as failure:  # pyarrow's errors of damaged files are ValueErrors
        raise RunError(f"{table}: the problems of this report can't be read ({failure}); the eval stage writes them") from failure
    return Run(file.parent, report, problems)


def _report_file(path: Path) -> Path:
    """RunError lists what was looked for."""
    tried = [path] if path.suffix == ".json" else [path / FILE, path / "eval" / WHICH / FILE]
    for file in tried:
        if file.is_file():
            return file
    raise RunError(f"{path}: no report here; looked for {' and '.join(map(str, tried))}. The eval stage writes it")


def _alike(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        different = list(_mismatches(runs[0], run))
        if different:
            raise RunError(
                f"{runs[0].path} and {run.path} can't be compared: {'; '.join(different)} (allow_different compares them all the same)"
            )


def _mismatches(first: Run, other: Run) -> Iterator[str]:
    """Each in words, problems before prompts: where the problems differ, the prompts can't but differ."""
    problems = _different_problems(first, other)
    if problems:
        yield problems
    elif first.report.facts.get("prompts_sha256") != other.report.facts.get("prompts_sha256"):
        yield f"their prompts differ (template {first.report.facts.get('template')} and {other.report.facts.get('template')})"
    ours, theirs = _settings(first.report), _settings(other.report)
    yield from (f"{key} is {ours[key]} and {theirs[key]}" for key in CIRCUMSTANCES if ours.get(key) != theirs.get(key))
    if first.report.facts.get("rewards") != other.report.facts.get("rewards"):
        yield f"rewards are {first.report.facts.get('rewards')} and {other.report.facts.get('rewards')}"


def _settings(report: Report) -> Mapping[str, object]:
    sampling = report.facts.get("sampling")
    return sampling if isinstance(sampling, Mapping) else {}


def _different_problems(first: Run, other: Run) -> str:
    here, there = set(first.problems.index), set(other.problems.index)
    if here != there:
        odd = sorted(here ^ there)
        shown = ", ".join(odd[:MISMATCHES_SHOWN]) + (" …" if len(odd) > MISMATCHES_SHOWN else "")
        return f"they hold different problems ({len(here)} and {len(there)}, {len(here & there)} shared; in one only: {shown})"
    if first.report.facts.get("problems_sha256") != other.report.facts.get("problems_sha256"):
        return "their problems have the same ids, yet other questions or gold answers"
    return ""


def _names(runs: Sequence[Run]) -> list[str]:
    """Of the reports; with the run's folder where they are not distinct, numbered where that doesn't help either."""
    plain = [run.report.name for run in runs]
    longer = [f"{run.path.parent.parent.name}/{run.path.name}" for run in runs]
    for names in (plain, longer):
        if max(Counter(names).values()) == 1:
            return names
    return [f"{name} #{number}" for number, name in enumerate(longer, start=1)]


def comparison_markdown(frame: "pd.DataFrame") -> str:
    """The table of `compare` as Markdown, metric by metric."""
    return markdown_table(HEADER, [row for block in _blocks(frame) for row in block], words=2) + "\n"


def comparison_table(frame: "pd.DataFrame") -> "Table":
    """The table of `compare` for a terminal of 100 columns."""
    from rich.markup import escape
    from rich.table import Table

    first = escape(str(frame["run"].iloc[0]))
    table = Table(title=f"95 % intervals over problems; differences paired by problem with {first}", title_justify="left", title_style="")
    for column, name in enumerate(HEADER):
        table.add_column(name, justify="left" if column < 2 else "right", no_wrap=column != 1, overflow="fold")
    for block in _blocks(frame):
        for number, row in enumerate(block, start=1):
            table.add_row(*map(escape, row), end_section=number == len(block))
    return table


HEADER = ("metric", "run", "value", "interval", "difference", "interval", "p")


def _blocks(frame: "pd.DataFrame") -> Iterator[list[tuple[str, ...]]]:
    """The rows of each metric in words, in the order of the first run that has it; the metric's name stands once."""
    keys = list(dict.fromkeys(zip(frame["metric"], frame["k"].astype(object).where(frame["k"].notna(), None), strict=True)))
    for metric, k in keys:
        chosen = frame[(frame["metric"] == metric) & (frame["k"].isna() if k is None else (frame["k"] == k).fillna(value=False))]
        yield [_words(row, label(metric, k) if number == 0 else "") for number, row in enumerate(chosen.to_dict("records"))]


def _words(row: Mapping[str, object], name: str) -> tuple[str, ...]:
    metric = str(row["metric"])
    value, low, high, moved, moved_low, moved_high, p = (
        float(str(row[key])) for key in ("value", "low", "high", "difference", "difference_low", "difference_high", "p_value")
    )
    shown = (name, str(row["run"]), figure(metric, value), span(metric, low, high))
    if math.isnan(moved):  # the first run, or a metric that it lacks
        return (*shown, "", "", "")
    return (*shown, _signed(metric, moved), f"{_signed(metric, moved_low)} to {_signed(metric, moved_high)}", _p(p))


def _signed(metric: str, number: float) -> str:
    return f"{number:+.3f}" if METRICS[metric].rate else f"{number:+.1f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
