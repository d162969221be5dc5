"""Benchmark suites: each one's columns become problems, every row counts, and what is read is known beforehand."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.config import Config, DataConfig, EvalConfig
from reasoning_rl.data import arithmetic
from reasoning_rl.data.hub import HubTable
from reasoning_rl.data.source import RowError
from reasoning_rl.data.suite import UNPINNED, Suite, Table, message
from reasoning_rl.data.suites import SUITES, find_suites, parse_aime, parse_amc, parse_minerva, parse_olympiad, parse_svamp
from reasoning_rl.data.template import BOXED_REQUEST, find_template
from reasoning_rl.data.tokenizer import plain_chat
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.recipes import load_config
from reasoning_rl.records import Problem
from reasoning_rl.rewards.verifier import find_verifier

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
NAMES = ["gsm8k", "math500", "aime24", "amc23", "minerva", "olympiad", "svamp", "arithmetic"]
TABLES = [name for name in NAMES if name != "arithmetic"]

# A row of each, with the columns that the hub has
ROWS: dict[str, dict[str, object]] = {
    "gsm8k": {"question": "Tom has 1,000 apples and buys 24. How many?", "answer": "1000+24=1024\n#### 1,024"},
    "math500": {
        "problem": "What is $1/2$ of $1$?", "solution": r"\boxed{\frac12}", "answer": r"\frac{1}{2}", "subject": "Prealgebra", "level": 2,
        "unique_id": "test/prealgebra/1.json",
    },
    "aime24": {"id": 60, "problem": "Find $n$.", "solution": "By hand.", "answer": "025", "url": "https://example.org", "year": "2024"},
    "amc23": {"id": 0, "question": "How far?", "answer": 27.0, "url": "https://example.org"},
    "minerva": {"question": "How bright is it, in erg/s?", "answer": "2.75e11"},
    "olympiad": {
        "id": 1606, "question": "Find all $x$.", "solution": ["$x=1$ is one,", "and $-1$ another."], "final_answer": ["$1,-1$"],
        "is_multiple_answer": True, "unit": None, "answer_type": "Numerical", "error": None, "subfield": "Algebra", "subject": "Math",
    },
    "svamp": {
        "ID": "chal-1", "Body": "Ann has 9 pens. She loses 2", "Question": "How many are left?", "Equation": "( 9.0 - 2.0 )",
        "Answer": "7.0", "Type": "Subtraction", "question_concat": "Ann has 9 pens. She loses 2 How many are left?",
    },
}  # fmt: skip


def config(*overrides: str) -> Config:
    return load_config("suites", overrides)


def written(path: Path, rows: Sequence[Mapping[str, object] | str]) -> Path:
    """As JSONL, or as parquet."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def read(name: str, path: Path) -> list[Problem]:
    """The problems of a suite from a local file."""
    return SUITES.get(name).read(config(f"eval.paths.{name}={json.dumps(str(path))}"))


def test_the_promised_suites_are_there() -> None:
    assert set(NAMES) <= set(SUITES.names())


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_says_how_a_model_is_asked_and_judged(name: str) -> None:
    suite = SUITES.get(name)
    assert suite.name == name
    assert suite.size
    assert suite.cite
    assert suite.max_tokens >= 1024
    assert "{question}" in suite.template
    assert callable(find_verifier(suite.verifier, "verifier"))


@pytest.mark.parametrize("name", TABLES)
def test_a_suite_of_the_hub_is_pinned_by_a_whole_commit(name: str) -> None:
    suite = SUITES.get(name)
    assert isinstance(suite, Table)
    assert re.fullmatch("[0-9a-f]{40}", suite.hub.revision)
    assert suite.inputs(config()) == {f"{suite.hub.repository}/{suite.hub.split}": suite.hub.revision}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("name", "gold", "question"),
    [
        ("gsm8k", "1024", "Tom has 1,000 apples and buys 24. How many?"),
        ("math500", r"\frac{1}{2}", "What is $1/2$ of $1$?"),
        ("aime24", "25", "Find $n$."),
        ("amc23", "27", "How far?"),
        ("minerva", "2.75e11", "How bright is it, in erg/s?"),
        ("olympiad", "1,-1", "Find all $x$."),
        ("svamp", "7", "Ann has 9 pens. She loses 2. How many are left?"),
    ],
)
def test_a_row_as_the_hub_has_it_becomes_a_problem(name: str, gold: str, question: str, suffix: str, tmp_path: Path) -> None:
    (problem,) = read(name, written(tmp_path / f"rows.{suffix}", [ROWS[name]]))
    suite = SUITES.get(name)
    assert isinstance(suite, Table)
    assert (problem.gold, problem.question) == (gold, question)
    assert (problem.id, problem.source, problem.split) == (f"{name}/{suite.hub.split}/0", name, suite.hub.split)
    assert problem.task == ("gsm8k" if name in {"gsm8k", "svamp"} else "math") == suite.verifier


