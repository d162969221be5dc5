"""The tables of a page: the headline, the parts, and the verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_rl.eval.metrics import Key, Measure, headline, label
from reasoning_rl.eval.page.content import Page, PolicyPage
from reasoning_rl.eval.page.words import LIKELY, signed
from reasoning_rl.eval.report import figure, span
from reasoning_rl.eval.table import p_words

if TYPE_CHECKING:
    import pandas as pd

OF_PROBLEMS, OF_ANSWERS = ("level", "subject", "steps"), ("length", "ending")
"""Facets that cut a report into parts."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its interval, as written."""

    text: str
    interval: str = ""
    number: float = 0.0
    """By which a cell of a heat map is coloured."""
    problems: int = 0
    """Behind it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A paired difference to the first policy, as written."""

    text: str
    interval: str
    p: str
    holm: str
    detectable: str
    told: bool
    """Holm's p-value is below 0.05."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One metric of all policies."""

    label: str
    values: Sequence[Value | None]
    changes: Sequence[Change | None]
    """Of the second policy and those after it; empty without a comparison."""


@dataclass(frozen=True, slots=True)
class Parts:
    """pass@1 by one facet: a row a group, a column a policy."""

    facet: str
    rows: Sequence[tuple[str, Sequence[Value | None]]]
    counted: bool
    """The parts are problems, the same for all policies, and not answers."""


@dataclass(frozen=True, slots=True)
class Grid:
    """pass@1 of a policy by level and subject; the last row and column are over all."""

    name: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Value | None]]]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Sampled answers of a policy by outcome."""

    name: str
    total: int
    cut_off: int
    counts: Sequence[tuple[str, int, int]]
    """Outcome, answers, and how many of them were cut off at the token limit."""


def results(page: Page) -> list[Headline]:
    """Every metric that any policy has, in the order of the reports."""
    return [_headline(page, metric, k) for metric, k in _keys(page)]


def main_results(page: Page) -> list[Headline]:
    """Those of them that a person wants to see first."""
    return [_headline(page, metric, k) for metric, k in headline(_keys(page))]


def parts(page: Page, facets: Sequence[str]) -> list[Parts]:
    """By those of the facets that a report is sliced by."""
    found = (Parts(facet, list(_groups(page, facet)), counted=facet in OF_PROBLEMS) for facet in facets)
    return [part for part in found if part.rows]


def grids(page: Page) -> list[Grid]:
    """Empty unless the problems differ in level and in subject."""
    varied = all(page.last.problems[facet].nunique() > 1 for facet in ("level", "subject"))
    return [_grid(policy) for policy in page.policies] if varied else []


def verdicts(page: Page) -> list[Verdicts]:
    """The same outcomes in the same order for all: right ones first, then by how often they come."""
    total: dict[str, int] = {}
    for policy in page.policies:
        for outcome, answers in policy.report.verdicts.items():
            total[outcome] = total.get(outcome, 0) + answers
    order = sorted(total, key=lambda outcome: (outcome != "correct", -total[outcome], outcome))
    return [_verdicts(policy, order) for policy in page.policies] if order else []


def _keys(page: Page) -> list[Key]:
    return list(dict.fromkeys((measure.metric, measure.k) for policy in page.policies for measure in policy.report.metrics))


def _headline(page: Page, metric: str, k: int | None) -> Headline:
    places = range(len(page.policies))
    values = [_value(policy.report.find(metric, k), page.row(place, metric, k)) for place, policy in enumerate(page.policies)]
    changes = [_change(metric, page.contrast(place, metric, k)) for place in places[1:]] if page.comparison is not None else []
    return Headline(label(metric, k), values, changes)


def _value(measure: Measure | None, row: Mapping[str, Any] | None = None) -> Value | None:
    """As the comparison has it, where training seeds count too, else as the report has it."""
    if measure is None:
        return None
    value, low, high = (measure.value, measure.low, measure.high) if row is None else (row["value"], row["low"], row["high"])
    drawn = f", drawn ±{figure(measure.metric, measure.draw_error)}" if measure.draw_error else ""
    return Value(figure(measure.metric, value), span(measure.metric, low, high) + drawn, value, measure.n)


def _change(metric: str, row: Mapping[str, Any] | None) -> Change | None:
    if row is None:
        return None
    return Change(
        text=signed(metric, row["difference"]),
        interval=f"{signed(metric, row['difference_low'])} to {signed(metric, row['difference_high'])}",
        p=p_words(row["p_value"]),
        holm=p_words(row["p_holm"]),
        detectable=f"±{figure(metric, row['detectable'])}" if row["detectable"] == row["detectable"] else "",
        told=bool(row["p_holm"] < LIKELY),
    )


def _groups(page: Page, facet: str) -> Iterator[tuple[str, list[Value | None]]]:
    found = [
        {part.group: _value(part) for part in policy.report.slices if (part.facet, part.metric, part.k) == (facet, "pass@k", 1)}
        for policy in page.policies
    ]
    for group in dict.fromkeys(group for measured in found for group in measured):
        yield group or "(none)", [measured.get(group) for measured in found]


def _grid(policy: PolicyPage) -> Grid:
    problems = policy.problems
    levels, subjects = (sorted(set(problems[facet].dropna()), key=natural) for facet in ("level", "subject"))
    rows = [(subject, [*(_mean(problems, level, subject) for level in levels), _mean(problems, None, subject)]) for subject in subjects]
    total = ("all", [*(_mean(problems, level, None) for level in levels), _mean(problems, None, None)])
    return Grid(policy.name, [*levels, "all"], [*rows, total])


def _mean(problems: "pd.DataFrame", level: str | None, subject: str | None) -> Value | None:
    """pass@1 of a cell; None where it has no problem."""
    chosen = problems
    for facet, group in (("level", level), ("subject", subject)):
        chosen = chosen if group is None else chosen[(chosen[facet] == group).fillna(value=False)]
    if chosen.empty:
        return None
    share = float(chosen["p"].mean())
    return Value(f"{share:.2f}", "", share, len(chosen))


def natural(text: str) -> tuple[int, str]:
    """Level 2 before level 10.

    >>> sorted(["10", "2"], key=natural)
    ['2', '10']
    """
    digits = "".join(filter(str.isdecimal, text))
    return (int(digits) if digits else 0, text)


def _verdicts(policy: PolicyPage, order: Sequence[str]) -> Verdicts:
    report = policy.report
    counts = [(outcome, report.verdicts.get(outcome, 0), report.cut_off.get(outcome, 0)) for outcome in order]
    return Verdicts(policy.name, sum(report.verdicts.values()), sum(report.cut_off.values()), counts)
