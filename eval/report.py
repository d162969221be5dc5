"""The result of an evaluation, as JSON for machines and as Markdown for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from reasoning_rl.checksums import changed
from reasoning_rl.errors import RunError
from reasoning_rl.eval.metrics import METRICS, Measure

SCHEMA: Literal[2] = 2
FILE = "report.json"
TABLES = ("samples.parquet", "problems.parquet")
"""Beside it, with their digests among its facts, under `files`."""
METHOD = (
    "Intervals hold 95 %, clustered by problem: a score interval (Wilson's, with the effective number of problems) for rates, a bootstrap "
    "over problems for what is counted. *Detectable* is the smallest difference that two such evaluations on problems of their own find "
    "with 80 % power; on the same problems, paired, far smaller ones are found, and a comparison says which. "
    "The problem set counts as a sample of such problems; the spread between training seeds is not in the intervals."
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured of one policy, and under which circumstances."""

    name: str
    created: str
    """ISO 8601, UTC."""
    metrics: tuple[Measure, ...]
    """The headline table."""
    slices: tuple[Measure, ...]
    """By level, subject and steps of the problem, by length and ending of the answer."""
    verdicts: Mapping[str, int]
    """Sampled answers by outcome, the most frequent first."""
    cut_off: Mapping[str, int]
    """Those of them that were cut off at the token limit."""
    facts: Mapping[str, object]
    """Where it comes from: hashes of problems and prompts, sampling, seed, and whatever the caller knew. `note` opens the Markdown."""
    schema: Literal[2] = SCHEMA
    """Of the JSON; raised when a field changes its meaning."""

    def find(self, metric: str, k: int | None = None) -> Measure | None:
        """The measure of the headline table, if it is there."""
        return next((measure for measure in self.metrics if (measure.metric, measure.k) == (metric, k)), None)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "report") -> "Report":
        """RunError, naming `where`, when the text is no report of this schema."""
        try:
            return _adapter().validate_json(text)
        except ValidationError as failure:
            first = failure.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise RunError(
                f"{where} is damaged or of another version: {place}: {first['msg']}; write it again with the eval stage"
            ) from failure

    def to_markdown(self) -> str:
        """A page with the headline table, its parts, the verdicts and the provenance."""
        parts = (_opening(self), _headline(self), _parts(self.slices), _verdicts(self), _method(self), _provenance(self.facts))
        return "\n\n".join(part for part in parts if part) + "\n"


def read_report(path: Path) -> Report:
    """From a report.json. RunError names the file that is missing or damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise RunError(f"{path}: no report can be read here ({failure.__class__.__name__}); the eval stage writes it") from failure
    return Report.from_json(text, str(path))


def damaged_tables(folder: Path, report: Report) -> dict[str, str]:
    """Those of the report in `folder` that are not as they were written, each with what is wrong."""
    written = report.facts.get("files")
    return dict(changed(folder, written)) if isinstance(written, dict) else {}


def figure(metric: str, number: float) -> str:
    """With as many decimals as the metric has.

    >>> figure("pass@k", 0.41249), figure("tokens", 31.26)
    ('0.412', '31.3')
    """
    return f"{number:.{METRICS[metric].decimals}f}"


def span(metric: str, low: float, high: float) -> str:
    """The two ends of an interval.

    >>> span("pass@k", 0.371, 0.452)
    '0.371 to 0.452'
    """
    return f"{figure(metric, low)} to {figure(metric, high)}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """The first `words` columns to the left, the others, numbers, to the right; a bar inside a cell is escaped."""
    rules = [":--" if column < words else "--:" for column in range(len(header))]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, rules, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _opening(report: Report) -> str:
    problems = report.metrics[0].n if report.metrics else 0
    note = report.facts.get("note")
    quoted = "".join(f"\n> {line}" for line in str(note).splitlines()) if note else ""
    return f"# {report.name}\n\n{problems} problems, {report.created}." + (f"\n{quoted}" if quoted else "")


def _headline(report: Report) -> str:
    rows = [(*_row(measure.label, measure), _detectable(measure)) for measure in report.metrics]
    table = markdown_table(("metric", "value", "95 % interval", "problems", "detectable"), rows)
    return f"{table}\n\n![pass@k against k](passk.png)"


def _row(first: str, measure: Measure) -> tuple[str, str, str, str]:
    return first, figure(measure.metric, measure.value), span(measure.metric, measure.low, measure.high), str(measure.n)


def _parts(slices: Sequence[Measure]) -> str:
    """One table per facet and metric."""
    tables = []
    for (facet, name), measures in groupby(slices, key=lambda part: (part.facet, part.label)):
        rows = [_row(measure.group or "(none)", measure) for measure in measures]
        tables.append(f"## {name} by {facet}\n\n" + markdown_table((facet, name, "95 % interval", "problems"), rows))
    return "\n\n".join(tables)


def _detectable(measure: Measure) -> str:
    return "" if measure.detectable is None else figure(measure.metric, measure.detectable)


def _verdicts(report: Report) -> str:
    total = sum(report.verdicts.values())
    rows = [
        (outcome, f"{count:,}", f"{count / total:.1%}", f"{report.cut_off.get(outcome, 0):,}") for outcome, count in report.verdicts.items()
    ]
    table = markdown_table(("verdict", "answers", "share", "of these cut off"), rows)
    return f"## Verdicts of the sampled answers\n\n{table}" if rows else ""


def _method(report: Report) -> str:
    used = dict.fromkeys(measure.metric for measure in report.metrics)
    meanings = "\n".join(f"* **{metric}**: {METRICS[metric].meaning}" for metric in used)
    drawn = [f"{measure.label} ±{measure.draw_error:.4f}" for measure in report.metrics if measure.draw_error is not None]
    closing = [f"Drawn, with their Monte-Carlo standard errors: {', '.join(drawn)}."] if drawn else []
    return "\n\n".join(("## How to read this", meanings, METHOD, *closing))


def _provenance(facts: Mapping[str, object]) -> str:
    rows = [(key, value) for key, value in _flat(facts) if key != "note"]
    return "## Where it comes from\n\n" + markdown_table(("fact", "value"), rows, words=2)


def _flat(facts: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts under dotted names."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", f"`{value}`")]
    return rows


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