def test_what_a_benchmark_tells_of_a_problem_is_kept(tmp_path: Path) -> None:
    (math,) = read("math500", written(tmp_path / "math.jsonl", [ROWS["math500"]]))
    (olympiad,) = read("olympiad", written(tmp_path / "olympiad.jsonl", [ROWS["olympiad"]]))
    (svamp,) = read("svamp", written(tmp_path / "svamp.jsonl", [ROWS["svamp"]]))
    assert (math.level, math.subject, math.solution) == ("2", "Prealgebra", r"\boxed{\frac12}")
    assert (olympiad.subject, olympiad.solution) == ("Algebra", "$x=1$ is one,\nand $-1$ another.")
    assert (svamp.subject, svamp.solution) == ("Subtraction", "( 9.0 - 2.0 )")


def test_a_cell_that_pandas_left_empty_is_no_text() -> None:
    empty = float("nan")
    assert parse_olympiad({"question": "What?", "final_answer": ["1"], "solution": empty, "unit": empty}).solution == ""
    assert parse_svamp({"Body": "It is.", "Question": "How?", "Answer": "1", "Equation": empty}).solution == ""


@given(st.integers(0, 999), st.integers(1, 3), st.booleans())
def test_a_gold_of_aime_is_a_whole_number_however_it_is_written(number: int, width: int, as_text: bool) -> None:
    answer = f"{number:0{width}}" if as_text else number
    assert parse_aime({"Problem": "Find $n$.", "Answer": answer, "Solution": "By hand."}).gold == str(number)


@given(st.integers(-10_000, 10_000))
def test_a_whole_number_has_no_decimal_point(number: int) -> None:
    for written_as in (str(number), f"{number}.0", f"{number:,}", number, float(number)):
        assert parse_amc({"question": "How far?", "answer": written_as}).gold == str(number)
        assert parse_svamp({"Body": "It is far.", "Question": "How far?", "Answer": written_as}).gold == str(number)


def test_another_number_keeps_it() -> None:
    assert parse_amc({"problem": "How far?", "answer": "2.50"}).gold == "2.50"
    assert parse_amc({"problem": "How far?", "answer": 2.5}).gold == "2.5"


@pytest.mark.parametrize(("body", "told"), [("Ann has 9 pens", "Ann has 9 pens. How many?"), ("Has Ann pens?", "Has Ann pens? How many?")])
def test_a_body_of_svamp_ends_before_its_question_begins(body: str, told: str) -> None:
    assert parse_svamp({"Body": body, "Question": "How many?", "Answer": "9"}).question == told


@pytest.mark.parametrize(
    ("answer", "gold"), [(["$\\frac{1}{2}$"], r"\frac{1}{2}"), (["$1$", "$2$"], "1, 2"), ("3", "3"), ([r"\$5"], r"\$5")]
)
def test_a_gold_of_olympiadbench_is_without_its_dollars(answer: object, gold: str) -> None:
    assert parse_olympiad({"question": "What?", "final_answer": answer}).gold == gold


