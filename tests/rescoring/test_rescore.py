"""The tool as a whole: what it writes, and what a halt leaves behind."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import ConfigError, DataError, StorageError, VerifierError
from reasoning_rl.recipes import load_config
from reasoning_rl.records import Completion, Problem, Score, Verdict
from reasoning_rl.rescoring import rescore as tool
from reasoning_rl.rescoring.request import Request, counted, judge_of, rewards_of
from reasoning_rl.rescoring.rescore import rescore
from reasoning_rl.rollout.judge import Judge

GRADER = """
def last(completions, answer, **columns):
    return [1.0 if completion.endswith(gold) else -1.0 for completion, gold in zip(completions, answer)]
"""


@pytest.fixture(name="answers")
def _answers(tmp_path: Path) -> Path:
    rows = [("#### 5", "5", True), ("it is 5 or 6", "5", True), (r"\boxed{7}", "5", False), ("no idea \ud800", "5", False)]
    path = tmp_path / "answers.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": n, "completion": text, "gold": gold, "label": label, "task": "gsm8k"}) + "\n"
            for n, (text, gold, label) in enumerate(rows)
        )
    )
    return path


def said(request: Request) -> tuple[str, str]:
    """What it prints on standard output and on standard error."""
    console, notes = (Console(file=io.StringIO(), width=200) for _ in range(2))
    try:
        rescore(request, console, notes)
    finally:
        texts = [each.file.getvalue() for each in (console, notes) if isinstance(each.file, io.StringIO)]
    return texts[0], texts[1]


def test_every_answer_gets_a_row_with_what_was_said_of_it(answers: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "verdicts.parquet"
    printed, _ = said(Request([answers], rewards=["gsm8k", "format=0.5"], out=out, workers=1))
    verdicts = pd.read_parquet(out)
    assert list(verdicts["row"]) == [1, 2, 3, 4]
    assert list(verdicts["id"]) == ["0", "1", "2", "3"]
    assert list(verdicts["verdict"])[::2] == ["correct", "wrong"]
    assert list(verdicts["answer"])[::2] == ["5", "7"]
    assert list(verdicts["score_gsm8k"]) == list(verdicts["value"])
    assert list(verdicts["reward"]) == list(verdicts["score_gsm8k"] + 0.5 * verdicts["score_format"])
    assert set(verdicts["file"]) == {str(answers)}
    assert "4 answers: " in printed


def test_by_default_the_tasks_own_verifier_judges_and_there_is_no_reward(answers: Path, tmp_path: Path) -> None:
    printed, _ = said(Request([answers], out=tmp_path / "verdicts.parquet", workers=1))
    verdicts = pd.read_parquet(tmp_path / "verdicts.parquet")
    assert list(verdicts.columns) == [
        "file", "row", "id", "verdict", "value", "strict", "reason", "answer", "gold", "method", "seconds",
    ]  # fmt: skip
    assert "Verdicts of gsm8k" in printed


def test_the_tasks_verifiers_are_called_own_where_the_tasks_differ(answers: Path) -> None:
    answers.write_text(answers.read_text() + json.dumps({"id": 4, "completion": "5", "gold": "5", "label": True, "task": "math"}))
    assert "Verdicts of own" in said(Request([answers], workers=1))[0]


def test_verdicts_are_compared_with_a_column(answers: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    out = tmp_path / "verdicts.parquet"
    printed, _ = said(Request([answers], against="label", out=out, report=report, workers=1))
    verdicts = pd.read_parquet(out)
    assert list(verdicts["against"]) == [1.0, 1.0, 0.0, 0.0]
    agreed = int(((verdicts["value"] > 0.5) == (verdicts["against"] > 0.5)).sum())
    assert f"They agree on {agreed} of 4" in printed
    assert f"They agree on {agreed} of 4" in report.read_text()


def test_verdicts_are_compared_with_a_verifier_of_another_library(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "grader.py").write_text(GRADER)
    out = tmp_path / "verdicts.parquet"
    printed, _ = said(Request([answers], against=f"{tmp_path}/grader.py:last", out=out, workers=1))
    assert list(pd.read_parquet(out)["against"]) == [1.0, -1.0, -1.0, -1.0]
    assert f"gsm8k and {tmp_path}/grader.py:last" in printed
    assert "Verdicts of" not in printed.split("answers: ")[1]  # TRL's functions give numbers only


def test_a_verifier_that_fails_on_every_row_is_seen_to_fail(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def bad(completions, **columns):\n    raise KeyError('nothing here')\n")
    bad = f"{tmp_path}/own.py:bad"
    printed, _ = said(Request([answers], rewards=["gsm8k", bad], against=bad, workers=1))
    assert "own.py:bad failed on 4, which count as wrong" in printed
    assert "error, row 1: KeyError: 'nothing here'" in printed
    assert "row 1: KeyError: 'nothing here'" in printed.split(f"Verdicts of {bad}")[1]


def test_a_verifier_that_hangs_costs_the_other_side_nothing(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef slow(completions, **columns):\n    time.sleep(60)\n")
    out = tmp_path / "verdicts.parquet"
    said(Request([answers], rewards=["gsm8k"], against=f"{tmp_path}/slow.py:slow", out=out, workers=4, deadline_s=1.0))
    verdicts = pd.read_parquet(out)
    assert set(verdicts["against_verdict"]) == {"timeout"}
    assert "timeout" not in set(verdicts["verdict"])


def test_verifiers_are_named_as_in_a_recipe() -> None:
    asked = rewards_of(Request([], rewards=["math", "format=0.25", "length={weight: 0.5, options: {max_tokens: 64, cache: 16}}"]))
    assert asked == {
        "math": VerifierConfig(),
        "format": VerifierConfig(weight=0.25),
        "length": VerifierConfig(weight=0.5, options={"max_tokens": 64, "cache": 16}),
    }
    assert "gsm8k" in rewards_of(Request([], recipe="gsm8k-tiny"))
    assert rewards_of(Request([])) == {}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([], rewards=["math=heavy"]), r"--reward: rewards\.math\.weight: found 'heavy'; it should be a valid number"),
        (Request([], rewards=["math={wieght: 1}"]), r"Did you mean 'weight'\?"),
        (Request([], rewards=["math={"]), "not YAML"),
        (Request([], rewards=["math"], recipe="cpu"), "give --reward or --recipe, not both"),
        (Request([], rewards=["math=1", "math={weight: 0.5}"]), "--reward: math is given twice"),
    ],
)
def test_a_mistake_in_a_verifiers_spelling_is_named(request_: Request, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rewards_of(request_)


def test_the_first_verifier_that_judges_answers_is_counted() -> None:
    assert counted({"format": VerifierConfig(), "math": VerifierConfig()}) == "math"
    assert counted({"format": VerifierConfig(), "length": VerifierConfig()}) == "format"
    assert counted({}) is None


def test_a_worker_for_each_core_unless_something_else_is_asked_for() -> None:
    cores = len(os.sched_getaffinity(0))
    assert judge_of(Request([])) == JudgeConfig(workers=cores)
    assert judge_of(Request([], recipe="cpu")) == load_config("cpu").judge
    assert judge_of(Request([], recipe="cpu", workers=3)).workers == judge_of(Request([], workers=3)).workers == 3
    assert judge_of(Request([], deadline_s=1.5)).deadline_s == 1.5


def test_what_is_neither_a_column_nor_a_verifier_is_refused_with_both_lists(answers: Path) -> None:
    with pytest.raises(VerifierError) as failure:
        said(Request([answers], against="lable"))
    assert str(failure.value).startswith(
        "--against: 'lable' is neither a column nor a verifier; "
        "the columns are id, completion, gold, label, task; the verifiers are cosine, "
    )
    assert str(failure.value).endswith("Did you mean 'label'?")


def test_a_verifier_that_is_misspelt_is_suggested_too(answers: Path) -> None:
    with pytest.raises(VerifierError, match=r"Did you mean 'gsm8k'\?"):
        said(Request([answers], against="gsm9k"))


def test_an_empty_file_has_no_columns_to_list(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(VerifierError, match="the files have no rows, and so no columns; the verifiers are cosine"):
        said(Request([tmp_path / "none.jsonl"], against="label"))


def test_the_columns_are_those_of_the_first_file_that_has_any(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    assert "gsm8k and label" in said(Request([tmp_path / "none.jsonl", answers], against="label", workers=1))[0]


@pytest.mark.parametrize("asked", [{"against": "own.py"}, {"rewards": ["own.py=0.5"]}])
def test_a_file_without_a_name_behind_it_is_answered_with_its_names(
    asked: dict[str, Any], answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("from math import sqrt\nfrom json import dumps\ndef _own(): ...\ndef good(completions): ...\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VerifierError, match=r"own\.py: a file, but none of its functions; name one, as in own\.py:good; known: good\.$"):
        said(Request([answers], **asked))


def test_a_file_that_is_absent_is_named_by_its_option(answers: Path) -> None:
    with pytest.raises(VerifierError, match=r"^--against: there is no file absent\.py$"):
        said(Request([answers], against="absent.py:grader"))


@pytest.mark.parametrize("name", ["length", "cosine"])
def test_a_verifier_that_counts_tokens_refuses_answers_without_them(name: str, answers: Path) -> None:
    for asked in (Request([answers], rewards=["gsm8k", name]), Request([answers], against=name)):
        with pytest.raises(DataError, match=f"no column 'token_ids'.*{name} can't count tokens"):
            said(asked)


def test_a_verifier_of_trls_kind_that_names_the_ids_needs_them(answers: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def short(completion_ids, **columns):\n    return [1.0]\n")
    with pytest.raises(DataError, match="no column 'token_ids'"):
        said(Request([answers], rewards=[f"{tmp_path}/own.py:short"]))


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize("option", ["out", "report"])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_judged(
    option: str, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writing(place: Path) -> Request:
        return Request([answers], out=place) if option == "out" else Request([answers], report=place)

    monkeypatch.setattr(Stub, "judge", lambda *_: pytest.fail("judged"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(StorageError, match="can't be written"):
            said(writing(place))
    with pytest.raises(ConfigError, match=rf"--{option}: .*answers\.jsonl is one of the files that are judged"):
        said(writing(answers))


class Stub(Judge):
    """Finds everything right, in this process."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        score = Score(1.0, "correct", reason="stub")
        return [Verdict(1.0, {}, correct=True, answer=score) for _ in items]


