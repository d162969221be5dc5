"""What an evaluation measures: a metric has one value per problem, so that mean, interval and paired difference take the same path."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reasoning_rl.eval.passk import avg_at_k, best_at_k, pass_at_k, pass_hat_k
from reasoning_rl.eval.statistics import (
    Difference,
    Interval,
    Values,
    bootstrap_intervals,
    detectable,
    error_of,
    rate_interval,
    ratio_interval,
    standard_error,
)
from reasoning_rl.eval.votes import vote

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, int | None]
"""A metric and its k."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of numbers, one per row of problems.parquet."""

    values: "Callable[[pd.DataFrame, int], Values]"
    """Takes the problems and k, which only the metrics with @k look at."""
    meaning: str
    rate: bool = True
    """In [0, 1]; otherwise an average of something counted or weighed."""
    decimals: int = 3


METRICS: Mapping[str, Metric] = {
    "pass@k": Metric(lambda problems, k: pass_at_k(*_counts(problems, "c"), k), "chance that one of k sampled answers is right"),
    "pass@k strict": Metric(
        lambda problems, k: pass_at_k(*_counts(problems, "c_strict"), k), "the same, with only the required format counted as an answer"
    ),
    "pass^k": Metric(lambda problems, k: pass_hat_k(*_counts(problems, "c"), k), "chance that all of k sampled answers are right"),
    "avg@k": Metric(
        lambda problems, k: np.asarray(avg_at_k(*_counts(problems, "c"), k)), "mean share of right ones among k sampled answers: pass@1"
    ),
    "greedy": Metric(lambda problems, _: _floats(problems, "greedy_correct"), "share of problems solved at temperature 0"),
    "maj@k": Metric(
        lambda problems, k: _floats(problems, column) if (column := f"maj@{k}") in problems else votes_at(problems, k)[0],
        "share of problems solved by a vote of k sampled answers, equal ones together, a tie broken at random",
    ),
    "best@k": Metric(
        lambda problems, k: np.array([best_at_k(*tiers, k) for tiers in zip(problems["tiers_n"], problems["tiers_c"])]),
        "share of problems solved by the answer ranked first among k (by `best_of`, in the facts), a tie broken at random",
    ),
    "reward": Metric(lambda problems, _: _floats(problems, "reward"), "mean reward of a sampled answer", rate=False),
    "tokens": Metric(lambda problems, _: _floats(problems, "tokens"), "mean tokens of a sampled answer", rate=False, decimals=1),
    "truncated": Metric(lambda problems, _: _floats(problems, "truncated"), "share of sampled answers cut off at the token limit"),
}

FACETS = ("level", "subject", "steps")
"""Columns of problems.parquet by which problems fall into parts."""
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
    bootstrap: tuple[float, float]
    """Ends of the bootstrap interval over problems, which for counted things is the interval."""
    detectable: float | None = None
    """The smallest difference that two such evaluations on problems of their own find with 80 % power; pairing finds smaller ones."""
    draw_error: float | None = None
    """Monte-Carlo standard error, where a value was drawn instead of computed."""
    facet: str = ""
    """`level`, `subject`, `steps`, `length` or `ending` where it is of a part of the problems or answers."""
    group: str = ""
    """Which part."""

    @property
    def label(self) -> str:
        return label(self.metric, self.k)


def label(metric: str, k: int | None) -> str:
    """As people write it.

    >>> label("pass@k", 4), label("pass^k", 2), label("greedy", None)
    ('pass@4', 'pass^2', 'greedy')
    """
    return metric if k is None else metric.replace("@k", f"@{k}").replace("^k", f"^{k}")


def values_of(problems: "pd.DataFrame", metric: str, k: int | None) -> Values:
    """One value per problem, in the order of the table."""
    return METRICS[metric].values(problems, k or 1)


def reported(problems: "pd.DataFrame", ks: Sequence[int]) -> list[Key]:
    """The metrics that a table of problems can give, in the order of the report."""
    n = int(problems["n"].min())
    several = sorted({k for k in (*ks, n) if k > 1})
    passes: list[Key] = [("pass@k", k) for k in sorted(set(ks))]
    greedy: list[Key] = [("greedy", None)] if problems["greedy_correct"].notna().all() else []
    of_several: list[Key] = [(metric, k) for metric in ("pass^k", "maj@k", "best@k") for k in several]
    rest: list[Key] = [("avg@k", n), ("reward", None), ("tokens", None), ("truncated", None)]
    return [*passes, ("pass@k strict", 1), *greedy, *of_several, *rest]


def headline(keys: Iterable[Key]) -> list[Key]:
    """What a person wants to see first: every pass@k, the largest k of pass^k, maj@k and best@k, and not avg@k, which is pass@1."""
    known = list(keys)
    largest = {
        metric: max(k for name, k in known if name == metric and k) for metric in ("pass^k", "maj@k", "best@k") if _has(known, metric)
    }
    return [(metric, k) for metric, k in known if metric != "avg@k" and k == largest.get(metric, k)]


def _has(keys: Iterable[Key], metric: str) -> bool:
    return any(name == metric for name, _ in keys)


def measures(problems: "pd.DataFrame", keys: Sequence[Key], *, resamples: int, seed: int) -> list[Measure]:
    """Means over problems with their intervals, all on the same resamples."""
    values_QM = np.stack([values_of(problems, *key) for key in keys], axis=1)
    bootstraps = bootstrap_intervals(values_QM, resamples, seed)
    return [_measured(problems, key, values, around) for key, values, around in zip(keys, values_QM.T, bootstraps, strict=True)]


