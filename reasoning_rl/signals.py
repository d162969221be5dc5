"""Who hears Ctrl-C: the first process, and none of those that it starts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they import: it is for the first process to handle.

    The main thread is the only one that may say what a signal does; another holds it back, from itself and from what it starts.
    """
    with ExitStack() as undo:
        if threading.current_thread() is threading.main_thread():
            undo.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        else:
            undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))
        yield
