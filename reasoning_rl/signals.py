"""Who hears Ctrl-C: the first process, and none of those that it starts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they import: it is for the first process to handle.

    Works in the main thread, the only one that may say what a signal does; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
