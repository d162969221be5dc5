"""Runs side by side in one tidy table, each paired with the first one problem by problem.

# S training seeds of a run, Q problems, M metrics
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_rl.errors import RunError
from reasoning_rl.eval.metrics import METRICS, Key, Measure, found_from, values_of
from reasoning_rl.eval.report import FILE, Report, damaged_tables, read_report
from reasoning_rl.eval.samples import PROBLEM_COLUMNS
from reasoning_rl.eval.seeds import holm, two_level, two_level_difference
from reasoning_rl.eval.statistics import Difference, Values, bootstrap_intervals, paired_tests, rate_difference
from reasoning_rl.eval.thinning import thinned

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "metric", "k", "value", "low", "high", "difference", "difference_low", "difference_high", "p_value", "p_holm", "detectable",
    "n", "seeds",
)  # fmt: skip
WHICH = "trained"
"""The report that the folder of a run stands for."""
RESAMPLES, FLIPS, SEED = 2000, 9999, 0
CIRCUMSTANCES = ("temperature", "top_p", "max_tokens", "stop")
"""Settings of sampling that two runs must share. The number of samples is none of them: pass@k is unbiased for any (see `thinning.py`)."""
MISMATCHES_SHOWN = 3

PathLike = str | Path


@dataclass(frozen=True)
class Evaluation:
    """A report with the problems behind it."""

    path: Path
    report: Report
    problems: "pd.DataFrame"
    """Indexed by problem id."""


@dataclass(frozen=True)
class Run:
    """One evaluation, or those of several training seeds."""

    seeds: Sequence[Evaluation]
    given_name: str = ""

    @property
    def first(self) -> Evaluation:
        return self.seeds[0]


@dataclass(frozen=True)
class Contrast:
    """Of a run to the first: the difference, the smallest one that this pairing finds with 80 % power, and the problems both have."""

    difference: Difference
    detectable: float
    problems: int


def compare(
    *reports: PathLike | Iterable[PathLike], names: Sequence[str] = (), suite: str = "", allow_different: bool = False
) -> "pd.DataFrame":
    """One row per run and metric, with its 95 % interval, and the paired difference to the first run with interval and p-value.

    A report is a folder of the eval stage, a report.json, or a run's folder, which stands for its `eval/trained`, or for its
    `eval/<suite>/trained`; several of them in a list are the training seeds of one run, whose intervals then redraw seeds and problems
    (`seeds.py`). `names` replace those of the reports where they are not empty.
    Differences of the first run are NaN. `p_holm` is the p-value after Holm's correction for the runs that are compared on the metric;
    `detectable` the smallest difference found with 80 % power: by the pairing beside a difference, else between evaluations on problems of
    their own. `n` counts the problems: of the run in its own rows, of the pairing beside a difference.
    RunError when a report is missing or damaged, or when problems, prompts, sampling or rewards differ; with `allow_different` the runs
    are paired on the problems they share, of which there must be some.
    """
    import pandas as pd

    if not reports:
        raise RunError("compare: no report is named; give at least one folder that the eval stage wrote")
    runs = [_run(given, suite) for given in reports]
    everything = [evaluation for run in runs for evaluation in run.seeds]
    if not allow_different:
        _alike(everything)
    rows = [row for name, run in zip(_names(runs, names), runs, strict=True) for row in _rows(name, run, runs[0])]
    return _with_holm(pd.DataFrame(rows, columns=list(COLUMNS)).astype({"k": "Int64"}))


def read_evaluation(path: PathLike, suite: str = "") -> Evaluation:
    """A report with its problems; see `compare`. RunError when either is missing or damaged."""
    import pandas as pd

    file = _report_file(Path(path), suite)
    report = read_report(file)
    table = file.with_name("problems.parquet")
    try:
        problems = pd.read_parquet(table)
    except (OSError, ValueError) as failure:  # pyarrow's errors of damaged files are ValueErrors
        raise RunError(f"{table}: the problems of this report can't be read ({failure}); the eval stage writes them") from failure
    if missing := [column for column in PROBLEM_COLUMNS if column not in problems]:
        raise RunError(f"{table}: the problems of this report can't be read (no column {missing[0]!r}); the eval stage writes them")
    for name, found in damaged_tables(file.parent, report).items():
        raise RunError(f"{file.parent / name} {found}; the eval stage writes it again")
    return Evaluation(file.parent, report, problems.set_index("problem_id"))


def _run(given: PathLike | Iterable[PathLike], suite: str) -> Run:
    paths = [given] if isinstance(given, str | Path) else list(given)
    if not paths:
        raise RunError("compare: a run without reports; a list names those of its training seeds")
    return Run([read_evaluation(path, suite) for path in paths])


def _rows(name: str, run: Run, first: Run) -> Iterator[tuple[object, ...]]:
    """In the order of the run's report."""
    contrasts = {} if run is first else _contrasts(run, first)
    for measure in _measures(run):
        contrast = contrasts.get((measure.metric, measure.k))
        yield _row(name, measure, contrast, len(run.seeds))


