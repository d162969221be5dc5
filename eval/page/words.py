"""Figures said in plain words."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from reasoning_rl.eval import table
from reasoning_rl.eval.metrics import Measure, label
from reasoning_rl.eval.page.content import Page, PolicyPage
from reasoning_rl.eval.report import figure, span

LIKELY = 0.05
"""A p-value below it counts as a difference."""
Row = dict[str, Any]


def verdict(page: Page) -> list[str]:
    """What the page shows, a sentence a policy."""
    k = _smallest_k(page)
    if k is None:
        return ["There is no pass@k to speak of."]
    compared = [said for place in range(1, len(page.policies)) if (said := _against(page, place, k))]
    return compared or [_alone(policy, k) for policy in page.policies]


def power(page: Page) -> str:
    """What the last comparison finds four times in five, or without one another evaluation; nothing where nothing varies."""
    k, last = _smallest_k(page), len(page.policies) - 1
    row, measure = page.contrast(last, "pass@k", k), page.last.report.find("pass@k", k)
    if row is not None and row["detectable"] > 0:
        return f"A true difference of {row['detectable']:.3f} or more is found by a comparison of this size four times in five."
    if row is None and measure is not None and measure.detectable:
        least = f"{measure.detectable:.3f} or more is found"
        return f"A true difference of {least} four times in five by another evaluation of this size, on problems of its own."
    return ""


def curves(page: Page) -> list[str]:
    """Whether the curves of pass@k cross, for each policy against the first."""
    return [said for place in range(1, len(page.policies)) if (said := _crossing(page, place))]


def lengths(page: Page) -> list[str]:
    """How long the answers of each policy are, and how many of them were cut off."""
    return [said for policy in page.policies if (said := _length(policy))]


def signed(metric: str, value: float) -> str:
    """A difference, with the minus sign of print, and without one where it rounds to 0.

    >>> signed("pass@k", -0.0512), signed("tokens", -0.02)
    ('−0.051', '+0.0')
    """
    return table.signed(metric, value).replace("-", "−")


def percent(share: float) -> str:
    r"""With one decimal, and a space that no line breaks at.

    >>> percent(0.0312)
    '3.1\xa0%'
    """
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _smallest_k(page: Page) -> int | None:
    return min(
        (measure.k or 1 for policy in page.policies for measure in policy.report.metrics if measure.metric == "pass@k"), default=None
    )


def _alone(policy: PolicyPage, k: int) -> str:
    measure = policy.report.find("pass@k", k)
    if measure is None:
        return f"{policy.name} has no {label('pass@k', k)}."
    return f"{policy.name} solves {_with_ends(measure)} of {measure.n} problems {_tries(k)}."


def _with_ends(measure: Measure) -> str:
    return f"{figure(measure.metric, measure.value)} ({span(measure.metric, measure.low, measure.high)})"


def _against(page: Page, place: int, k: int) -> str:
    row, base = page.contrast(place, "pass@k", k), page.row(0, "pass@k", k)
    if row is None or base is None:
        return ""
    opening = f"{page.policies[place].name} solves {row['value']:.3f} of the problems {_tries(k)}, {page.first.name} {base['value']:.3f}"
    if row["p_holm"] >= LIKELY:
        return f"{opening}: no difference can be told, {_change(row)}."
    return f"{opening}: a difference of {_change(row)}."


def _change(row: Row) -> str:
    moved, low, high = (signed("pass@k", row[key]) for key in ("difference", "difference_low", "difference_high"))
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return f"{moved} ({low} to {high}; {p})"


def _tries(k: int) -> str:
    return "at the first try" if k == 1 else f"within {k} tries"


def _crossing(page: Page, place: int) -> str:
    """From the lowest k that both have to the highest: who leads where. Nothing where they share one k or none."""
    ks = sorted({measure.k or 1 for measure in page.policies[place].report.metrics if measure.metric == "pass@k"})
    rows = [row for k in ks if (row := page.contrast(place, "pass@k", k))]
    if len(rows) < 2:
        return ""
    return f"{_leads(page.policies[place].name, page.first.name, rows)} {_at_the_end(page.first.name, rows[-1])}"


def _leads(name: str, first: str, rows: Sequence[Row]) -> str:
    start, end = (f"{signed('pass@k', row['difference'])} at k = {row['k']}" for row in (rows[0], rows[-1]))
    told = [row for row in rows if row["p_holm"] < LIKELY]
    if turns := _between(_turns(told)):
        return f"The curves of {name} and {first} cross {turns}: the difference goes from {start} to {end}."
    if turns := _between(_turns(rows)):
        return f"The difference of {name} to {first} changes its sign {turns}, which may be chance: it goes from {start} to {end}."
    if not any(row["difference"] for row in rows):
        return f"The curve of {name} is that of {first}."
    where = "is nowhere above" if all(row["difference"] <= 0 for row in rows) else "is nowhere below"
    return f"The curve of {name} {where} that of {first}: the difference goes from {start} to {end}, and they don’t cross."


def _between(turns: Iterable[tuple[Row, Row]]) -> str:
    return " and ".join(f"between k = {below['k']} and k = {above['k']}" for below, above in turns)


def _turns(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Neighbours between which the difference changes its sign; those where it is 0 are passed over."""
    known = [row for row in rows if row["difference"]]
    return ((one, two) for one, two in pairwise(known) if (one["difference"] > 0) != (two["difference"] > 0))


def _at_the_end(first: str, row: Row) -> str:
    k = row["k"]
    if row["p_holm"] >= LIKELY:
        return f"At k = {k} no difference can be told: what the one reaches with {k} answers, the other may reach too."
    if row["difference"] > 0:
        return f"Even with {k} answers each it solves more than {first}; whether a larger k would close the gap was not measured."
    return f"With {k} answers each {first} solves more: what is gained at few tries is then bought with a narrower reach."


def _length(policy: PolicyPage) -> str:
    tokens, truncated = policy.report.find("tokens"), policy.report.find("truncated")
    if tokens is None or truncated is None:
        return ""
    cut = f"{percent(truncated.value)} of its answers were" if truncated.value else "none was"
    return f"{policy.name} writes {_with_ends(tokens)} tokens an answer; {cut} cut off at the limit."
