"""Paired comparison of runs, by hand."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from eval_fakes import evaluated
from rich.console import Console

from reasoning_rl.errors import RunError
from reasoning_rl.eval import compare
from reasoning_rl.eval.table import comparison_markdown, comparison_table, detectable_note

# Problems 0 to 3, two samples each and the greedy answer, which is the last word.
BEFORE = {0: "0 7 7", 1: "5 5 5", 2: "2 7 2", 3: "5 5 5"}  # p = 1/2, 0, 1/2, 0; greedy solves 2
AFTER = {0: "0 0 0", 1: "1 5 1", 2: "2 2 2", 3: "5 5 5"}  # p = 1, 1/2, 1, 0; greedy solves 0, 1, 2


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs")
    evaluated(run / "eval" / "cold-start", BEFORE, samples=2, k=[1, 2])
    evaluated(run / "eval" / "trained", AFTER, samples=2, k=[1, 2])
    return run


@pytest.fixture
def runs(written: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy that a test may spoil."""
    shutil.copytree(written, tmp_path / "cpu")
    return tmp_path / "cpu" / "eval" / "cold-start", tmp_path / "cpu" / "eval" / "trained"


def row(frame: pd.DataFrame, run: str, metric: str, k: int | None = None) -> pd.Series:
    chosen = frame[(frame["run"] == run) & (frame["metric"] == metric)]
    return (chosen if k is None else chosen[chosen["k"] == k]).iloc[0]


def test_the_difference_is_paired_by_problem(runs: tuple[Path, Path]) -> None:
    found = row(compare(*runs), "trained", "pass@k", 1)
    # d = 1/2, 1/2, 1/2, 0: mean 3/8. Signs of the three that moved: 2 of 8 patterns reach 3/2, and equal it, so that they count half.
    assert (found["value"], found["difference"], found["p_value"], found["n"]) == (5 / 8, 3 / 8, 1 / 8, 4)
    assert -0.3 < found["difference_low"] < 3 / 8 < found["difference_high"] <= 1


def test_greedy_answers_are_compared_by_mcnemar(runs: tuple[Path, Path]) -> None:
    found = row(compare(*runs), "trained", "greedy")
    # Gained 2, lost 0: two-sided 2·(1/2)², of which half counts: 1/4.
    assert (found["difference"], found["p_value"]) == (0.5, 0.25)


def test_the_table_is_tidy(runs: tuple[Path, Path]) -> None:
    frame = compare(*runs)
    assert list(frame.columns) == [
        *("run", "metric", "k", "value", "low", "high", "difference", "difference_low", "difference_high"),
        *("p_value", "p_holm", "detectable", "n", "seeds"),
    ]
    assert len(frame) == 22  # pass@1, pass@2, pass@1 strict, greedy, pass^2, maj@2, best@2, avg@2, reward, tokens, truncated of two runs
    assert frame["k"].dtype == "Int64"
    assert row(frame, "trained", "greedy")["k"] is pd.NA


def test_the_first_run_has_no_difference(runs: tuple[Path, Path]) -> None:
    frame = compare(*runs)
    first = frame[frame["run"] == "cold-start"]
    assert first[["difference", "difference_low", "difference_high", "p_value"]].isna().all(axis=None)


def test_a_run_stands_for_its_trained_policy(runs: tuple[Path, Path]) -> None:
    before, after = runs
    frame = compare(before / "report.json", before.parent.parent)
    pd.testing.assert_frame_equal(frame, compare(before, after))


def test_the_order_of_problems_does_not_matter(runs: tuple[Path, Path], tmp_path: Path) -> None:
    shuffled = tmp_path / "other" / "eval" / "trained"
    evaluated(shuffled, dict(reversed(AFTER.items())), samples=2, k=[1, 2])
    here, there = compare(runs[0], runs[1]), compare(runs[0], shuffled)
    assert row(here, "trained", "pass@k", 1)["difference_low"] == row(there, "trained", "pass@k", 1)["difference_low"]


