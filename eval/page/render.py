"""A page written as HTML."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval import table
from reasoning_rl.eval.metrics import METRICS
from reasoning_rl.eval.page import charts, tables, words
from reasoning_rl.eval.page.content import Page
from reasoning_rl.eval.page.examples import examples
from reasoning_rl.eval.page.facts import facts, flat
from reasoning_rl.eval.page.probes import probes
from reasoning_rl.eval.page.problems import shelves
from reasoning_rl.eval.page.text import printable
from reasoning_rl.eval.report import METHOD
from reasoning_rl.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, page: Page) -> Path:
    """The page as one file that needs nothing else; the same bytes for the same figures.

    StorageError when it can't be written, or when the samples can't be read.
    """
    html = _environment().get_template("page.html.j2").render(_content(page, path.parent))
    return write_text(path, printable(html))


def _content(page: Page, folder: Path) -> dict[str, object]:
    """What the template shows, section by section."""
    return {
        "page": page,
        "verdict": words.verdict(page),
        "power": words.power(page),
        "seeds": 1 if page.comparison is None else int(page.comparison["seeds"].max()),
        "headline": tables.main_results(page),
        "results": tables.results(page),
        "passk": [chart for chart in (charts.passk_chart(page), charts.worth_chart(page.last)) if chart],
        "curves": words.curves(page),
        "course": charts.course_charts(page.course),
        "grids": tables.grids(page),
        "parts": tables.parts(page, tables.OF_PROBLEMS),
        "lengths": charts.length_charts(page),
        "length_words": words.lengths(page),
        "by_length": tables.parts(page, ["length"]),
        "by_ending": tables.parts(page, ["ending"]),
        "verdicts": tables.verdicts(page),
        "probes": probes(page),
        "shelves": shelves(page),
        "examples": examples(page.last),
        "facts": facts(page),
        "settings": flat(page.settings),
        "meanings": {metric: METRICS[metric].meaning for metric in _metrics(page)},
        "method": METHOD.replace("*", ""),
        "pairing": table.METHOD,
        "files": [_relative(policy.samples.parent, folder) for policy in page.policies],
    }


def _metrics(page: Page) -> list[str]:
    return list(dict.fromkeys(measure.metric for policy in page.policies for measure in policy.report.metrics))


def _relative(path: Path, folder: Path) -> str:
    """As seen from the page, so that a moved run keeps its page."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