@pytest.mark.parametrize(
    ("parse", "row", "said"),
    [
        (parse_aime, {"problem": "Find.", "answer": "1000"}, "gold '1000'; a whole number from 0 to 999 is accepted"),
        (parse_aime, {"problem": "Find.", "answer": r"\frac12"}, "a whole number from 0 to 999"),
        (parse_aime, {"problem": "Find."}, "column 'answer' is missing; known: problem"),
        (parse_aime, {"problem": None, "answer": "7"}, "column 'problem' holds None"),
        (parse_amc, {"question": "Far?", "answer": "A"}, "column 'answer': gold 'A' is not one number, as 27 or 27.5"),
        (parse_amc, {"question": "Far?", "answer": True}, "column 'answer' holds True"),
        (parse_minerva, {"question": "Bright?", "answer": " "}, "column 'answer' is empty"),
        (parse_minerva, {"answer": "1"}, "column 'question' is missing"),
        (parse_olympiad, {"question": "What?", "final_answer": []}, "column 'final_answer' is empty"),
        (parse_olympiad, {"question": "What?", "final_answer": ["$ $"]}, "column 'final_answer' is empty"),
        (parse_olympiad, {"question": "What?", "final_answer": [None]}, "column 'final_answer' holds None"),
        (parse_olympiad, {"question": "What?", "final_answer": None}, "column 'final_answer' holds None"),
        (parse_svamp, {"Body": "It is.", "Question": "How?", "Answer": "far"}, "column 'Answer': gold 'far' is not one number"),
        (parse_svamp, {"Question": "How?", "Answer": "1"}, "column 'Body' is missing"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_problem_says_why(parse: object, row: Mapping[str, object], said: str) -> None:
    assert callable(parse)
    with pytest.raises(RowError, match=re.escape(said)):
        parse(row)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("row", "said"), [("{", "broken JSON"), ("[1]", "a JSON object"), ("{}", "is missing")])
def test_one_broken_row_is_an_error_with_its_line(name: str, row: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [ROWS[name], row])
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{said}.* A benchmark is used whole: {name} needs every row"):
        read(name, path)


@pytest.mark.parametrize("file", ["math500.jsonl", "test.jsonl"])
def test_a_folder_holds_a_suite_under_its_name_or_that_of_the_split(file: str, tmp_path: Path) -> None:
    written(tmp_path / file, [ROWS["math500"]])
    assert read("math500", tmp_path)[0].gold == r"\frac{1}{2}"
    assert list(SUITES.get("math500").inputs(config(f"eval.paths.math500={tmp_path}"))) == [str(tmp_path / file)]


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^eval\.paths\.svamp: there is no file or folder {tmp_path}/absent$"):
        read("svamp", tmp_path / "absent")
    with pytest.raises(DataError, match=rf"^eval\.paths\.svamp: {tmp_path} holds no test\.jsonl or test\.parquet"):
        read("svamp", tmp_path)
    with pytest.raises(DataError, match="is not a table; accepted"):
        read("svamp", written(tmp_path / "rows.csv", []))


def test_a_changed_file_is_another_input(tmp_path: Path) -> None:
    settings = config(f"eval.paths.minerva={written(tmp_path / 'rows.jsonl', [ROWS['minerva']])}")
    before = SUITES.get("minerva").inputs(settings)
    written(tmp_path / "rows.jsonl", [ROWS["minerva"]] * 2)
    assert SUITES.get("minerva").inputs(settings) != before


# `datasets` writes its cache without closing every file at once
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_data_set_of_the_hub_has_as_many_rows_as_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "set"  # a folder stands for a repository: `datasets` reads both alike
    repository.mkdir()
    written(repository / "test.jsonl", [ROWS["amc23"]] * 2)
    suite = Table(name="mine", hub=HubTable(str(repository), "main", "test"), size=2, parse=parse_amc, max_tokens=8)
    assert [problem.id for problem in suite.read(config())] == ["mine/test/0", "mine/test/1"]
    with pytest.raises(DataError, match=r"main/default/test:1: found 2 rows; the benchmark mine has 40"):
        replace(suite, size=40).read(config())
    other = config().model_copy(update={"eval": EvalConfig(revisions={"mine": "abc"})})
    assert len(replace(suite, size=40).read(other)) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_the_hub_has_no_such_data_set_local_files_are_the_way_out(tmp_path: Path) -> None:
    suite = Table(name="mine", hub=HubTable(str(tmp_path / "absent"), "main", "test"), size=2, parse=parse_amc, max_tokens=8)
    with pytest.raises(DataError, match=r"can't be loaded from the hub: .*Without a connection, give local files by eval\.paths\.mine\.$"):
        suite.read(config())


def test_a_revision_is_replaced_and_never_guessed(tmp_path: Path) -> None:
    assert SUITES.get("gsm8k").inputs(config("eval.revisions.gsm8k=abc")) == {"openai/gsm8k/test": "abc"}
    suite = Table(name="svamp", hub=HubTable("someone/svamp", UNPINNED, "test"), size=2, parse=parse_svamp, max_tokens=8)
    with pytest.raises(
        DataError, match=r"^eval\.revisions\.svamp: no revision of someone/svamp is pinned; give a commit of it, or a local f"
    ):
        suite.inputs(config())
    assert suite.inputs(config("eval.revisions.svamp=abc")) == {"someone/svamp/test": "abc"}


def test_the_arithmetic_suite_is_no_matter_of_the_run() -> None:
    suite = SUITES.get("arithmetic")
    problems = suite.read(config())
    assert len({problem.question for problem in problems}) == suite.size == 500
    other = load_config("cpu", ["seed=7", "data.arithmetic.steps=[1, 1]", "data.arithmetic.eval_problems=3"])
    assert suite.read(other) == problems
    assert suite.inputs(other) == suite.inputs(config())
    assert {problem.level for problem in problems} == {"1", "2", "3", "4"}


def test_no_training_problem_of_the_cpu_recipe_is_in_the_arithmetic_suite() -> None:
    trained = arithmetic.SOURCE.read(DataConfig.model_validate(load_config("cpu", ["data.arithmetic.demonstrations=0"]).data), 0).train
    assert not {row.problem.question for row in trained} & {problem.question for problem in SUITES.get("arithmetic").read(config())}


def test_a_model_is_asked_in_its_chat_format_where_it_has_one() -> None:
    suite = SUITES.get("math500")
    assert message(suite, plain_chat).render("1+1?") == f"user: 1+1?\n{BOXED_REQUEST}\nassistant: "
    assert message(suite, None).render("1+1?") == f"1+1?\n{BOXED_REQUEST}\n"
    assert message(suite, plain_chat).sha256 == find_template("chat", plain_chat).sha256
    assert message(suite, None).form == "boxed"


OWN = """
from reasoning_rl.data.hub import HubTable
from reasoning_rl.data.suite import Table
from reasoning_rl.data.suites import parse_minerva

exam = Table(name="exam", hub=HubTable("someone/exam", "", "test"), size=1, parse=parse_minerva, max_tokens=64)
nonsense = 5
base, up = (Table(name=name, hub=exam.hub, size=1, parse=parse_minerva, max_tokens=64) for name in ("base", "../up"))
"""


def test_a_suite_of_ones_own_is_one_entry_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    written(tmp_path / "exam.jsonl", [ROWS["minerva"]])
    settings = config(f"eval={{suites: ['{tmp_path}/own.py:exam'], paths: {{exam: {tmp_path}}}}}")
    (suite,) = find_suites(settings.eval)
    assert isinstance(suite, Suite)
    assert [problem.id for problem in suite.read(settings)] == ["exam/test/0"]
    with pytest.raises(ConfigError, match=r"own\.py:nonsense is a int; a reasoning_rl\.data\.suite\.Suite is accepted"):
        find_suites(EvalConfig(suites=[f"{tmp_path}/own.py:nonsense"]))
    for attribute, name in (("base", "base"), ("up", "../up")):
        with pytest.raises(ConfigError, match=f"is called '{name}'; a name for a folder beside `base` and `trained` is accepted"):
            find_suites(EvalConfig(suites=[f"{tmp_path}/own.py:{attribute}"]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"suites": ["gsm9k"]}, "eval.suites: gsm9k: no such suite; known: aime24, "),
        ({"suites": ["gsm9k"]}, "Did you mean 'gsm8k'?"),
        ({"suites": ["gsm8k", "svamp", "gsm8k"]}, "eval.suites: 'gsm8k' stands twice; a suite has one folder"),
        ({"paths": {"smavp": "x"}}, "eval.paths.smavp: no such suite; known: "),
        ({"revisions": {"smavp": "x"}}, "Did you mean 'svamp'?"),
    ],
)
def test_a_name_that_is_no_suites_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        find_suites(EvalConfig.model_validate(settings))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real problems in {SHARED}")
@pytest.mark.parametrize(("name", "place"), [("gsm8k", "gsm8k"), ("math500", "math")])
def test_the_real_files_are_whole(name: str, place: str) -> None:
    assert len(read(name, SHARED / place)) == SUITES.get(name).size