def _row(name: str, measure: Measure, contrast: Contrast | None, seeds: int) -> tuple[object, ...]:
    own = (name, measure.metric, measure.k, measure.value, measure.low, measure.high)
    nan = float("nan")
    if contrast is None:
        alone = nan if measure.detectable is None else measure.detectable
        return (*own, nan, nan, nan, nan, nan, alone, measure.n, seeds)
    moved = contrast.difference
    return (*own, moved.value, moved.low, moved.high, moved.p_value, nan, contrast.detectable, contrast.problems, seeds)


def _measures(run: Run) -> list[Measure]:
    """Of the report; of several seeds their mean, with an interval over seeds and problems."""
    if len(run.seeds) == 1:
        return list(run.first.report.metrics)
    known = [measure for measure in run.first.report.metrics if all(each.report.find(measure.metric, measure.k) for each in run.seeds)]
    shared = _shared(run.seeds)
    found = []
    for measure in known:
        interval = two_level(_values(run.seeds, shared, (measure.metric, measure.k)), seed=SEED)
        found.append(replace(measure, value=interval.value, low=interval.low, high=interval.high, n=len(shared), detectable=None))
    return found


def _contrasts(run: Run, first: Run) -> dict[Key, Contrast]:
    """By metric, of those that both have."""
    keys = [(measure.metric, measure.k) for measure in run.first.report.metrics]
    common = [key for key in keys if all(each.report.find(*key) for each in (*run.seeds, *first.seeds))]
    shared = _shared((*first.seeds, *run.seeds))
    if len(run.seeds) == len(first.seeds) == 1:
        return _over_problems(run.first, first.first, shared, common)
    return {key: _over_seeds(run, first, shared, key) for key in common}


def _over_problems(run: Evaluation, first: Evaluation, shared: "pd.Index[str]", keys: Sequence[Key]) -> dict[Key, Contrast]:
    if not keys:
        return {}
    ours, theirs = run.problems.loc[shared], first.problems.loc[shared]
    ours_QM, theirs_QM = _table(ours, keys), _table(theirs, keys)
    p_values = paired_tests(*_alike_in_samples(ours, theirs, ours_QM, theirs_QM, keys), FLIPS, SEED)
    bootstraps = bootstrap_intervals(ours_QM - theirs_QM, RESAMPLES, SEED)
    found = {}
    for key, *sides, around, p in zip(keys, ours_QM.T, theirs_QM.T, bootstraps, p_values, strict=True):
        moved = rate_difference(*sides) if METRICS[key[0]].rate else around
        difference = Difference(moved.value, moved.low, moved.high, p)
        found[key] = Contrast(difference, found_from(key[0], moved, len(shared)), len(shared))
    return found


def _table(problems: "pd.DataFrame", keys: Sequence[Key]) -> Values:
    return np.stack([values_of(problems, *key) for key in keys], axis=1)


def _alike_in_samples(
    ours: "pd.DataFrame", theirs: "pd.DataFrame", ours_QM: Values, theirs_QM: Values, keys: Sequence[Key]
) -> tuple[Values, Values]:
    """The two sides, exchangeable under no difference: of the same number of samples for each problem."""
    fewer = [min(pair) for pair in zip(ours["n"], theirs["n"], strict=True)]
    sides = ((ours, ours_QM), (theirs, theirs_QM))
    first, second = (
        values if problems["n"].to_list() == fewer else _table(thinned(problems, fewer, SEED), keys) for problems, values in sides
    )
    return first, second


def _over_seeds(run: Run, first: Run, shared: "pd.Index[str]", key: Key) -> Contrast:
    moved = two_level_difference(_values(run.seeds, shared, key), _values(first.seeds, shared, key), seed=SEED)
    return Contrast(moved, found_from(key[0], moved, len(shared)), len(shared))


def _values(seeds: Sequence[Evaluation], shared: "pd.Index[str]", key: Key) -> Values:
    """(S, Q)."""
    return np.stack([values_of(each.problems.loc[shared], *key) for each in seeds])


