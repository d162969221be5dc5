"""What an evaluation measures: a metric has one value per problem, so that mean, interval and paired difference take the same path."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reasoning_rl.eval.passk import pass_at_k
from reasoning_rl.eval.statistics import Values, bootstrap_interval, rate_interval, standard_error

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of numbers, one per row of problems.parquet."""

    values: "Callable[[pd.DataFrame, int], Values]"
    """Takes the problems and k, which only the metrics with @k look at."""
    meaning: str
    rate: bool = True
    """In [0, 1]; otherwise an average of something counted."""


METRICS: Mapping[str, Metric] = {
    "pass@k": Metric(lambda problems, k: pass_at_k(*_counts(problems, "c"), k), "chance that one of k sampled answers is right"),
    "pass@k strict": Metric(
        lambda problems, k: pass_at_k(*_counts(problems, "c_strict"), k), "the same, with only the required format counted as an answer"
    ),
    "greedy": Metric(lambda problems, _: _floats(problems, "greedy_correct"), "share of problems solved at temperature 0"),
    "maj@k": Metric(
        lambda problems, _: _floats(problems, "maj"), "share of problems solved by a vote of k sampled answers, a tie broken at random"
    ),
    "tokens": Metric(lambda problems, _: _floats(problems, "tokens"), "mean tokens of a sampled answer", rate=False),
    "truncated": Metric(lambda problems, _: _floats(problems, "truncated"), "share of sampled answers cut off at the token limit"),
}

FACETS = ("level", "subject")
SLICED = ("pass@k", "greedy")
"""Reported by facet: pass@1 and greedy."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a report with its 95 % interval."""

    metric: str
    k: int | None
    value: float
    low: float
    high: float
    n: int
    """Problems behind it."""
    standard_error: float | None
    """Clustered by problem; None for a single problem."""
    facet: str = ""
    """`level` or `subject` where it is of a part of the problems."""
    group: str = ""
    """Which level or subject."""

    @property
    def label(self) -> str:
        return label(self.metric, self.k)


def label(metric: str, k: int | None) -> str:
    """As people write it.

    >>> label("pass@k", 4), label("greedy", None)
    ('pass@4', 'greedy')
    """
    return metric.replace("@k", f"@{k}")


def values_of(problems: "pd.DataFrame", metric: str, k: int | None) -> Values:
    """One value per problem, in the order of the table."""
    return METRICS[metric].values(problems, k or 1)


def reported(problems: "pd.DataFrame", ks: Sequence[int]) -> list[tuple[str, int | None]]:
    """The metrics that a table of problems can give, in the order of the report."""
    samples = int(problems["n"].min())
    passes: list[tuple[str, int | None]] = [("pass@k", k) for k in sorted(set(ks))]
    votes: list[tuple[str, int | None]] = [("maj@k", samples)] if samples > 1 else []
    greedy: list[tuple[str, int | None]] = [("greedy", None)] if problems["greedy_correct"].notna().all() else []
    return [*passes, ("pass@k strict", 1), *greedy, *votes, ("tokens", None), ("truncated", None)]


def measure(problems: "pd.DataFrame", metric: str, k: int | None, *, resamples: int, seed: int) -> Measure:
    """The mean over problems with its interval."""
    values = values_of(problems, metric, k)
    interval = (rate_interval if METRICS[metric].rate else bootstrap_interval)(values, resamples, seed)
    error = standard_error(values)
    return Measure(metric, k, interval.value, interval.low, interval.high, values.size, None if math.isnan(error) else error)


def slices(problems: "pd.DataFrame", *, resamples: int, seed: int) -> list[Measure]:
    """pass@1 and greedy by level and by subject, where the problems differ in them."""
    found = []
    for facet in FACETS:
        parts = {group: problems[problems[facet] == group] for group in sorted(set(problems[facet]), key=_natural)}
        if len(parts) < 2:
            continue
        for metric, k in reported(problems, [1]):
            if metric in SLICED:
                of = {group: measure(part, metric, k, resamples=resamples, seed=seed) for group, part in parts.items()}
                found += [replace(measured, facet=facet, group=group) for group, measured in of.items()]
    return found


def _natural(text: str) -> tuple[int, str]:
    """Level 2 before level 10."""
    digits = "".join(filter(str.isdecimal, text))
    return (int(digits) if digits else 0, text)


def _counts(problems: "pd.DataFrame", column: str) -> "tuple[list[int], list[int]]":
    return problems["n"].tolist(), problems[column].tolist()


def _floats(problems: "pd.DataFrame", column: str) -> Values:
    return problems[column].to_numpy(dtype="float64")
