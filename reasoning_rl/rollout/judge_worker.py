"""The other end of `judge.py`: a process that judges what it is sent, item by item, until the connection closes.

Verdicts are sent together, a few milliseconds' worth at a time; a byte for each item it takes up says where it is meanwhile.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rewards.child import limit_memory, memory_left
from reasoning_rl.rewards.equality.bounded import warm_up
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge_messages import Item, pack_verdict, unpack_items

ORPHAN_FACTOR = 4.0
"""The kernel ends a worker this many deadlines after it took up an item: the parent, which should have, is gone."""
HELD_S = 0.005
"""A verdict waits at most this long for others before it is sent; a message for each kept the parent as busy as a worker."""
READY, SPENT = "ready", "spent"
"""What a worker says beside verdicts: it can begin; its memory has leaked away, and another should take up what it has not answered."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told first."""

    rewards: Mapping[str, VerifierConfig]
    deadline_s: float
    memory_mib: int


def main(connection: int, progress: int) -> None:
    """Entry of the process, with two descriptors. Signals are the parent's business; what verifiers print must not reach its output."""
    _leave_signals_to_parent()
    os.dup2(2, 1)
    with Connection(connection) as parent:
        serve(parent, progress, limit=True)
    sys.stderr.flush()
    os._exit(0)  # threads of a user's verifier must not keep the process alive


def _leave_signals_to_parent() -> None:
    """It held Ctrl-C and SIGTERM back for this process; what a user's verifier starts can be ended by them as anywhere."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        signal.signal(number, lambda *_: None)  # a handler ends with `exec`, where a signal that is ignored stays so
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def serve(connection: Connection, progress: int, *, limit: bool) -> None:
    """Judge chunks until the connection closes. `limit` sets the process's memory limit and its last-resort alarm."""
    try:
        job: Job = connection.recv()
        reward = Reward(job.rewards)
        reward.prepare()
        if limit:
            limit_memory(job.memory_mib)
        gc.freeze()
        connection.send(READY)
        desk = _Desk(reward, connection, progress, job, limited=limit)
        while not desk.spent:
            desk.judge(unpack_items(connection.recv_bytes()))
        connection.send(SPENT)
    except VerifierError as failure:
        connection.send(str(failure))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class _Desk:
    """Where a worker judges, and collects verdicts until they are sent."""

    def __init__(self, reward: Reward, connection: Connection, progress: int, job: Job, *, limited: bool) -> None:
        self._reward, self._connection, self._progress = reward, connection, progress
        self._alarm_s = job.deadline_s * ORPHAN_FACTOR if limited else 0.0
        self._enough = job.memory_mib << 19  # bytes, half of what it may take
        self._verdicts: list[bytes] = []
        self._sent_at = 0.0
        self._fresh = True
        self.spent = False
        """Whether memory ran out and didn't come back. The item it is then at has no verdict yet, unless it was the first of all."""

    def judge(self, items: list[Item]) -> None:
        """Judge a chunk and send all verdicts; stop where it is spent."""
        if any(problem.task == "math" for _, problem in items):
            warm_up()
        self._sent_at = time.monotonic()
        for completion, problem in items:
            self._take_up(completion, problem)
            if self.spent:
                break
            if time.monotonic() - self._sent_at >= HELD_S:
                self._send()
        self._send()
        if self._alarm_s:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _take_up(self, completion: Completion, problem: Problem) -> None:
        os.write(self._progress, b".")
        if self._alarm_s:
            signal.setitimer(signal.ITIMER_REAL, self._alarm_s)
        verdict = self._reward.verdict(completion, problem)
        self.spent = _out_of_memory(verdict) and memory_left() < self._enough
        if self._fresh or not self.spent:
            self._verdicts.append(pack_verdict(verdict))
        self._fresh = False

    def _send(self) -> None:
        if self._verdicts:
            self._connection.send(self._verdicts)
            self._verdicts = []
        self._sent_at = time.monotonic()


def _out_of_memory(verdict: Verdict) -> bool:
    scores = (*verdict.scores.values(), verdict.judgement)
    return any(score.verdict == "too_large" and score.reason.startswith("MemoryError") for score in scores)