def _shared(evaluations: Sequence[Evaluation]) -> "pd.Index[str]":
    """The problems that all have, in the order of the first."""
    index = evaluations[0].problems.index
    for other in evaluations[1:]:
        index = index.intersection(other.problems.index, sort=False)
        if index.empty:
            raise RunError(f"{other.path} and {evaluations[0].path} share no problem, so no difference can be paired")
    return index


def _with_holm(frame: "pd.DataFrame") -> "pd.DataFrame":
    """With p-values corrected for the number of runs that are compared on a metric."""
    compared = frame[frame["p_value"].notna()]
    for _, rows in compared.groupby(["metric", "k"], dropna=False, sort=False):
        frame.loc[rows.index, "p_holm"] = holm(rows["p_value"].tolist())
    return frame


def _report_file(path: Path, suite: str) -> Path:
    """RunError lists what was looked for."""
    tried = [path] if path.suffix == ".json" else [path / FILE, path / "eval" / suite / WHICH / FILE]
    for file in tried:
        if file.is_file():
            return file
    raise RunError(f"{path}: no report here; looked for {' and '.join(map(str, tried))}. The eval stage writes it")


def mismatches(evaluations: Sequence[Evaluation]) -> list[str]:
    """What keeps each from being compared with the first, in a sentence; none where nothing does."""
    first = evaluations[0]
    found = [(other, "; ".join(_mismatches(first, other))) for other in evaluations[1:]]
    return [f"{first.path} and {other.path}: {different}" for other, different in found if different]


def _alike(evaluations: Sequence[Evaluation]) -> None:
    if different := mismatches(evaluations):
        raise RunError(f"these can't be compared (allow_different compares them all the same):\n  {chr(10).join(different)}")


def _mismatches(first: Evaluation, other: Evaluation) -> Iterator[str]:
    """Each in words, problems before prompts: where the problems differ, the prompts can't but differ."""
    problems = _different_problems(first, other)
    if problems:
        yield problems
    elif first.report.facts.get("prompts_sha256") != other.report.facts.get("prompts_sha256"):
        yield f"their prompts differ (template {first.report.facts.get('template')} and {other.report.facts.get('template')})"
    ours, theirs = _settings(first.report), _settings(other.report)
    yield from (f"{key} is {ours.get(key)} and {theirs.get(key)}" for key in CIRCUMSTANCES if ours.get(key) != theirs.get(key))
    for key in ("rewards", "best_of"):
        if first.report.facts.get(key) != other.report.facts.get(key):
            yield f"{key} are {first.report.facts.get(key)} and {other.report.facts.get(key)}"


def _settings(report: Report) -> Mapping[str, object]:
    sampling = report.facts.get("sampling")
    return sampling if isinstance(sampling, Mapping) else {}


def _different_problems(first: Evaluation, other: Evaluation) -> str:
    here, there = set(first.problems.index), set(other.problems.index)
    if here != there:
        odd = sorted(here ^ there)
        shown = ", ".join(odd[:MISMATCHES_SHOWN]) + (" …" if len(odd) > MISMATCHES_SHOWN else "")
        return f"they hold different problems ({len(here)} and {len(there)}, {len(here & there)} shared; in one only: {shown})"
    if first.report.facts.get("problems_sha256") != other.report.facts.get("problems_sha256"):
        return "their problems have the same ids, yet other questions or gold answers"
    return ""


def _names(runs: Sequence[Run], given: Sequence[str]) -> list[str]:
    """Those given, else those of the reports; with the run's folder where these are not distinct, else numbered."""
    own = _own_names(runs)
    names = [name or mine for name, mine in zip_longest(given, own, fillvalue="")] if given else own
    if len(names) != len(runs) or len(set(names)) != len(names):
        raise RunError(f"compare: names are {', '.join(names)}; {len(runs)} different ones are needed, one for each run")
    return names


def _own_names(runs: Sequence[Run]) -> list[str]:
    plain = [run.first.report.name for run in runs]
    longer = [f"{_folder(run.first.path)}/{run.first.path.name}" for run in runs]
    for names in (plain, longer):
        if max(Counter(names).values()) == 1:
            return names
    return [f"{name} #{number}" for number, name in enumerate(longer, start=1)]


def _folder(report: Path) -> str:
    """The name of the run's folder, above its `eval`."""
    above = report.resolve().parts[:-1]
    return above[above.index("eval") - 1] if "eval" in above[1:] else report.resolve().parent.parent.name
