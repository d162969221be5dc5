"""Reports as JSON and Markdown."""

from pathlib import Path

import pytest

from reasoning_rl.errors import RunError
from reasoning_rl.eval.metrics import METRICS, Measure
from reasoning_rl.eval.report import Report, markdown_table, read_report

MEASURES = (
    Measure("pass@k", 1, 0.5, 0.4123, 0.5877, 40, 0.044, (0.41, 0.59), detectable=0.174),
    Measure("pass@k", 4, 0.75, 0.6, 0.85, 40, 0.05, (0.6, 0.85)),
    Measure("tokens", None, 31.26, 30.0, 32.5, 40, 0.6, (30.0, 32.5), detectable=2.38),
)
PARTS = (
    Measure("pass@k", 1, 0.25, 0.1, 0.4, 10, 0.07, (0.1, 0.4), facet="level", group="2"),
    Measure("pass@k", 1, 0.125, 0.0, 0.3, 10, 0.06, (0.0, 0.3), facet="level", group="10"),
)


def report(**facts: object) -> Report:
    return Report("trained", "2026-01-02T03:04:05+00:00", MEASURES, PARTS, {"correct": 90, "wrong": 70}, {"wrong": 4}, facts)


def test_json_keeps_everything() -> None:
    single = Measure("greedy", None, 1.0, 0.2, 1.0, 1, None, (1.0, 1.0))
    written = Report("one", "2026-01-02T03:04:05+00:00", (single,), (), {}, {}, {"nested": {"seed": 3, "stop": ["##"]}})
    assert Report.from_json(written.to_json()) == written
    assert Report.from_json(report().to_json()) == report()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "the file"),
        ('{"name": "x"', "the file"),
        ('{"name": "x"}', "created"),
        (report().to_json().replace('"schema": 2', '"schema": 99'), "schema"),
        (report().to_json().replace('"value": 0.5,', '"value": "half",'), r"metrics\.0\.value"),
    ],
)
def test_a_damaged_report_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(RunError, match=rf"report\.json is damaged or of another version: {place}"):
        read_report(path)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"report\.json: no report can be read here \(FileNotFoundError\)"):
        read_report(tmp_path / "report.json")


def test_bytes_that_are_no_text_are_a_damaged_report(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="UnicodeDecodeError"):
        read_report(tmp_path / "report.json")


def test_a_measure_is_found_by_metric_and_k() -> None:
    assert report().find("pass@k", 4) == MEASURES[1]
    assert report().find("tokens") == MEASURES[2]
    assert report().find("pass@k", 64) is None


def test_markdown_gives_each_number_its_interval() -> None:
    page = report(dataset={"sha256": "abc"}).to_markdown()
    assert "# trained\n\n40 problems, 2026-01-02T03:04:05+00:00." in page
    assert "| pass@1 | 0.500 | 0.412 to 0.588 | 40 | 0.174 |" in page
    assert "| tokens | 31.3 | 30.0 to 32.5 | 40 | 2.4 |" in page
    assert "| correct | 90 | 56.2% | 0 |" in page
    assert "| wrong | 70 | 43.8% | 4 |" in page
    assert "| dataset.sha256 | `abc` |" in page


def test_markdown_lists_parts_in_natural_order() -> None:
    page = report().to_markdown()
    table = page[page.index("## pass@1 by level") :]
    assert table.index("| 2 | 0.250") < table.index("| 10 | 0.125")


def test_markdown_explains_the_metrics_it_shows() -> None:
    page = report().to_markdown()
    assert METRICS["pass@k"].meaning in page
    assert METRICS["greedy"].meaning not in page


def test_a_note_opens_the_page() -> None:
    page = report(note="Head-room was built in.\nOn purpose.").to_markdown()
    assert page.index("> Head-room was built in.\n> On purpose.") < page.index("| pass@1 |")
    assert "| note |" not in page


def test_an_empty_report_still_renders() -> None:
    page = Report("none", "2026-01-02T03:04:05+00:00", (), (), {}, {}, {}).to_markdown()
    assert "0 problems" in page
    assert "Verdicts" not in page


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert markdown_table(("a", "b"), [("x|y", "1")]).splitlines()[-1] == "| x\\|y | 1 |"
