"""One worker from within: it answers, limits itself, and says why it can't start."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from reasoning_rl.config import VerifierConfig
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rewards.child import limit_memory
from reasoning_rl.rollout import judge_worker
from reasoning_rl.rollout.judge_messages import pack_items, unpack_verdict
from reasoning_rl.rollout.judge_worker import Job, serve

PROBLEM = Problem(id="t/0", source="t", split="test", question="2+3?", gold="5", task="gsm8k")
REWARDS = {"gsm8k": VerifierConfig()}


def served(*texts: str) -> tuple[list[list[Verdict]], int]:
    """The messages in which a worker answers these items, and how many it said it had taken up."""
    (ours, theirs), (progress, mark) = multiprocessing.Pipe(), multiprocessing.Pipe(duplex=False)
    thread = threading.Thread(target=serve, args=(theirs, mark.fileno()), kwargs={"limit": False})
    thread.start()
    ours.send(Job(REWARDS, 1.0, 512))
    assert ours.recv() == "ready"
    ours.send_bytes(pack_items([(Completion(text, ()), PROBLEM) for text in texts]))
    messages: list[list[Verdict]] = []
    while sum(map(len, messages)) < len(texts):
        messages.append([unpack_verdict(verdict) for verdict in ours.recv()])
    ours.close()
    thread.join(5)
    assert not thread.is_alive()
    taken_up = len(os.read(progress.fileno(), 100))
    for connection in (theirs, progress, mark):
        connection.close()
    return messages, taken_up


@pytest.mark.parametrize(("held_s", "rewards"), [(60.0, [[1.0, 0.0, 1.0]]), (0.0, [[1.0], [0.0], [1.0]])])
def test_the_worker_loop_answers_each_item_until_the_connection_closes(
    held_s: float, rewards: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together as long as none is held for too long."""
    monkeypatch.setattr(judge_worker, "HELD_S", held_s)
    messages, taken_up = served("#### 5", "#### 6", "#### 5")
    assert [[verdict.reward for verdict in message] for message in messages] == rewards
    assert taken_up == 3


def test_a_worker_process_limits_itself_before_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(judge_worker, "limit_memory", limits.append)
    (ours, theirs), (progress, mark) = multiprocessing.Pipe(), multiprocessing.Pipe(duplex=False)
    heard: list[object] = []

    def parent() -> None:
        ours.send(Job(REWARDS, 1.0, 512))
        ours.send_bytes(pack_items([(Completion("5", ()), replace(PROBLEM, task="math"))]))
        heard.extend(ours.recv() for _ in range(2))
        ours.close()

    thread = threading.Thread(target=parent)
    thread.start()
    with progress, mark:
        serve(theirs, mark.fileno(), limit=True)
    thread.join()
    assert (limits, heard[0]) == ([512], "ready")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_to_memory_lies_above_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    limit_memory(512)
    assert limits[0][0] > 512 << 20


def test_the_worker_says_why_it_cannot_start() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.send(Job({"nothing": VerifierConfig()}, 1.0, 512))
    serve(theirs, -1, limit=False)
    assert "no such verifier" in ours.recv()
    ours.close()
    theirs.close()


def test_an_allocation_beyond_the_limit_raises() -> None:
    code = """
from reasoning_rl.rewards.child import limit_memory
limit_memory(256)
bytearray(64 << 20)
try:
    bytearray(1 << 30)
except MemoryError:
    print("bounded")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "bounded\n"