@pytest.fixture(name="stubbed")
def _stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tool, "Judge", Stub)
    monkeypatch.setattr(tool, "BATCH", 2)
    return  # type: ignore[return-value]


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize(
    ("row", "message"), [('{"completion": "5"}', "5: no column 'gold'"), ('{"completion": "5", "gold": 5, "task": "chess"}', "5: task")]
)
def test_a_broken_row_is_found_before_anything_is_judged(
    row: str, message: str, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stub, "judge", lambda *_: pytest.fail("judged"))
    answers.write_text(f"{answers.read_text()}{row}\n")
    with pytest.raises(DataError, match=rf"answers\.jsonl:{message}"):
        said(Request([answers], out=tmp_path / "verdicts.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.usefixtures("stubbed")
def test_a_failure_loses_no_whole_batch_that_was_judged_before_it(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Stub.judge

    def failing(self: Stub, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        if items[0][0].text == "stop":
            raise VerifierError("it died")
        return judge(self, items)

    monkeypatch.setattr(Stub, "judge", failing)
    answers.write_text(answers.read_text() + json.dumps({"completion": "stop", "gold": "5"}))
    with pytest.raises(VerifierError, match="it died"):
        rescore(Request([answers], out=tmp_path / "verdicts.parquet"), Console(), Console(file=io.StringIO()))
    assert "4 answers: 100.00% correct" in capsys.readouterr().out
    assert list(pd.read_parquet(tmp_path / "verdicts.partial.parquet")["row"]) == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "verdicts.partial.parquet"]


@pytest.mark.usefixtures("stubbed")
def test_where_nothing_was_judged_nothing_is_left(answers: Path, tmp_path: Path) -> None:
    answers.write_text("[]\n")
    with pytest.raises(DataError, match=r"answers\.jsonl:1: found list"):
        said(Request([answers], out=tmp_path / "verdicts.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.usefixtures("stubbed")
def test_an_empty_file_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    said(Request([tmp_path / "none.jsonl"], out=tmp_path / "verdicts.parquet", report=tmp_path / "report.md"))
    assert len(pd.read_parquet(tmp_path / "verdicts.parquet")) == 0
    assert "0 answers" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("stubbed")
def test_no_more_than_a_batch_is_held_at_a_time(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    judge = Stub.judge

    def counting(self: Stub, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        sizes.append(len(items))
        return judge(self, items)

    monkeypatch.setattr(Stub, "judge", counting)
    answers.write_text(answers.read_text() * 2)
    said(Request([answers]))
    assert sizes == [2, 2, 2, 2]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_keeps_what_it_has_judged(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    """The 1025th row makes the verifier hang: the first batch is written by then, and the second is being judged."""
    (tmp_path / "grader.py").write_text(
        "import pathlib, time\n"
        "def patient(completions, **columns):\n"
        "    if completions[0] == 'wait':\n"
        f"        pathlib.Path({str(tmp_path / 'waiting')!r}).touch()\n"
        "        time.sleep(600)\n"
        "    return [1.0]\n"
    )
    texts = ["5"] * tool.BATCH + ["wait"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"completion": text, "gold": "5"}) + "\n" for text in texts))
    command = ["verify", "a.jsonl", "--reward", "./grader.py:patient", "--out", "v.parquet", "--workers", "1", "--deadline", "600"]
    with subprocess.Popen(
        [sys.executable, "-m", "reasoning_rl", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        while not (tmp_path / "waiting").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(sent)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "1,024 answers" in printed
    assert "the verdicts so far are in v.partial.parquet" in errors
    assert "Traceback" not in errors
    assert len(pd.read_parquet(tmp_path / "v.partial.parquet")) == tool.BATCH
    assert not (tmp_path / "v.parquet").exists()
