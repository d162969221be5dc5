"""Another process of a crew: work goes to it through a pipe, results come back, and how it ended is told."""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

from reasoning_rl.errors import EngineDied
from reasoning_rl.learner.failures import Failed, attempted
from reasoning_rl.signals import ignoring_interrupts

_PATIENCE_S = 5.0
"""That a process has to end by itself when it is no longer needed."""
_LAST_BREATH_S = 1.0
"""Between the end of its pipe and its exit code."""
_SIGNALS = {number.value: number.name for number in signal.Signals}


class Other:
    """One of the others, started."""

    def __init__(self, rank: int, size: int, folder: str) -> None:
        """`folder` is where they all meet. It has started when `receive` returns: nobody waits in vain for one that died of its imports."""
        context = multiprocessing.get_context("spawn")
        self.rank, self._size, self._asked = rank, size, "start"
        self.pipe, theirs = context.Pipe()
        self._said: Exception | None = None
        self._process = context.Process(target=_serve, args=(rank, size, folder, theirs), daemon=True)
        resource_tracker.ensure_running()  # it would start inside, and have this thread hear signals again
        with ignoring_interrupts():
            self._process.start()
        theirs.close()

    def send(self, work: Any) -> None:
        """EngineDied, or what it said last, when it is gone."""
        self._asked = type(work).__name__.lower()
        try:
            self.pipe.send(work)
        except OSError:
            self._farewell()

    def receive(self) -> Any:
        """The result of what was sent, or its error; EngineDied when it ended without a word."""
        if self._said:
            raise self._said
        try:
            result = self.pipe.recv()
        except (EOFError, OSError) as failure:
            raise self._death() from failure
        if isinstance(result, Failed):
            self._said = result.told("a worker process")
            raise self._said
        return result

    def require_alive(self) -> None:
        """EngineDied, or what it said last, when it is gone. Quick: nothing is received otherwise."""
        if not self._process.is_alive():
            self._farewell()

    def dismiss(self, *, at_once: bool) -> None:
        """Nothing more will be sent. `at_once`: it may be in a collective that waits for minutes, and has nothing worth waiting for."""
        self.pipe.close()
        if at_once:
            self._process.kill()

    def end(self) -> None:
        """Return when it has ended; it is killed if it doesn't by itself."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _farewell(self) -> NoReturn:
        self.receive()
        raise self._death()  # it had finished its work before

    def _death(self) -> EngineDied:
        self._process.join(_LAST_BREATH_S)
        code = self._process.exitcode
        hint = f"; was it killed for memory? Each of learner.processes ({self._size}) holds the models" if code == -signal.SIGKILL else ""
        return EngineDied(f"worker process {self.rank} {_ending(code)} during {self._asked}{hint}")


def _ending(exit_code: int | None) -> str:
    """In words. multiprocessing gives the negative number of a signal.

    >>> _ending(-9), _ending(3)
    ('was killed by SIGKILL', 'ended with exit code 3')
    """
    if exit_code is None:
        return "closed its pipe"
    if exit_code < 0:
        return f"was killed by {_SIGNALS.get(-exit_code, f'signal {-exit_code}')}"
    return f"ended with exit code {exit_code}"


def _serve(rank: int, size: int, folder: str, pipe: Any) -> None:
    """The life of another process: do what comes through the pipe until it closes."""
    from reasoning_rl.learner.worker import one_of

    threading.Thread(target=_follow, daemon=True).start()
    pipe.send("started")
    worker = one_of(rank, size, Path(folder))
    while True:
        try:
            work = pipe.recv()
        except (EOFError, OSError):
            break
        result = attempted(work, worker)
        with suppress(OSError):  # the first process is gone: the next read says so
            pipe.send(result)
        if isinstance(result, Failed):
            break  # ends this worker's side of the collectives, so that the others don't wait
    worker.close()


def _follow() -> None:
    """End when the first process has, whatever is being done: nobody waits for it."""
    first = multiprocessing.parent_process()
    assert first is not None, "this is no other's process"
    wait([first.sentinel])
    os._exit(1)
