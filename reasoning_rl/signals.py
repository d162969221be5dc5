"""Ctrl-C and SIGTERM: who hears them, and what they end.

    first signal     the step of the training loop is finished and saved; any other work is broken off
    second signal    the process ends at once; what it had written half is named `.….tmp`, and removed by the next command

What was finished before is whole in every case.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"
"""A live display hides it."""


class Terminated(SystemExit):
    """SIGTERM arrived. A SystemExit, so that a forked child ends in silence."""


@contextmanager
def unwinding() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt or Terminated, so that all is cleaned up on the way; the second ends the process."""
    with _handled(_unwind):
        yield


@dataclass
class Finishing:
    """What a loop asks between two steps."""

    signal: int | None = None
    """That has arrived."""

    def stop_if_asked(self) -> None:
        """Raise what the signal would have raised at once."""
        if self.signal is not None:
            _raise(self.signal)


@contextmanager
def finishing(say: Callable[[], None]) -> Iterator[Finishing]:
    """The first signal is noted and told of, and the loop inside stops where it likes; the second ends the process."""
    noted = Finishing()

    def note(number: int, _frame: FrameType | None) -> None:
        noted.signal = number
        _from_now_on(_end)
        say()

    with _handled(note):
        yield noted


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """The main thread is the only one that may say what a signal does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, earlier in zip(_SIGNALS, before, strict=True):
            heard = signal.getsignal(number) is _end
            signal.signal(number, _end if heard and earlier is _unwind else earlier)  # one that was heard inside was the first outside too


def _from_now_on(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    _from_now_on(_end)
    _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGTERM:
        raise Terminated(128 + number)
    raise KeyboardInterrupt


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """No clean-up: the processes that were started see their pipes end."""
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{cursor}Stopped at once. The same command, without --fresh, goes on from the last finished file.\n".encode())
    os._exit(128 + number)


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C or SIGTERM, not even while they import: these are for the first process to handle.

    A terminal and a scheduler send them to all. They are held back, from those processes for good, and from this thread for as long.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
