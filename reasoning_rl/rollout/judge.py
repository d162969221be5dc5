"""Judging in worker processes that can be killed: a deadline for each completion, kept by the parent, and a limit to memory.

    Judge ─(chunk of completions)─► worker ─(a few milliseconds' verdicts at a time)─► Judge
                                           ─(a byte for each item taken up)─►

A completion on which a verifier hangs, crashes or fills the memory gets a verdict that says so; all others are judged as if alone. What a
worker had judged but not sent when it was lost is judged again. Completions may be judged while others are still being sampled: `early`.
"""

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Outcome, Score, Verdict
from reasoning_rl.rewards.child import start_python
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge_batch import Batch
from reasoning_rl.rollout.judge_messages import Item, pack_items, unpack_verdict
from reasoning_rl.rollout.judge_worker import HELD_S, READY, SPENT, Job

START_S = 600.0
"""A worker that has not started by then never will; some load models first."""


@dataclass
class _Worker:
    """A process, the connection to it, and what it is busy with."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    progress: Connection
    """Holds a byte for each item taken up."""
    pending: deque[int] = field(default_factory=deque)
    """Indices of the items it has not answered yet."""
    taken_up: int = 0
    """How many of these it is known to have taken up; it is at the last of them."""
    ready: bool = False
    since: float = 0.0
    """When it was started, or last sent or was sent something; it took up the item it is at no later than HELD_S afterwards."""

    def answered(self) -> int:
        """Index of the next item it has answered."""
        self.taken_up -= 1
        return self.pending.popleft()

    def look(self) -> None:
        """Learn how far it is."""
        with contextlib.suppress(BlockingIOError):  # nothing new
            self.taken_up += len(os.read(self.progress.fileno(), 1 << 16))

    def end(self) -> None:
        """Kill and reap it; its connections are closed."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.progress.close()


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
        with self._lock, Batch(self._config.workers) as batch:
            batch.add(items)
            batch.complete()
            self._work_off(batch)
            return batch.results()

    @contextlib.contextmanager
    def early(self) -> Iterator["Early"]:
        """Judges items as they come in, in a thread of its own. What has no verdict when the context is left is given up."""
        with self._lock, Batch(self._config.workers) as batch, ThreadPoolExecutor(1, "judge") as thread:
            try:
                yield Early(batch, thread.submit(self._work_off, batch))
            finally:
                batch.give_up()

    def _work_off(self, batch: Batch) -> None:
        try:
            while batch.unfinished:
                self._staff(batch)
                self._hear(batch)
        finally:
            if not batch.answered:  # Ctrl-C, an error, or given up: workers busy with this batch would answer the next one
                self._end_workers()

    def _staff(self, batch: Batch) -> None:
        """Start workers as far as there is work for them, and give work to the idle; one that died in its sleep is replaced."""
        for worker in [worker for worker in self._workers if worker.ready and not worker.pending and worker.process.poll() is not None]:
            self._workers.remove(worker)
            worker.end()
        wanted = min(self._config.workers, batch.left + sum(bool(worker.pending) for worker in self._workers))
        while len(self._workers) < wanted:
            self._workers.append(self._started())
        for worker in list(self._workers):
            if worker.ready and not worker.pending and batch.left:
                self._send(worker, batch)

    def _started(self) -> _Worker:
        (ours, theirs), (progress, mark) = Pipe(), Pipe(duplex=False)
        os.set_blocking(progress.fileno(), False)
        with theirs, mark:
            statement = f"from reasoning_rl.rollout.judge_worker import main; main({theirs.fileno()}, {mark.fileno()})"
            process = start_python(statement, pass_fds=[theirs.fileno(), mark.fileno()])
        worker = _Worker(process, ours, progress, since=time.monotonic())
        with contextlib.suppress(BrokenPipeError):  # a process that died at once is noticed when it is listened to
            ours.send(Job(self._reward, self._config.deadline_s, self._config.memory_mib))
        return worker

    def _send(self, worker: _Worker, batch: Batch) -> None:
        chunk = batch.take()
        worker.pending, worker.taken_up = deque(chunk), 0
        worker.since = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when it is listened to
            worker.connection.send_bytes(pack_items(batch.items[index] for index in chunk))

    def _hear(self, batch: Batch) -> None:
        """Take what the workers have to say, and note what came in; kill those that are over their time."""
        now = time.monotonic()  # before listening: a thread that is kept waiting must not take a verdict that lies there for a late one
        busy = [worker for worker in self._workers if worker.pending or not worker.ready]
        first = min((worker.since + self._limit(worker) for worker in busy), default=math.inf)
        patience = None if first == math.inf else max(0.0, first - now)
        spoken = set(wait([batch.bell, *(worker.connection for worker in busy)], patience))
        for worker in busy:
            if worker.connection in spoken:
                self._listen(worker, batch)
            elif now > worker.since + self._limit(worker):
                self._lose(worker, batch, "timeout", f"no verdict after {self._config.deadline_s:g} s")
        if batch.bell in spoken:
            batch.listen()

    def _limit(self, worker: _Worker) -> float:
        return self._config.deadline_s + HELD_S if worker.ready else START_S

    def _listen(self, worker: _Worker, batch: Batch) -> None:
        try:
            while not worker.connection.closed and worker.connection.poll():
                self._heard(worker, worker.connection.recv(), batch)
        except (EOFError, OSError):
            code = worker.process.wait()
            self._lose(worker, batch, "error", f"the worker {_death(code)} while judging it")

    def _heard(self, worker: _Worker, message: object, batch: Batch) -> None:
        worker.since = time.monotonic()
        worker.look()
        if isinstance(message, list):
            batch.verdicts.update({worker.answered(): unpack_verdict(verdict) for verdict in message})
        elif message == READY:
            worker.ready = True
        elif message == SPENT:
            self._dismiss(worker, batch)
        else:
            raise VerifierError(f"judge: a worker can't start: {message}")

    def _lose(self, worker: _Worker, batch: Batch, outcome: Outcome, reason: str) -> None:
        """End a worker that overran or died: the item it was at is lost, the others that it has not answered go to another."""
        worker.process.kill()
        worker.process.wait()
        worker.look()
        if not worker.ready:
            raise VerifierError(f"judge: a worker can't start: {reason}")
        if worker.pending:
            at = max(worker.taken_up - 1, 0)
            batch.verdicts[worker.pending[at]] = self._lost(outcome, reason)
            del worker.pending[at]
        self._dismiss(worker, batch)

    def _dismiss(self, worker: _Worker, batch: Batch) -> None:
        """End a worker; what it has not answered goes to another."""
        worker.end()
        self._workers.remove(worker)
        batch.give_back(worker.pending)

    def _lost(self, outcome: Outcome, reason: str) -> Verdict:
        """Which verifier it was can't be told from outside, so each says the same."""
        score = Score(0.0, outcome, reason)
        return Verdict(0.0, dict.fromkeys(self._names, score), answer=score)

    def _end_workers(self) -> None:
        while self._workers:
            self._workers.pop().end()


class Early:
    """A batch that grows while it is judged. For one thread."""

    def __init__(self, batch: Batch, judged: "Future[None]") -> None:
        self._batch, self._judged = batch, judged

    def add(self, items: Iterable[Item]) -> None:
        """Have these judged too; returns at once. What keeps workers from starting is raised here, as soon as it is known."""
        if self._judged.done():
            self._judged.result()
        self._batch.add(items)

    def verdicts(self) -> list[Verdict]:
        """Of all items, in the order they were added: waits for the last. There are no further ones then."""
        self._batch.complete()
        self._judged.result()
        return self._batch.results()


def _death(code: int) -> str:
    if code >= 0:
        return f"ended itself (exit code {code})"
    name = next((known.name for known in signal.Signals if known == -code), str(-code))
    return f"was ended by {name}"
