"""Where stored answers come from, and what is said of those that can't be judged."""

import json
from pathlib import Path

import pandas as pd
import pytest

from reasoning_rl.data.store import write_prompts
from reasoning_rl.errors import DataError
from reasoning_rl.journal import Journal
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Task, Verdict
from reasoning_rl.rescoring.answers import Answer, Answers, Columns, Survey, tables_of


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def read(*places: Path, columns: Columns | None = None, task: Task | None = None) -> list[Answer]:
    return list(Answers(tables_of(places), columns or Columns(), task))


def run_with_rollouts(folder: Path, task: Task = "gsm8k") -> Path:
    """A run of two steps on one problem, with the problems it was prepared from."""
    problem = Problem("gsm8k/train/7", "gsm8k", "train", "How many?", "5", solution="2+3=5", task=task, level="2")
    prompt = Prompt(problem, "Q: How many?", (1, 2))
    for split in ("train", "eval"):
        write_prompts(folder / "data" / f"{split}.parquet", [prompt] if split == "train" else [])
    score = Score(1.0, "correct", answer="5")
    group = Group(prompt, (Completion("#### 5", (3, 4), finish_reason="length"),), (Verdict(1.0, {"gsm8k": score}, answer=score),))
    for step in (1, 2):
        Journal(folder).rollouts(step, [group])
    return folder


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_of_both_formats_are_the_same_answers(suffix: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "completion": ["#### 2", "3"], "gold": [2, 3], "task": ["gsm8k", "math"], "level": ["1", "2"]})
    path = tmp_path / f"answers.{suffix}"
    frame.to_json(path, orient="records", lines=True) if suffix == "jsonl" else frame.to_parquet(path)
    answers = read(path)
    assert [answer.completion.text for answer in answers] == ["#### 2", "3"]
    assert [(answer.problem.gold, answer.problem.task, answer.problem.level) for answer in answers] == [
        ("2", "gsm8k", "1"),
        ("3", "math", "2"),
    ]
    assert [(answer.file, answer.row, answer.identity) for answer in answers] == [(str(path), 1, {"id": "a"}), (str(path), 2, {"id": "b"})]


def test_answers_of_a_run_belong_to_its_problems_step_by_step(tmp_path: Path) -> None:
    run = run_with_rollouts(tmp_path / "first")
    for place in (run, run / "rollouts"):
        answers = read(place)
        assert [answer.identity for answer in answers] == [
            {"step": step, "group": 0, "sample": 0, "problem_id": "gsm8k/train/7"} for step in (1, 2)
        ]
    problem, completion = answers[0].problem, answers[0].completion
    assert (problem.task, problem.question, problem.solution, problem.level) == ("gsm8k", "How many?", "2+3=5", "2")
    assert (completion.token_ids, completion.finish_reason) == ((3, 4), "length")


def test_the_row_knows_its_gold_better_than_the_run(tmp_path: Path) -> None:
    run = run_with_rollouts(tmp_path / "first")
    file = jsonl(run / "rollouts" / "mine.jsonl", {"problem_id": "gsm8k/train/7", "completion": "x", "gold": "6"})
    assert [(answer.problem.gold, answer.problem.question) for answer in read(file)] == [("6", "How many?")]


def test_samples_of_an_evaluation_are_found_in_its_folder(tmp_path: Path) -> None:
    pd.DataFrame({"problem_id": ["p"], "sample": [3], "kind": ["greedy"], "completion": ["5"], "gold": ["5"]}).to_parquet(
        tmp_path / "samples.parquet"
    )
    assert [answer.identity for answer in read(tmp_path)] == [{"problem_id": "p", "sample": 3, "kind": "greedy"}]


def test_a_task_that_is_asked_for_wins_over_what_the_rows_say(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *({"completion": "5", "gold": "5", "task": task} for task in ("gsm8k", "chess", None)))
    assert [answer.problem.task for answer in read(path, task="gsm8k")] == ["gsm8k"] * 3
    with pytest.raises(
        DataError, match=r"a\.jsonl:2: task: found 'chess'; gsm8k and math are accepted\. --task math judges all rows as math"
    ):
        read(path)


@pytest.mark.parametrize(
    ("stored", "label"),
    [(True, 1.0), (False, 0.0), (0.25, 0.25), (1, 1.0), ("correct", 1.0), ("wrong", 0.0), ("timeout", 0.0), ("true", 1.0), ("0.7", 0.7)],
)
def test_labels_are_numbers_truths_or_verdicts(stored: object, label: float, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"completion": "5", "gold": "5", "label": stored})
    assert [answer.label for answer in read(path, columns=Columns(label="label"))] == [label]


