"""Sources that are tables: GSM8K, MATH, and files of one's own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from reasoning_rl.config import DataConfig
from reasoning_rl.data.gsm8k import SOURCE as GSM8K
from reasoning_rl.data.gsm8k import hub_table as gsm8k_table
from reasoning_rl.data.hendrycks import SOURCE as MATH
from reasoning_rl.data.hendrycks import SUBJECTS
from reasoning_rl.data.hendrycks import hub_table as math_table
from reasoning_rl.data.hub import HubTable, read_hub
from reasoning_rl.data.source import SOURCES
from reasoning_rl.data.tables import read_table, split_file
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.records import Problem

TOM = {"question": "Tom has 2 apples and buys 3. How many?", "answer": "2+3 = <<2+3=5>>5\n#### 5"}
ANN = {"question": "Ann has 4 pens and loses 1. How many?", "answer": "4-1 = <<4-1=3>>3\n#### 3"}


def jsonl(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def folder(tmp_path: Path, train: Sequence[object], test: Sequence[object] = (ANN,)) -> Path:
    jsonl(tmp_path / "train.jsonl", train)
    jsonl(tmp_path / "test.jsonl", test)
    return tmp_path


def config(**settings: Any) -> DataConfig:
    return DataConfig(**{"source": "gsm8k", **settings})


def own(tmp_path: Path, row: Mapping[str, object], **settings: Any) -> Problem:
    """The one training problem that source `files` makes of a row."""
    settings = {"source": "files", "path": folder(tmp_path, [row], [row]), **settings}
    loaded = SOURCES.get("files").read(DataConfig(**settings), 0)
    assert not loaded.broken, loaded.broken
    return loaded.train[0].problem


def test_a_gsm8k_row_becomes_a_problem_with_its_place(tmp_path: Path) -> None:
    loaded = GSM8K.read(config(path=folder(tmp_path, [TOM])), 0)
    assert loaded.train[0].problem == Problem(
        id="gsm8k/train/0", source="gsm8k", split="train", question=TOM["question"], gold="5", solution=TOM["answer"], task="gsm8k"
    )
    assert loaded.train[0].where == f"{tmp_path}/train.jsonl:1"
    assert [row.problem.gold for row in loaded.eval] == ["3"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"question": "', "broken JSON"),
        ("[1]", "a JSON object"),
        ({"question": "Why?", "answer": "because"}, "no `####`"),
        ({"question": "Why?", "answer": "#### because"}, "gold without a number: 'because'"),
        ({"question": "Why?", "answer": 5}, "holds 5 (int); a text is accepted"),
        ({"question": " ", "answer": "#### 5"}, "'question' is empty"),
        ({"questoin": "Why?", "answer": "#### 5"}, "column 'question' is missing; known: answer, questoin. Did you mean 'questoin'?"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_row_is_listed_with_file_line_and_reason(tmp_path: Path, row: object, reason: str) -> None:
    loaded = GSM8K.read(config(path=folder(tmp_path, [TOM, "", row, ANN])), 0)
    assert [row.problem.id for row in loaded.train] == ["gsm8k/train/0", "gsm8k/train/2"]
    (broken,) = loaded.broken
    assert broken.where == f"{tmp_path}/train.jsonl:3"  # the blank line counts
    assert (broken.split, broken.stage, broken.problem_id) == ("train", "row", "gsm8k/train/1")
    assert reason in broken.reason


def test_bytes_that_are_no_utf8_break_one_row_only(tmp_path: Path) -> None:
    path = folder(tmp_path, [TOM])
    (path / "train.jsonl").write_bytes(json.dumps(TOM).encode() + b'\n{"question": "\xff"}\n')
    assert "not UTF-8" in GSM8K.read(config(path=path), 0).broken[0].reason


def test_strict_stops_at_the_first_broken_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.jsonl:2: gold without a number"):
        GSM8K.read(config(path=folder(tmp_path, [TOM, {"question": "Why?", "answer": "#### so"}]), strict=True), 0)


def test_a_missing_column_is_one_mistake_not_one_per_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.jsonl: column 'answer' is missing; known: answers, question\. Did you mean 'answers'\?"):
        GSM8K.read(config(path=folder(tmp_path, [{"question": "Why?", "answers": "5"}])), 0)


def test_a_file_without_a_readable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.jsonl:1: broken JSON.*none of the 2 rows"):
        GSM8K.read(config(path=folder(tmp_path, ["{", "}"])), 0)


def test_an_unknown_split_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.eval_split: .*known: test, train\. Did you mean 'test'\?"):
        GSM8K.inputs(config(path=folder(tmp_path, [TOM]), eval_split="tests"))


def test_one_split_can_not_be_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'train' is the training split too"):
        GSM8K.inputs(config(path=folder(tmp_path, [TOM]), eval_split="train"))


def test_absent_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no rows"):
        read_table(jsonl(tmp_path / "empty.jsonl", []))
    with pytest.raises(DataError, match=r"\.csv is not a table; accepted: \.jsonl, \.parquet"):
        read_table(jsonl(tmp_path / "rows.csv", []))
    with pytest.raises(DataError, match="can't be read as parquet"):
        read_table(jsonl(tmp_path / "rows.parquet", ["text"]))
    with pytest.raises(DataError, match="there is no folder or file"):
        split_file(tmp_path / "nowhere", "train", "data.train_split")


def test_parquet_reads_like_jsonl(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([TOM, ANN]), tmp_path / "train.parquet")
    jsonl(tmp_path / "test.jsonl", [ANN])
    loaded = GSM8K.read(config(path=tmp_path), 0)
    assert [(row.problem.gold, row.where) for row in loaded.train] == [
        ("5", f"{tmp_path}/train.parquet:1"),
        ("3", f"{tmp_path}/train.parquet:2"),
    ]


def test_a_file_as_path_needs_a_file_with_the_held_out_problems(tmp_path: Path) -> None:
    train = folder(tmp_path, [TOM]) / "train.jsonl"
    with pytest.raises(DataError, match=r"data\.eval_path"):
        GSM8K.read(config(path=train), 0)
    assert len(GSM8K.read(config(path=train, eval_path=tmp_path / "test.jsonl"), 0).eval) == 1
    with pytest.raises(DataError, match="no such file"):
        GSM8K.inputs(config(path=train, eval_path=tmp_path / "none.jsonl"))


def test_inputs_follow_the_content_of_the_files(tmp_path: Path) -> None:
    settings = config(path=folder(tmp_path, [TOM]))
    before = GSM8K.inputs(settings)
    jsonl(tmp_path / "test.jsonl", [TOM])
    after = GSM8K.inputs(settings)
    assert before[f"{tmp_path}/train.jsonl"] == after[f"{tmp_path}/train.jsonl"]
    assert before[f"{tmp_path}/test.jsonl"] != after[f"{tmp_path}/test.jsonl"]


def test_hub_revisions_are_pinned_and_may_be_replaced() -> None:
    assert GSM8K.inputs(config()) == {
        "openai/gsm8k/train": "740312add88f781978c0658806c59bc2815b9866",
        "openai/gsm8k/test": "740312add88f781978c0658806c59bc2815b9866",
    }
    assert gsm8k_table(config(revision="abc"), "train") == HubTable("openai/gsm8k", "abc", "train", ("main",))
    with pytest.raises(DataError, match=r"data\.train_split: no split 'trian' on the hub; known: test, train\. Did you mean 'train'\?"):
        gsm8k_table(config(train_split="trian"), "train")


def test_math500_is_a_data_set_of_its_own_with_its_own_pin() -> None:
    settings = DataConfig(source="hendrycks_math", eval_split="math500", revision="abc")
    assert math_table(settings, "train") == HubTable("EleutherAI/hendrycks_math", "abc", "train", SUBJECTS)
    assert math_table(settings, "eval") == HubTable("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", "test")


# `datasets` writes its cache without closing every file at once
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_hub_is_read_through_datasets_subset_by_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "set"  # a folder stands for a repository: `datasets` reads both alike
    for subset, row in (("algebra", TOM), ("geometry", ANN)):
        (repository / subset).mkdir(parents=True)
        jsonl(repository / subset / "train.jsonl", [row, row])
    listed = [{"config_name": name, "data_files": [{"split": "train", "path": f"{name}/train.jsonl"}]} for name in ("algebra", "geometry")]
    (repository / "README.md").write_text(f"---\nconfigs: {json.dumps(listed)}\n---\n")
    rows = read_hub(HubTable(str(repository), "main", "train", ("algebra", "geometry")))
    assert [row.values["question"] for row in rows] == [TOM["question"]] * 2 + [ANN["question"]] * 2
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert rows[3].where == f"{repository}@main/geometry/train:2"
    with pytest.raises(DataError, match=r"can't be loaded from the hub: .*Without a connection, give local files by data\.path"):
        read_hub(HubTable(str(repository), "main", "test", ("algebra",)))
    with pytest.raises(DataError, match="holds no rows"):
        read_hub(HubTable(str(repository), "main", "train", ()))


def test_the_gold_of_math_is_the_answer_or_the_last_box(tmp_path: Path) -> None:
    rows = [
        {"problem": "One half?", "answer": r"\frac12", "level": 5.0, "subject": "Algebra"},
        {"problem": "Two?", "solution": r"Not \boxed{1} but \boxed{2}.", "level": "Level 3", "type": "Geometry"},
        {"problem": "Three?", "answer": None, "level": None},
        {"problem": "Four?", "solution": "It is 4."},
        {"problem": "Five?", "answer": ""},
    ]
    settings = DataConfig(source="hendrycks_math", path=folder(tmp_path, rows, rows[:1]))
    loaded = MATH.read(settings, 0)
    golds = [(row.problem.gold, row.problem.level, row.problem.subject, row.problem.task) for row in loaded.train]
    assert golds == [(r"\frac12", "5", "Algebra", "math"), ("2", "3", "Geometry", "math")]
    assert ["absent too" in loaded.broken[0].reason, "'It is 4.'" in loaded.broken[1].reason, "is empty" in loaded.broken[2].reason] == [
        True
    ] * 3


def test_own_columns_are_mapped(tmp_path: Path) -> None:
    row = {"text": "2+2?", "result": 4.0, "grade": 2, "why": "Count."}
    columns = {"question": "text", "answer": "result", "level": "grade", "solution": "why"}
    problem = own(tmp_path, row, columns=columns)
    assert (problem.question, problem.gold, problem.level, problem.solution, problem.task) == ("2+2?", "4", "2", "Count.", "math")


@pytest.mark.parametrize(
    ("answer", "task", "gold", "convention"),
    [
        ("It is.\n#### 1,000", None, "1000", "gsm8k"),
        ("It is.\n#### x+1", "math", "x+1", "math"),
        ("1,000 apples", "gsm8k", "1000", "gsm8k"),
        (r"So \boxed{x}.", None, "x", "math"),
        ("x^2", None, "x^2", "math"),
    ],
)
def test_own_answers_follow_the_convention_they_show(tmp_path: Path, answer: str, task: str | None, gold: str, convention: str) -> None:
    problem = own(tmp_path, {"question": "What?", "answer": answer}, task=task)
    assert (problem.gold, problem.task) == (gold, convention)


def test_a_solution_with_a_box_needs_no_answer_column(tmp_path: Path) -> None:
    row = {"question": "What?", "proof": r"Hence \boxed{7}."}
    assert own(tmp_path, row, columns={"solution": "proof"}).gold == "7"


def test_own_rows_without_a_gold_are_listed(tmp_path: Path) -> None:
    rows = [
        {"question": "A?", "answer": 1, "solution": "s"},
        {"question": "B?", "solution": "no box"},
        {"question": "C?", "answer": "many"},
        {"question": "D?", "answer": True},
    ]
    settings = DataConfig(source="files", path=folder(tmp_path, rows, rows[:1]), task="gsm8k")
    broken = SOURCES.get("files").read(settings, 0).broken
    reasons = [row.reason for row in broken]
    assert "no gold: no column 'answer'" in reasons[0]
    assert "gold without a number: 'many'" in reasons[1]
    assert "True (bool)" in reasons[2]


def test_own_files_need_a_path_and_known_fields(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: source 'files' reads local files"):
        SOURCES.get("files").inputs(DataConfig(source="files"))
    with pytest.raises(ConfigError, match=r"data\.columns\.anser: no such field; .*Did you mean 'answer'\?"):
        own(tmp_path, {"question": "?", "answer": "1"}, columns={"anser": "answer"})


def test_the_sources_are_known_by_name() -> None:
    assert {"arithmetic", "gsm8k", "hendrycks_math", "files"} <= set(SOURCES.names())
    with pytest.raises(ConfigError, match=r"data\.source: no such source; .*Did you mean 'gsm8k'\?"):
        SOURCES.get("gsm8", "data.source")
