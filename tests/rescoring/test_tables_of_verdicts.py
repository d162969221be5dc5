"""What the tables say, on a page and on a narrow screen."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from reasoning_rl.records import Completion, Outcome, Problem, Score, Verdict
from reasoning_rl.rescoring.answers import Answer
from reasoning_rl.rescoring.names import Names
from reasoning_rl.rescoring.report import markdown, screen
from reasoning_rl.rescoring.tally import Agreement, Judged, Tally

RIGHT, WRONG = Score(1.0, "correct", "a\nb", answer="a|b", strict=0.0), Score(0.0, "wrong", "c", strict=0.0)
MATH = Names("math", "label", files=["f.jsonl"])


def failed(verdict: Outcome, reason: str) -> Score:
    return Score(0.0, verdict, reason)


def tally(*pairs: tuple[Score, Score | None], rewards: Sequence[str] = (), kept: int = 1) -> Tally:
    """Of answers in f.jsonl, row by row, with what either side says; `rewards` name verifiers that all say what our side says."""
    counts = Tally(agreement=Agreement(kept))
    for row, (ours, other) in enumerate(pairs, start=1):
        answer = Answer(Completion("x", ()), Problem("p", "s", "test", "q", "5"), "f.jsonl", row)
        counts.add(Judged(answer, Verdict(2 * ours.value, dict.fromkeys(rewards, ours), answer=ours), ours, other))
    return counts


def on_screen(counts: Tally, names: Names, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    for part in screen(counts, names):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_page_shows_the_table_and_what_each_side_says() -> None:
    said_no = Score(0.0, reason="because")
    page = markdown(tally((RIGHT, said_no), (RIGHT, said_no), (WRONG, said_no), (WRONG, None)), MATH)
    assert "| math: right | 0 | 2 |\n| math: wrong | 0 | 1 |" in page
    assert "They agree on 1 of 3 (33.33%); Cohen's kappa 0.000; 1 have nothing to compare with" in page
    assert "## Right to math, wrong to label: the first 1 of 2" in page
    assert "| 1 | 5 | a\\|b: correct, a b | 0, because |" in page
    assert "4 answers: 50.00% correct, 0.00% in the required format" in page


@pytest.mark.parametrize("verdict", ["error", "timeout", "too_large", "no_answer", "unparsable"])
def test_a_verdict_beside_correct_and_wrong_comes_with_its_first_reason(verdict: Outcome) -> None:
    page = markdown(tally((WRONG, None), (failed(verdict, "this is why"), None), (failed(verdict, "another"), None)), MATH)
    assert f"| {verdict} | row 2: this is why | 2 | 66.67% |\n| wrong |  | 1 | 33.33% |" in page


def test_where_all_is_correct_or_wrong_there_is_no_column_of_reasons() -> None:
    assert "| verdict | answers | share |" in markdown(tally((RIGHT, None), (WRONG, None)), MATH)


def test_errors_of_the_other_side_are_not_mistaken_for_its_judgement() -> None:
    page = markdown(tally((RIGHT, failed("error", "KeyError: 'x'")), (WRONG, failed("error", "later"))), Names("math", "bad", files=["f"]))
    assert "## Verdicts of bad\n\n| verdict | first reason | answers | share |" in page
    assert "| error | row 1: KeyError: 'x' | 2 | 100.00% |" in page
    assert "They agree on 1 of 2 (50.00%); Cohen's kappa 0.000; bad failed on 2, which count as wrong" in page


def test_a_label_has_no_verdicts_to_show() -> None:
    assert "Verdicts of label" not in markdown(tally((RIGHT, Score(1.0))), MATH)


def test_a_mean_says_how_often_the_verifier_failed_and_why() -> None:
    page = markdown(tally((failed("timeout", "after 5 s"), None), (RIGHT, None), rewards=["math", "format"]), MATH)
    assert "| verifier | first failure | mean | failed |" in page
    assert "| format | timeout, row 1: after 5 s | 0.5000 | 1 |\n| reward, weighted |  | 1.0000 |  |\n\nA failure counts 0." in page
    assert "| verifier | mean |" in markdown(tally((RIGHT, None), rewards=["math"]), MATH)


def test_what_does_not_judge_answers_is_not_called_correct_nor_asked_for_a_format() -> None:
    page = markdown(tally((Score(0.9), None), (Score(0.2), None)), Names("length", judges=False, files=["f.jsonl"]))
    assert "2 answers: 50.00% with a value above 1/2\n" in page
    assert "required format" not in page
    assert "1 answers: 100.00% correct\n" in markdown(tally((Score(1.0, "correct"), None)), MATH)  # knows no format


def test_own_verifiers_are_explained() -> None:
    said = "Each was judged by its own task's verifier, gsm8k or math"
    assert said in markdown(tally((RIGHT, None)), Names("own", files=["f.jsonl"]))
    assert said not in markdown(tally((RIGHT, None)), MATH)


def test_a_narrow_screen_breaks_no_word_of_a_header_and_no_number() -> None:
    long = Score(0.0, "error", "an_unbroken_word_" * 9)
    names = Names("/one/very/long/path/of/folders/grader.py:judge", "/another/path/of/folders/that/is/long/own.py:other", files=["f.jsonl"])
    shown = on_screen(tally((long, RIGHT), (RIGHT, long), kept=2), names)
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("verdict", "answers", "share", "50.00%", "row", "gold", "grader.py:judge", "own.py:other", "says"):
        assert f" {word} " in shown.replace("\n", " "), word


def test_every_table_has_an_empty_line_behind_it_and_one_only() -> None:
    lines = on_screen(tally((RIGHT, WRONG), (WRONG, RIGHT), rewards=["math"]), MATH).splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith("└")]
    assert len(ends) == 6  # verdicts, means, the other's verdicts, agreement, an example of each kind
    for end in ends:
        below = lines[end + 1 : end + 4]
        assert "" in below[:2]
        assert below[:2] != ["", ""]


def test_the_full_path_stands_in_the_title_once() -> None:
    path = "some/long/folder/answers.jsonl"
    page = markdown(tally((RIGHT, WRONG)), Names("math", "label", files=[path]))
    assert page.startswith(f"# Judged again: {path}\n")
    assert page.count("some/long") == 1


@pytest.mark.parametrize(
    ("files", "place", "row"),
    [
        (["a/b.jsonl"], "a/b.jsonl", "7"),
        (["runs/x/rollouts/step-1.parquet", "runs/x/rollouts/step-2.parquet"], "2 files in runs/x/rollouts", "step-1.parquet:7"),
        (["runs/x/samples.parquet", "runs/y/samples.parquet"], "2 files in runs", "x/samples.parquet:7"),
    ],
)
def test_a_row_is_called_as_shortly_as_the_files_allow(files: list[str], place: str, row: str) -> None:
    names = Names("math", files=files)
    answer = Answer(Completion("x", ()), Problem("p", "s", "test", "q", "5"), files[0], 7)
    assert (names.places, names.row(answer)) == (place, row)


def test_files_outside_the_working_folder_are_placed_by_their_full_path(tmp_path: Path) -> None:
    assert Names("math", files=[f"{tmp_path}/a", f"{tmp_path}/b"]).places == f"2 files in {tmp_path}"
