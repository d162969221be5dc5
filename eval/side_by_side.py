"""What evaluations side by side leave to read: report.html, comparison.md, comparison.csv, and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval.compare import Evaluation, compare, mismatches, read_evaluation
from reasoning_rl.eval.curves import curves_of, differences_plot, passk_plot
from reasoning_rl.eval.page import Page, PolicyPage, write_page
from reasoning_rl.eval.page.words import curves
from reasoning_rl.eval.table import METHOD, comparison_markdown, detectable_note
from reasoning_rl.files import write_text

if TYPE_CHECKING:
    import pandas as pd


PAGE = "report.html"


def write_comparison(page: Page, folder: Path) -> None:
    """What the page shows, in its own file, and where it compares runs as Markdown, CSV and pictures. StorageError names a file."""
    if page.comparison is not None:
        pictures = "![pass@k against k](passk.png)\n\n![differences](differences.png)"
        table = comparison_markdown(page.comparison).rstrip()
        parts = (page.note, table, *curves(page), detectable_note(page.comparison), METHOD, pictures)
        write_text(folder / "comparison.md", "\n\n".join(filter(None, parts)) + "\n")
        write_text(folder / "comparison.csv", page.comparison.to_csv(index=False))
        passk_plot(curves_of(page.comparison), folder / "passk.png")
        differences_plot(page.comparison, folder / "differences.png")
    write_page(folder / PAGE, page)


def side_by_side(runs: Sequence[Sequence[Path]], names: Sequence[str], *, suite: str, allow_different: bool) -> "tuple[pd.DataFrame, Page]":
    """The frame of `compare`, whose errors this raises, and its page, which says what differs and what is of one training seed alone."""
    frame = compare(*runs, names=names, suite=suite, allow_different=allow_different)
    read = [[read_evaluation(path, suite) for path in seeds] for seeds in runs]
    notes = [f"Compared all the same: {told}." for told in mismatches([each for seeds in read for each in seeds])]
    if any(len(seeds) > 1 for seeds in read):
        notes.append("Figures are over all training seeds; verdicts, problems and answers are those of the first seed of each run.")
    evaluations = dict(zip(frame["run"].unique(), (seeds[0] for seeds in read), strict=True))
    return frame, page_of(frame, evaluations, title="Comparison", note=" ".join(notes))


def page_of(
    frame: "pd.DataFrame",
    evaluations: Mapping[str, Evaluation],
    *,
    title: str,
    note: str = "",
    course: "pd.DataFrame | None" = None,
    settings: Mapping[str, object] | None = None,
) -> Page:
    """The page of a comparison. `evaluations` are of its runs by name, in the order of the frame; of several seeds the first."""
    policies = [
        PolicyPage(name, each.report, each.problems.reset_index(), each.path / "samples.parquet") for name, each in evaluations.items()
    ]
    return Page(title, note, policies, frame if len(policies) > 1 else None, course, settings or {})