@pytest.mark.parametrize("stored", [None, float("nan"), "scored"])
def test_a_label_may_say_nothing(stored: object, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"completion": "5", "gold": "5", "label": stored})
    assert [answer.label for answer in read(path, columns=Columns(label="label"))] == [None]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"response": "4", "ground_truth": "5", "prompt": "2+3?"})
    (answer,) = read(path, columns=Columns("response", "ground_truth"))
    assert (answer.completion.text, answer.problem.gold, answer.problem.question) == ("4", "5", "2+3?")


def test_token_ids_are_read_only_where_somebody_looks_at_them(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"completion": ["5"], "gold": ["5"], "token_ids": [[1, 2]]}).to_parquet(path)
    assert [read(path, columns=Columns(tokens=tokens))[0].completion.token_ids for tokens in (True, False)] == [(1, 2), ()]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"completion": "2"}, "a.jsonl:1: no column 'gold'; known: completion. --gold-column names another"),
        ({"completions": "2", "gold": "2"}, "Did you mean 'completions'? --completion-column names another"),
        ({"completion": "2", "gold": None}, "a.jsonl:1: gold: found None; text or a number is accepted"),
        ({"completion": [{"role": "assistant"}], "gold": "2"}, "a.jsonl:1: completion: found [{'role': 'assistant'}]; text"),
        ({"completion": "2", "gold": True}, "a.jsonl:1: gold: found True"),
        ([1, 2], "a.jsonl:1: found list [1, 2]; a line is a JSON object"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named_with_what_is_accepted(row: object, said: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", row)
    with pytest.raises(DataError) as failure:
        read(path)
    assert said in str(failure.value)


def test_a_label_that_is_none_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"completion": "2", "gold": "2", "label": "perhaps"})
    with pytest.raises(DataError, match=r"a\.jsonl:1: label: found 'perhaps'; a number, true or false, or a verdict"):
        read(path, columns=Columns(label="label"))


def test_a_parquet_file_says_at_once_which_column_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"completion": ["5"], "answer": ["5"], "level": [1]}).to_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet: no column 'gold'; known: answer, completion, level\. --gold-column"):
        read(path)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"completion": [f"{n} is it" for n in range(5000)], "gold": ["5"] * 5000}).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:4000] = b"\xff" * 3996  # the first pages; the footer is whole
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: damaged: "):
        read(path)


def test_a_line_nested_too_deeply_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[" * 200_000 + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1: not JSON: nested too deeply"):
        read(tmp_path / "a.jsonl")


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither rollouts/step-\*\.parquet nor samples\.parquet here"):
        read(tmp_path)
    with pytest.raises(DataError, match="there is no such file or folder"):
        read(tmp_path / "absent")


def test_all_rows_are_looked_at_before_any_is_judged(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.jsonl", *({"completion": "5", "gold": "5"} for _ in range(3)))
    with lines.open("a") as file:
        file.write("\n\n")
    answers = Answers(tables_of([lines, run_with_rollouts(tmp_path / "run")]))
    assert answers.survey() == Survey(5, frozenset({"math", "gsm8k"}))
    with lines.open("a") as file:
        file.write('{"completion": "5"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:6: no column 'gold'"):
        answers.survey()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "a.jsonl:1: no column 'token_ids'; known: completion, gold. length can't count tokens without it; a run's rollouts have it"),
        ({"token_ids": None}, "a.jsonl:1: token_ids: found None; a list of numbers is accepted"),
    ],
)
def test_without_token_ids_no_tokens_are_counted(row: dict[str, object], said: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"completion": "5", "gold": "5"} | row)
    with pytest.raises(DataError) as failure:
        read(path, columns=Columns(counting=["length"]))
    assert said in str(failure.value)
    assert read(path)[0].completion.token_ids == ()


def test_token_ids_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: token_ids: found 5; a list of numbers is accepted"):
        read(jsonl(tmp_path / "a.jsonl", {"completion": "5", "gold": "5", "token_ids": 5}))


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl.gz", "answers"])
def test_a_file_of_another_kind_is_refused_by_its_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: found .*; JSONL and parquet are read"):
        read(jsonl(tmp_path / name, {"completion": "5", "gold": "5"}))


@pytest.mark.parametrize("name", ["answers.json", "ANSWERS.JSONL"])
def test_json_lines_may_be_called_otherwise(name: str, tmp_path: Path) -> None:
    assert len(read(jsonl(tmp_path / name, {"completion": "5", "gold": "5"}))) == 1