def test_runs_of_one_name_are_told_apart(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "gpu" / "eval" / "trained"
    evaluated(other, AFTER, samples=2, k=[1, 2])
    assert list(compare(runs[1], other)["run"].unique()) == ["cpu/trained", "gpu/trained"]
    assert list(compare(other, other)["run"].unique()) == ["gpu/trained #1", "gpu/trained #2"]


def test_different_problems_are_refused_by_name(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, AFTER | {4: "4 4 4"}, samples=2, k=[1, 2])
    with pytest.raises(RunError, match=r"different problems \(4 and 5, 4 shared; in one only: toy/test/4\)"):
        compare(runs[0], other)


def test_told_so_it_pairs_the_problems_both_have(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, {1: "1 1 1", 0: "0 0 0", 4: "4 4 4"}, samples=2, k=[1, 2])
    found = row(compare(runs[0], other, allow_different=True), "other", "pass@k", 1)
    assert (found["difference"], found["n"]) == ((0.5 + 1) / 2, 2)


def test_without_a_common_problem_there_is_no_pairing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, {8: "8 8 8"}, samples=2, k=[1, 2])
    with pytest.raises(RunError, match="share no problem"):
        compare(runs[0], other, allow_different=True)


def test_equal_ids_with_other_golds_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, AFTER, samples=2, k=[1, 2])
    text = (other / "report.json").read_text()
    (other / "report.json").write_text(text.replace('"problems_sha256": "', '"problems_sha256": "f'))
    with pytest.raises(RunError, match="same ids, yet other questions or gold"):
        compare(runs[0], other)


def test_different_templates_and_sampling_are_all_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, AFTER, samples=2, k=[1, 2], temperature=0.5, template="Problem: {}", facts={"rewards": {"math": 1.0}})
    with pytest.raises(RunError, match=r"prompts differ.*temperature is 1\.0 and 0\.5.*rewards are None and \{'math'") as refusal:
        compare(runs[0], other)
    assert "top_p" not in str(refusal.value)
    assert len(compare(runs[0], other, allow_different=True)) == 22


