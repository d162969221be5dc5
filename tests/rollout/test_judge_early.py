"""Completions are judged while others are still being sampled, with the verdicts they would have had at the end."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rollout.judge import Judge

TASTE = """
import os, time
from pathlib import Path
from reasoning_rl.records import Score

def taste(completion, problem):
    word, _, name = completion.text.partition(" ")
    if word == "mark":
        Path(name).touch()
    if word == "sleep":
        Path(name).touch()
        time.sleep(3600)
    if word == "hang":
        time.sleep(3600)
    if word == "exit":
        os._exit(3)
    return Score(len(completion.text) / 100, reason=completion.text)
"""
Item = tuple[Completion, Problem]


def item(text: str) -> Item:
    return Completion(text, (1, 2)), Problem("t/0", "t", "test", "2+3?", "5")


@pytest.fixture(name="rewards")
def _rewards(tmp_path: Path) -> dict[str, VerifierConfig]:
    (tmp_path / "taste.py").write_text(TASTE)
    return {f"{tmp_path}/taste.py:taste": VerifierConfig()}


def timeless(verdicts: list[Verdict]) -> list[Verdict]:
    return [
        replace(verdict, scores={name: replace(score, seconds=0.0) for name, score in verdict.scores.items()}, answer=None)
        for verdict in verdicts
    ]


def appears(path: Path) -> bool:
    """Whether a verifier comes to make this file."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return path.exists()


def pieces(items: list[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def test_an_item_is_judged_before_the_next_one_is_there(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    with Judge(rewards, JudgeConfig()) as judge, judge.early() as batch:
        for name in ("first", "second"):
            batch.add([item(f"mark {tmp_path / name}")])
            assert appears(tmp_path / name)
        verdicts = batch.verdicts()
    reasons = [score.reason for verdict in verdicts for score in verdict.scores.values()]
    assert reasons == [f"mark {tmp_path / name}" for name in ("first", "second")]


def test_items_that_come_in_pieces_get_the_verdicts_they_get_together(rewards: dict[str, VerifierConfig]) -> None:
    items = [item(text) for text in ["x" * (n % 30) for n in range(50)] + ["hang", "exit", *["y"] * 8]]
    with Judge(rewards, JudgeConfig(workers=2, deadline_s=0.5)) as judge:
        together = judge.judge(items)
        for size in (1, 7):
            with judge.early() as batch:
                for piece in pieces(items, size):
                    batch.add(piece)
                assert timeless(batch.verdicts()) == timeless(together)


def test_a_judge_that_is_kept_from_listening_takes_no_verdict_for_late(
    rewards: dict[str, VerifierConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the sampling beside it holds the interpreter for longer than a deadline."""

    def kept_waiting(*arguments: object) -> list[object]:
        spoken = wait(arguments[0], 0)  # type: ignore[arg-type]
        time.sleep(0.6)
        return list(spoken)

    monkeypatch.setattr("reasoning_rl.rollout.judge.wait", kept_waiting)
    with Judge(rewards, JudgeConfig(deadline_s=0.5)) as judge:
        assert [verdict.reward for verdict in judge.judge([item("four")])] == [0.04]


def test_a_batch_of_nothing_has_no_verdicts(rewards: dict[str, VerifierConfig]) -> None:
    with Judge(rewards, JudgeConfig()) as judge, judge.early() as batch:
        assert batch.verdicts() == []


def test_an_item_that_hangs_holds_up_none_that_comes_later(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    with Judge(rewards, JudgeConfig(workers=2, deadline_s=600)) as judge, judge.early() as batch:
        batch.add([item(f"sleep {tmp_path / 'asleep'}")])
        assert appears(tmp_path / "asleep")
        batch.add([item(f"mark {tmp_path / 'later'}")])
        assert appears(tmp_path / "later")


def test_what_is_given_up_is_waited_for_by_nobody_and_the_next_batch_is_whole(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    def interrupted(judge: Judge) -> None:
        with judge.early() as batch:
            batch.add([item(f"sleep {tmp_path / 'asleep'}"), item("lost")])
            assert appears(tmp_path / "asleep")
            raise KeyboardInterrupt

    threads = threading.active_count()
    with Judge(rewards, JudgeConfig(deadline_s=600)) as judge:
        with pytest.raises(KeyboardInterrupt):
            interrupted(judge)
        assert threading.active_count() == threads
        assert [verdict.reward for verdict in judge.judge([item("four")])] == [0.04]


def test_workers_that_cannot_start_are_an_error_while_items_still_come_in(rewards: dict[str, VerifierConfig], tmp_path: Path) -> None:
    judge = Judge(rewards, JudgeConfig())
    (tmp_path / "taste.py").write_text("raise RuntimeError('gone sour')")

    def sampled(*, for_ever: bool) -> list[Verdict]:
        with judge.early() as batch:
            batch.add([item("x")])
            while for_ever:
                batch.add([item("x")])
                time.sleep(0.005)
            return batch.verdicts()

    for for_ever in (True, False):
        with pytest.raises(VerifierError, match="gone sour"):
            sampled(for_ever=for_ever)


def test_a_worker_that_a_thread_starts_ignores_ctrl_c_too(
    rewards: dict[str, VerifierConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    popen = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        process: subprocess.Popen[bytes] = popen(*arguments, **options)  # type: ignore[call-overload]
        started.append(process.pid)
        os.kill(process.pid, 2)  # the interpreter is still starting
        return process

    started: list[int] = []
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with Judge(rewards, JudgeConfig()) as judge, judge.early() as batch:
        batch.add([item("four")])
        assert [verdict.reward for verdict in batch.verdicts()] == [0.04]
    assert len(started) == 1
