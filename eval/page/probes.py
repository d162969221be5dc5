"""What a probe for contamination found of each policy, where one was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_rl.eval.page.content import Page
from reasoning_rl.eval.page.tables import Value
from reasoning_rl.eval.probe_report import MEANINGS, READING, Figure, read_probe


@dataclass(frozen=True, slots=True)
class Probes:
    """A table with a row for each figure and a column for each policy."""

    share: float
    """Of a question's words that were shown."""
    rows: Sequence[tuple[str, str, Sequence[Value | None]]]
    """A figure's name and meaning, and its values."""
    reading: str


def probes(page: Page) -> Probes | None:
    """None where no policy was probed."""
    reports = [read_probe(policy.samples.parent) for policy in page.policies]
    known = [report for report in reports if report is not None]
    if not known:
        return None
    found = {name: [report.find(name) if report else None for report in reports] for name in MEANINGS}
    rows = [(name, MEANINGS[name], [_value(figure) for figure in figures]) for name, figures in found.items() if any(figures)]
    return Probes(known[0].share, rows, READING.replace("`", ""))


def _value(figure: Figure | None) -> Value | None:
    return Value(f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}", figure.value, figure.n) if figure else None
