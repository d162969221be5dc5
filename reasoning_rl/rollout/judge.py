"""Judging in worker processes that can be killed: a deadline for each completion, kept by the parent, and a limit to memory.

    Judge ─(chunk of completions)─► worker ─(one verdict at a time)─► Judge

A completion on which a verifier hangs, crashes or fills the memory gets a verdict that says so; all others are judged as if alone.
"""

import contextlib
import itertools
import math
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Outcome, Problem, Score, Verdict
from reasoning_rl.rewards.child import start_python
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge_worker import Job

CHUNK = 64
"""Completions sent to a worker at a time: enough to hide the sending, few enough to share the last of them fairly."""
START_S = 60.0
"""A worker that has not started by then never will."""

Item = tuple[Completion, Problem]


@dataclass
class _Worker:
    """A process, the connection to it, and what it is busy with."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    pending: deque[int] = field(default_factory=deque)
    """Indices of the items it has not answered yet; it is at the first of them."""
    ready: bool = False
    since: float = 0.0
    """When it was started, or took up the item it is at."""

    def end(self) -> None:
        """Kill and reap it; its connection is closed."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Judge:
    """Judges completions with a recipe's verifiers. A context manager; usable from any thread, one batch at a time."""

    def __init__(self, reward_config: Mapping[str, VerifierConfig], config: JudgeConfig) -> None:
        """Raises VerifierError for every verifier that can't be found or called; starts nothing yet."""
        self._reward = dict(reward_config)
        self._names = Reward(reward_config).names
        self._config = config
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # half-built, or the interpreter is going down
            self._end_workers()

    def close(self) -> None:
        """End all workers. Calling it twice does no harm; a later batch starts new ones."""
        with self._lock:
            self._end_workers()

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order. Raises VerifierError only if workers can't be started at all."""
        with self._lock:
            batch = _Batch(items, self._config.workers)
            try:
                while batch.unfinished:
                    self._staff(batch)
                    self._hear(batch)
            except BaseException:  # Ctrl-C too: workers busy with an abandoned batch would answer the next one
                self._end_workers()
                raise
            return batch.results()

    def _staff(self, batch: "_Batch") -> None:
        """Start workers as far as there is work for them, and give work to the idle; one that died in its sleep is replaced."""
        for worker in [worker for worker in self._workers if worker.ready and not worker.pending and worker.process.poll() is not None]:
            self._workers.remove(worker)
            worker.end()
        wanted = min(self._config.workers, batch.chunks_left + sum(bool(worker.pending) for worker in self._workers))
        while len(self._workers) < wanted:
            self._workers.append(self._started())
        for worker in list(self._workers):
            if worker.ready and not worker.pending and batch.chunks_left:
                self._send(worker, batch)

    def _started(self) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            statement = f"from reasoning_rl.rollout.judge_worker import main; main({theirs.fileno()})"
            process = start_python(statement, pass_fds=[theirs.fileno()])
        worker = _Worker(process, ours, since=time.monotonic())
        with contextlib.suppress(BrokenPipeError):  # a process that died at once is noticed when it is listened to
            ours.send(Job(self._reward, self._config.deadline_s, self._config.memory_mib))
        return worker

    def _send(self, worker: _Worker, batch: "_Batch") -> None:
        chunk = batch.take()
        worker.pending = deque(chunk)
        worker.since = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when it is listened to
            worker.connection.send([batch.items[index] for index in chunk])

    def _hear(self, batch: "_Batch") -> None:
        """Take what the workers have to say; kill those that are over their time."""
        busy = [worker for worker in self._workers if worker.pending or not worker.ready]
        first = min((worker.since + self._limit(worker) for worker in busy), default=0.0)
        spoken = set(wait([worker.connection for worker in busy], timeout=max(0.0, first - time.monotonic())))
        for worker in busy:
            if worker.connection in spoken:
                self._listen(worker, batch)
            elif time.monotonic() > worker.since + self._limit(worker):
                self._lose(worker, batch, "timeout", f"no verdict after {self._config.deadline_s:g} s")

    def _limit(self, worker: _Worker) -> float:
        return self._config.deadline_s if worker.ready else START_S

    def _listen(self, worker: _Worker, batch: "_Batch") -> None:
        try:
            while worker.connection.poll():
                self._heard(worker, worker.connection.recv(), batch)
        except (EOFError, OSError):
            code = worker.process.wait()
            self._lose(worker, batch, "error", f"the worker {_death(code)} while judging it")

    def _heard(self, worker: _Worker, message: object, batch: "_Batch") -> None:
        if isinstance(message, Verdict):
            batch.verdicts[worker.pending.popleft()] = message
        elif message == "ready":
            worker.ready = True
        else:
            raise VerifierError(f"judge: a worker can't start: {message}")
        worker.since = time.monotonic()

    def _lose(self, worker: _Worker, batch: "_Batch", outcome: Outcome, reason: str) -> None:
        """End a worker that overran or died: the item it was at is lost, those behind it go to another."""
        worker.end()
        self._workers.remove(worker)
        if not worker.ready:
            raise VerifierError(f"judge: a worker can't start: {reason}")
        if worker.pending:
            batch.verdicts[worker.pending.popleft()] = self._lost(outcome, reason)
            batch.give_back(worker.pending)

    def _lost(self, outcome: Outcome, reason: str) -> Verdict:
        """Which verifier it was can't be told from outside, so each says the same."""
        score = Score(0.0, outcome, reason)
        return Verdict(0.0, dict.fromkeys(self._names, score), answer=score)

    def _end_workers(self) -> None:
        while self._workers:
            self._workers.pop().end()


class _Batch:
    """Items, the chunks that nobody has taken yet, and the verdicts so far."""

    def __init__(self, items: Sequence[Item], workers: int) -> None:
        self.items = items
        self.verdicts: dict[int, Verdict] = {}
        size = max(1, min(CHUNK, math.ceil(len(items) / workers / 2)))
        self._chunks = deque(list(range(start, min(start + size, len(items)))) for start in range(0, len(items), size))

    @property
    def unfinished(self) -> bool:
        return len(self.verdicts) < len(self.items)

    @property
    def chunks_left(self) -> int:
        return len(self._chunks)

    def take(self) -> list[int]:
        return self._chunks.popleft()

    def give_back(self, indices: Sequence[int]) -> None:
        if indices:
            self._chunks.appendleft(list(indices))

    def results(self) -> list[Verdict]:
        return [self.verdicts[index] for index in range(len(self.items))]


def _death(code: int) -> str:
    if code >= 0:
        return f"ended itself (exit code {code})"
    name = next(itertools.chain((known.name for known in signal.Signals if known == -code), [str(-code)]))
    return f"was ended by {name}"
