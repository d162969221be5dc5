"""Verdicts of a cluster are those of one machine, whatever verifiers or Ray's processes do."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_rl.cluster.judging import ClusterJudge
from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rollout.judge import Judge

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

TASTE = """
import os, signal, time
from pathlib import Path
from reasoning_rl.records import Score

def taste(completion, problem):
    word, _, name = completion.text.partition(" ")
    if word == "hang":
        time.sleep(3600)
    if word == "sleep" or (word == "strike" and not Path(name).exists()):
        Path(name).touch()
        if word == "strike":
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    return Score(len(completion.text) / 1000, reason=completion.text)
"""
Item = tuple[Completion, Problem]


def item(text: str, problem: str = "t/0") -> Item:
    return Completion(text, (1, 2)), Problem(problem, "t", "test", "2+3?", "5")


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(name="rewards")
def _rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, VerifierConfig]:
    (tmp_path / "taste.py").write_text(TASTE)
    monkeypatch.chdir(tmp_path)
    return {"taste.py:taste": VerifierConfig(), "math": VerifierConfig(weight=0.5)}  # of the driver's folder, where tasks work too


def timeless(verdicts: list[Verdict]) -> list[Verdict]:
    """Without the seconds that they took."""
    bare: list[Any] = []
    for verdict in verdicts:
        scores = {name: replace(score, seconds=0.0) for name, score in verdict.scores.items()}
        bare.append(replace(verdict, scores=scores, answer=verdict.answer and replace(verdict.answer, seconds=0.0)))
    return bare


def test_verdicts_are_those_of_a_judge_in_process(rewards: dict[str, VerifierConfig]) -> None:
    items = [item(f"so \\boxed{{{number % 7}}}", f"t/{number // 4}") for number in range(40)]
    with Judge(rewards, JudgeConfig()) as alone, ClusterJudge(rewards, JudgeConfig(workers=2)) as judge:
        assert timeless(judge.judge(items)) == timeless(alone.judge(items))
        with judge.early() as batch:
            for one in items:
                batch.add([one])
            assert timeless(batch.verdicts()) == timeless(alone.judge(items))
        assert judge.judge([]) == []


def test_a_verifier_that_hangs_costs_its_item_and_a_lost_process_nothing(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    texts = ["one", "hang", f"strike {tmp_path / 'struck'}", "two"]
    began = time.monotonic()
    verdicts = ClusterJudge(rewards, JudgeConfig(deadline_s=1)).judge([item(text) for text in texts])
    assert (tmp_path / "struck").exists()  # the task's process was killed, and the task done again
    assert [verdict.scores["taste.py:taste"].verdict for verdict in verdicts] == ["scored", "timeout", "scored", "scored"]
    assert [verdict.scores["taste.py:taste"].reason for verdict in verdicts][2:] == texts[2:]
    assert time.monotonic() - began < 60


def test_what_nobody_waits_for_is_given_up(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    judge, began = ClusterJudge(rewards, JudgeConfig(deadline_s=600)), time.monotonic()
    with judge.early() as batch:
        batch.add([item(f"sleep {tmp_path / name}") for name in ("first", "second")])
        batch.add([item("another", f"t/{number}") for number in range(20)])  # enough for a task: the sleeper's is sent
        while not (tmp_path / "first").exists():
            assert time.monotonic() < began + 60
            time.sleep(0.01)
    assert [verdict.reward for verdict in judge.judge([item("fine")])] == [pytest.approx(4 / 1000)]
    assert not (tmp_path / "second").exists()


def test_workers_that_cannot_start_are_an_error_of_ours(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    judge = ClusterJudge(rewards, JudgeConfig())
    (tmp_path / "taste.py").write_text("raise ValueError('bitter')")
    with pytest.raises(VerifierError, match="bitter"):
        judge.judge([item("fine")])


def test_a_verifier_that_is_unknown_is_told_before_anything_starts() -> None:
    with pytest.raises(VerifierError, match="no such verifier"):
        ClusterJudge({"mathh": VerifierConfig()}, JudgeConfig())
