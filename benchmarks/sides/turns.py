"""Sides of a comparison, each in a process of its own, that take turns at blocks of steps: what else the machine does meets all.

A side is a function of (turns, options); it calls `begin` before its first step and `step` after each. While another is at work, it
sleeps.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

Figures = dict[str, Any]
"""Of a step: what the side says of it, and `seconds`."""
Work = Callable[["Turns", argparse.Namespace], None]

_PATIENCE_S = 30.0


class Turns:
    """A side's end. Only what happens within a turn is timed: no start-up, and nothing behind the last step."""

    def __init__(self, pipe: Connection, steps: int) -> None:
        self._pipe, self._steps = pipe, steps
        self._asked, self._since = 0, 0.0
        self._block: list[Figures] = []

    def begin(self) -> None:
        """This side is ready. Sleep until it is its turn."""
        self._pipe.send(None)
        self._sleep()

    def _sleep(self) -> None:
        self._block, self._asked = [], self._pipe.recv()
        self._since = time.perf_counter()

    def step(self, figures: Mapping[str, Any]) -> None:
        """A step is done; when it was the last of its block, hand the block over and sleep."""
        now = time.perf_counter()
        self._block.append({**figures, "seconds": now - self._since})
        self._since, self._steps = now, self._steps - 1
        if len(self._block) == self._asked:
            self._pipe.send(self._block)
            if self._steps:
                self._sleep()


class Side:
    """The other end. `threads` is what OpenMP may use in that process."""

    def __init__(self, name: str, work: Work, options: argparse.Namespace, threads: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs, options), name=name)
        with _environment("OMP_NUM_THREADS", str(threads)):
            self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait for the end of its start-up, which would slow down the others. SystemExit if it has failed; it has said why."""
        with self._alive():
            self._pipe.recv()

    def block(self, steps: int) -> list[Figures]:
        """The next steps. SystemExit if the side has failed; it has said why."""
        with self._alive():
            self._pipe.send(steps)
            done: list[Figures] = self._pipe.recv()
        return done

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as failure:
            raise SystemExit(f"{self.name} has ended early; its error stands above") from failure

    def close(self) -> None:
        """Wait for its end; a side that stands still is killed."""
        self._pipe.close()
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def blocks(works: Mapping[str, Work], options: argparse.Namespace, threads: int) -> Iterator[tuple[str, int, list[Figures]]]:
    """Side, number of the block and its steps, in turn: `options.steps` of each side, `options.block` at a time."""
    with ExitStack() as stack:
        sides = [Side(name, work, options, threads) for name, work in works.items()]
        for side in sides:
            stack.callback(side.close)
        for side in sides:
            side.ready()
        for number, first in enumerate(range(0, options.steps, options.block)):
            for side in sides:
                yield side.name, number, side.block(min(options.block, options.steps - first))


def _serve(work: Work, pipe: Connection, options: argparse.Namespace) -> None:
    """Standard output is for the figures alone: what libraries print goes to the standard error."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    turns = Turns(pipe, options.steps)
    try:
        work(turns, options)
    except EOFError:  # nobody waits for this side any more
        sys.exit(1)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """For processes that are started within; threads are counted when a library is loaded."""
    before = os.environ.get(name)
    os.environ[name] = value
    yield
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before
