"""What evaluations side by side leave to read: report.html, comparison.md, comparison.csv, and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval.compare import Evaluation
from reasoning_rl.eval.curves import curves_of, differences_plot, passk_plot
from reasoning_rl.eval.page import Page, PolicyPage, write_page
from reasoning_rl.eval.table import comparison_markdown, detectable_note
from reasoning_rl.files import write_text

if TYPE_CHECKING:
    import pandas as pd

METHOD = (
    "Differences are paired by problem with the first run. p is McNemar's (mid-p) where each problem has a plain yes or no in both runs, "
    "else that of a sign-flip permutation test; with several training seeds it is that of a bootstrap over seeds and problems. Where "
    "several runs are compared it is Holm's, for all of them on a metric."
)


def write_comparison(frame: "pd.DataFrame", folder: Path, note: str = "") -> None:
    """The frame of `compare` in words, as a table, and as pictures. StorageError names what can't be written."""
    pictures = "![pass@k against k](passk.png)\n\n![differences](differences.png)"
    parts = (note, comparison_markdown(frame).rstrip(), detectable_note(frame), METHOD, pictures)
    write_text(folder / "comparison.md", "\n\n".join(filter(None, parts)) + "\n")
    write_text(folder / "comparison.csv", frame.to_csv(index=False))
    passk_plot(curves_of(frame), folder / "passk.png")
    differences_plot(frame, folder / "differences.png")


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


__all__ = ["page_of", "write_comparison", "write_page"]
