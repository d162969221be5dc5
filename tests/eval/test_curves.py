"""Pictures of evaluations, whatever they have to show."""

from pathlib import Path

import pandas as pd
import pytest
from eval_fakes import evaluated
from PIL import Image

from reasoning_rl.eval import compare
from reasoning_rl.eval.compare import read_evaluation
from reasoning_rl.eval.curves import Point, curves_of, differences_plot, passk_plot, points_of
from reasoning_rl.eval.side_by_side import page_of, write_comparison


def points(*ks: int) -> list[Point]:
    return [Point(k, 0.3, 0.2, 0.4) for k in ks]


def colours(path: Path) -> int:
    """In the picture; one or two would mean an empty page."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return len(picture.convert("RGB").getcolors(maxcolors=1 << 20) or [])


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    evaluated(tmp_path / "base", {0: "0 5", 1: "5 5", 2: "5 2"})
    evaluated(tmp_path / "trained", {0: "0 0", 1: "1 5", 2: "2 2"})
    evaluated(tmp_path / "worse", {0: "5 5", 1: "5 5", 2: "5 2"})
    return compare(*(tmp_path / name for name in ("base", "trained", "worse")))


def test_passk_plot_shows_a_run_per_line(tmp_path: Path) -> None:
    one = passk_plot({"base": points(1, 2, 4)}, tmp_path / "one.png")
    two = passk_plot({"base": points(1, 2, 4), "trained": points(1, 8)}, tmp_path / "two.png")
    assert colours(two) > colours(one) > 10


def test_passk_plot_of_a_single_k_is_drawn(tmp_path: Path) -> None:
    assert colours(passk_plot({"base": points(1)}, tmp_path / "single.png")) > 10


def test_passk_plot_without_a_run_is_an_empty_frame(tmp_path: Path) -> None:
    assert passk_plot({}, tmp_path / "none.png").stat().st_size > 0


def test_the_curve_of_a_report_is_its_curve_in_a_comparison(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "base", {0: "0 5", 1: "5 5"})
    assert curves_of(compare(tmp_path / "base")) == {"base": points_of(report)}
    assert [point.k for point in points_of(report)] == [1, 2]


def test_differences_are_drawn_for_one_run_and_for_several(tmp_path: Path, frame: pd.DataFrame) -> None:
    several = differences_plot(frame, tmp_path / "several.png")
    one = differences_plot(frame[frame["run"] != "worse"], tmp_path / "one.png")
    assert colours(several) > colours(one) > 10


def test_a_single_run_has_no_difference_to_draw(tmp_path: Path, frame: pd.DataFrame) -> None:
    assert differences_plot(frame[frame["run"] == "base"], tmp_path / "none.png").stat().st_size > 0


def test_a_comparison_leaves_its_five_files(tmp_path: Path, frame: pd.DataFrame) -> None:
    evaluations = {name: read_evaluation(tmp_path / name) for name in frame["run"].unique()}
    write_comparison(page_of(frame, evaluations, title="Three", note="Mind the gap."), tmp_path / "out")
    names = ["comparison.csv", "comparison.md", "differences.png", "passk.png", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert page.startswith("Mind the gap.\n\n| metric | run |")
    assert "| avg@2 | base |" in page  # all metrics, not only the headline's
    assert "The curve of trained is nowhere below that of base" in page
    assert "Mind the gap." in (tmp_path / "out" / "report.html").read_text()
    read = pd.read_csv(tmp_path / "out" / "comparison.csv").astype({"k": "Int64"})
    pd.testing.assert_frame_equal(read, frame, check_dtype=False)


def test_a_run_alone_has_a_page_and_no_comparison(tmp_path: Path) -> None:
    evaluated(tmp_path / "base", {0: "0 5", 1: "5 5"})
    page = page_of(compare(tmp_path / "base"), {"base": read_evaluation(tmp_path / "base")}, title="Alone")
    write_comparison(page, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