def _measured(problems: "pd.DataFrame", key: Key, values: Values, around: Interval) -> Measure:
    interval = rate_interval(values) if METRICS[key[0]].rate else around
    error = standard_error(values)
    return Measure(
        *key,
        interval.value,
        interval.low,
        interval.high,
        values.size,
        _known(error),
        (around.low, around.high),
        detectable=_known(found_from(key[0], interval, values.size, sides=2)),
        draw_error=_draw_error(problems, key),
    )


def found_from(metric: str, interval: Interval | Difference, problems: int, sides: int = 1) -> float:
    """See `detectable`; `sides`: 2 where another evaluation as uncertain is compared without pairing. NaN where no rate can differ so."""
    least = detectable(math.sqrt(sides) * error_of(interval, problems), problems)
    return math.nan if METRICS[metric].rate and least > 1 else least


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _draw_error(problems: "pd.DataFrame", key: Key) -> float | None:
    """√Σ error² / N over problems whose vote was drawn."""
    metric, k = key
    errors = votes_at(problems, k or 1)[1] if metric == "maj@k" else np.zeros(0)
    return float(np.sqrt((errors**2).sum()) / errors.size) if errors.any() else None


def slices(problems: "pd.DataFrame", *, resamples: int, seed: int) -> list[Measure]:
    """pass@1 and greedy by level, subject and number of steps, where the problems differ in them; then by length and ending of answers."""
    keys = [(metric, k) for metric, k in reported(problems, [1]) if metric in SLICED]
    found = []
    for facet in _apart(problems):
        parts = {group: problems[problems[facet] == group] for group in sorted(set(problems[facet].dropna()), key=_natural)}
        if len(parts) < 2:
            continue
        of = {group: measures(part, keys, resamples=resamples, seed=seed) for group, part in parts.items()}
        for index in range(len(keys)):
            found += [replace(measured[index], facet=facet, group=str(group)) for group, measured in of.items()]
    return [*found, *_by_length(problems), *_by_ending(problems)]


def _apart(problems: "pd.DataFrame") -> list[str]:
    """The facets, but for those that part the problems as an earlier one does: the generator's levels are its numbers of steps."""
    told: dict[tuple[str, ...], str] = {}
    for facet in FACETS:
        told.setdefault(tuple(problems[facet].astype("string").fillna("")), facet)
    return list(told.values())


def _by_length(problems: "pd.DataFrame") -> list[Measure]:
    """Right ones among answers of 1, 2 to 3, 4 to 7, … tokens."""
    widest = max(map(len, problems["lengths_n"]))
    counts_QL, hits_QL = (_padded(problems[column], widest) for column in ("lengths_n", "lengths_c"))
    spans = {f"{2**power} to {2 ** (power + 1) - 1}" if power else "1": power for power in range(widest) if counts_QL[:, power].any()}
    if len(spans) < 2:
        return []
    return [_share("length", group, hits_QL[:, power], counts_QL[:, power]) for group, power in spans.items()]


def _by_ending(problems: "pd.DataFrame") -> list[Measure]:
    """Right ones among answers that were cut off at the token limit and among those that ended themselves, where there are both."""
    cut_Q, cut_right_Q = problems["truncated"] * problems["n"], problems["truncated_c"]
    ended_Q, ended_right_Q = problems["n"] - cut_Q, problems["c"] - cut_right_Q
    if not cut_Q.sum() or not ended_Q.sum():
        return []
    parts = {"ended": (ended_right_Q, ended_Q), "cut off": (cut_right_Q, cut_Q)}
    return [_share("ending", group, *(part.to_numpy(dtype="float64").round() for part in both)) for group, both in parts.items()]


def _share(facet: str, group: str, hits: Values, counts: Values) -> Measure:
    """pass@1 over a part of the answers; `n` counts the problems that have some."""
    interval = ratio_interval(hits, counts)
    ends = (interval.low, interval.high)
    return Measure("pass@k", 1, interval.value, *ends, int((counts > 0).sum()), None, ends, facet=facet, group=group)


def _padded(lists: "pd.Series[Any]", width: int) -> Values:
    return np.array([[*each, *[0] * (width - len(each))] for each in lists], dtype=np.float64)


def _natural(group: object) -> tuple[int, str]:
    """Level 2 before level 10."""
    text = str(group)
    digits = "".join(filter(str.isdecimal, text))
    return (int(digits) if digits else 0, text)


def votes_at(problems: "pd.DataFrame", k: int) -> tuple[Values, Values]:
    """maj@k of each problem, which stands in problems.parquet too since it takes a while, and its Monte-Carlo standard error."""
    columns = (problems[name] for name in ("n", "c", "votes"))
    found = [vote(int(c), [int(size) for size in wrong], k, abstentions=int(n - c - sum(wrong))) for n, c, wrong in zip(*columns)]
    return np.array([each.credit for each in found]), np.array([each.error for each in found])


def _counts(problems: "pd.DataFrame", column: str) -> "tuple[list[int], list[int]]":
    return problems["n"].tolist(), problems[column].tolist()


def _floats(problems: "pd.DataFrame", column: str) -> Values:
    return problems[column].to_numpy(dtype="float64")