def test_another_number_of_samples_is_no_obstacle(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    evaluated(other, dict.fromkeys(range(4), "0 1 2 3"), samples=4, k=[1, 2, 4])
    frame = compare(runs[0], other)
    assert row(frame, "other", "pass@k", 1)["difference"] == 0.0  # one of four against 1/2, 0, 1/2, 0
    # Of pass@2 the base's 1, 0, 1, 0 are yes or no, and the other's four times 1/2 are not: the test thins it to two samples.
    assert row(frame, "other", "pass@k", 2)["difference"] == 0.0
    assert 0.1 < row(frame, "other", "pass@k", 2)["p_value"] <= 1
    assert pd.isna(row(frame, "other", "pass@k", 4)["difference"])  # the first run can't tell


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign"])
def test_problems_that_cannot_be_read_are_named(runs: tuple[Path, Path], damage: str) -> None:
    table = runs[1] / "problems.parquet"
    if damage == "missing":
        table.unlink()
    elif damage == "torn":
        table.write_bytes(table.read_bytes()[:100])
    else:
        pd.DataFrame({"a": [1]}).to_parquet(table)
    with pytest.raises(RunError, match=r"trained/problems\.parquet: the problems of this report can't be read"):
        compare(*runs)


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere: no report here; looked for .*nowhere/report\.json and .*eval/trained/report\.json"):
        compare(tmp_path / "nowhere")


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(RunError, match="no report is named"):
        compare()


def test_the_terminal_table_fits_into_100_columns(runs: tuple[Path, Path]) -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(comparison_table(compare(*runs)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert not any("…" in line for line in lines)
    assert sum("pass@1 " in line and "cold-start" in line and "0.250" in line for line in lines) == 1


def test_markup_in_a_name_is_shown_as_it_is(runs: tuple[Path, Path]) -> None:
    frame = compare(*runs).replace({"run": {"trained": "[red]trained"}})
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(comparison_table(frame))
    assert "[red]trained" in console.export_text()


def test_markdown_says_what_the_table_says(runs: tuple[Path, Path]) -> None:
    page = comparison_markdown(compare(*runs))
    assert "| pass@1 | cold-start | 0.250 |" in page
    assert "|  | trained | 0.625 |" in page
    assert "| +0.375 |" in page
    assert page.count("| greedy |") == 1


def test_a_tiny_p_value_is_not_printed_as_zero(runs: tuple[Path, Path]) -> None:
    frame = compare(*runs)
    frame["p_holm"] = frame["p_holm"] * 1e-6
    assert "| <0.001 |" in comparison_markdown(frame)


def seeds(folder: Path, *scripts: dict[int, str]) -> list[Path]:
    """Evaluations of one run with several training seeds."""
    for number, script in enumerate(scripts):
        evaluated(folder / f"run-{number}" / "eval" / "trained", script, samples=2, k=[1, 2])
    return [folder / f"run-{number}" for number in range(len(scripts))]


def test_training_seeds_are_one_run(tmp_path: Path) -> None:
    base = seeds(tmp_path / "base", BEFORE, BEFORE)
    better = seeds(tmp_path / "better", AFTER, dict.fromkeys(range(4), "9 9"))
    frame = compare(base, better, names=["base", "better"])
    found = row(frame, "better", "pass@k", 1)
    # Seeds solve 5/8 and, but for luck, nothing: mean 5/16, and 1/4 is the base's.
    assert (found["value"], found["difference"], found["seeds"], found["n"]) == (5 / 16, 1 / 16, 2, 4)
    assert found["low"] < found["value"] < found["high"]
    assert found["difference_low"] < 0 < found["difference_high"]
    assert found["p_value"] > 0.05
    assert found["detectable"] > 0.3
    assert list(frame["run"].unique()) == ["base", "better"]


def test_seeds_are_compared_with_the_mean_of_another_number_of_seeds(tmp_path: Path) -> None:
    base = seeds(tmp_path / "base", BEFORE)
    better = seeds(tmp_path / "better", AFTER, AFTER, AFTER)
    assert row(compare(base, better, names=["base", "better"]), "better", "pass@k", 1)["difference"] == 3 / 8


def test_p_values_are_corrected_for_the_number_of_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    evaluated(tmp_path / "third", AFTER, samples=2, k=[1, 2])
    frame = compare(*runs, tmp_path / "third")
    one, other = row(frame, "trained", "pass@k", 1), row(frame, "third", "pass@k", 1)
    assert (one["p_value"], one["p_holm"], other["p_holm"]) == (0.125, 0.25, 0.25)  # twice the smaller, and not less for the other
    assert row(compare(*runs), "trained", "pass@k", 1)["p_holm"] == 0.125


def test_what_no_rate_can_differ_by_is_not_claimed(tmp_path: Path) -> None:
    for name, answer in (("one", "0"), ("other", "5")):
        evaluated(tmp_path / name, {0: f"{answer} {answer}", 1: "1 5"}, samples=2, k=[1, 2])
    frame = compare(tmp_path / "one", tmp_path / "other")
    found = frame[frame["metric"] == "pass@k"]["detectable"]
    assert found.isna().any()  # two problems would find a difference of more than 1 at pass@1
    assert (found.dropna() <= 1).all()


def test_a_comparison_says_what_it_could_have_found(runs: tuple[Path, Path]) -> None:
    frame = compare(*runs)
    found = row(frame, "trained", "pass@k", 1)
    # Half the interval over t₀.₉₇₅,₃ = 3.1824 is the error, (t₀.₉₇₅ + t₀.₈)·SE with t₀.₈,₃ = 0.9785 what it finds.
    error = (found["difference_high"] - found["difference_low"]) / 2 / 3.1824
    assert found["detectable"] == pytest.approx((3.1824 + 0.9785) * error, rel=1e-3)
    assert f"from {found['detectable']:.3f} for trained on" in detectable_note(frame)
    assert "is told apart 4 times in 5 from a pass@1" in detectable_note(compare(runs[0]))


@pytest.mark.parametrize("names", [["one", "two", "three"], ["same", "same"], ["trained"]])
def test_names_must_fit_the_runs(runs: tuple[Path, Path], names: list[str]) -> None:
    with pytest.raises(RunError, match="2 different ones are needed"):
        compare(*runs, names=names)


def test_a_run_without_a_report_is_refused() -> None:
    with pytest.raises(RunError, match="a run without reports"):
        compare([])
