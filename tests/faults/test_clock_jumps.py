"""Clocks that jump, and files from the future: what is learned and found is the same, and the judge waits as long as it should."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import cycle
from pathlib import Path

import pytest
from faults_fakes import STAGES, Whole, interrupted, staged, whole_in

from reasoning_rl import cli, journal
from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.eval import evaluate
from reasoning_rl.journal import Journal
from reasoning_rl.records import Completion, Problem
from reasoning_rl.rollout.judge import Judge

DAY_S = 86_400.0
JUMPS_S = (0.0, DAY_S, -40 * DAY_S, 3.5, -2.0, 400 * DAY_S)
"""From what the time of day is, look by look."""
HANGING = """
import time

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


@verifier("hanging")
def hanging(completion: Completion, problem: Problem) -> Score:
    time.sleep(600 if completion.text == "hang" else 0)
    return Score(1.0)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_in(tmp_path_factory.getbasetemp() / "faults")


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The moments that were told."""
    true, jumps, told = time.time, cycle(JUMPS_S), list[float]()

    def jumped() -> float:
        told.append(true() + next(jumps))
        return told[-1]

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(jumped(), tz)

    monkeypatch.setattr(time, "time", jumped)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumped() * 1e9))
    for module in (journal, evaluate):
        monkeypatch.setattr(module, "datetime", Jumped)
    yield told
    assert told, "nobody looked at the time"


def test_a_run_ends_the_same_however_the_time_of_day_jumps(jumping: list[float], whole: Whole) -> None:
    whole.put_back()
    assert whole.after(*STAGES) == []


def test_a_run_that_goes_on_before_it_began_ends_the_same(jumping: list[float], whole: Whole) -> None:
    whole.put_back("data")
    with interrupted(Journal, "metrics", 4):
        assert staged(whole.runs, "train").code == cli.INTERRUPTED
    assert whole.after("train") == []


def test_files_of_another_time_are_neither_stale_nor_damaged(whole: Whole) -> None:
    """Half of them from the future."""
    run = whole.put_back("stopped")
    _date(whole.runs)
    assert "is up to date" in staged(whole.runs, "data").said
    assert "steps 3 to 4" in staged(whole.runs, "train").said
    whole.put_back("eval")
    _date(whole.runs)
    said = staged(whole.runs, "eval").said
    for name in ("data", "eval/base", "eval/trained"):
        assert f"{run / name} is up to date" in said


def test_the_judge_keeps_its_deadline_by_a_clock_that_does_not_jump(jumping: list[float], tmp_path: Path) -> None:
    """By one that does, the first look a day later would be the end of every answer, and one 40 days earlier of none."""
    (tmp_path / "hanging.py").write_text(HANGING)
    rewards = {f"{tmp_path}/hanging.py:hanging": VerifierConfig()}
    problem = Problem("p", "t", "t", "1 + 1?", "2")
    answers = [Completion(text, (1,)) for text in ("fine", "hang", "fine", "fine")]
    time.time()
    began = time.monotonic()
    with Judge(rewards, JudgeConfig(workers=1, deadline_s=1.0)) as judge:
        verdicts = judge.judge([(answer, problem) for answer in answers])
    assert [score.verdict for verdict in verdicts for score in verdict.scores.values()] == ["scored", "timeout", "scored", "scored"]
    assert 1.0 <= time.monotonic() - began < 60


def _date(folder: Path) -> None:
    for path, year in zip(sorted(folder.rglob("*")), cycle((1980, 2090))):
        moment = datetime(year, 1, 2, tzinfo=UTC).timestamp()
        os.utime(path, (moment, moment))
