"""The other end of `judge.py`: a process that judges what it is sent, one verdict at a time, until the connection closes."""

import gc
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.equality.bounded import warm_up
from reasoning_rl.rewards.reward import Reward

ORPHAN_FACTOR = 4.0
"""The kernel ends a worker this many deadlines after it took up an item: the parent, which should have, is gone."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told first."""

    rewards: Mapping[str, VerifierConfig]
    deadline_s: float
    memory_mib: int


def main(descriptor: int) -> None:
    """Entry of the process. Ctrl-C is the parent's business; what verifiers print must not reach its output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    with Connection(descriptor) as connection:
        serve(connection, limit=True)
    sys.stderr.flush()
    os._exit(0)  # threads of a user's verifier must not keep the process alive


def serve(connection: Connection, *, limit: bool) -> None:
    """Judge chunks until the connection closes. `limit` sets the process's memory limit and its last-resort alarm."""
    try:
        job: Job = connection.recv()
        reward = Reward(job.rewards)
        if limit:
            limit_memory(job.memory_mib)
        gc.freeze()
        connection.send("ready")
        while True:
            _chunk(connection, reward, job.deadline_s * ORPHAN_FACTOR if limit else 0.0)
    except VerifierError as failure:
        connection.send(str(failure))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _chunk(connection: Connection, reward: Reward, alarm_s: float) -> None:
    items: list[tuple[Completion, Problem]] = connection.recv()
    if any(problem.task == "math" for _, problem in items):
        warm_up()
    for completion, problem in items:
        if alarm_s:
            signal.setitimer(signal.ITIMER_REAL, alarm_s)
        connection.send(reward.verdict(completion, problem))
    if alarm_s:
        signal.setitimer(signal.ITIMER_REAL, 0)


def limit_memory(mebibytes: int) -> None:
    """Bound the address space at what is used now and `mebibytes` more; an allocation beyond raises MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 0
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = used + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
