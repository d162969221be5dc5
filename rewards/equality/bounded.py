"""SymPy at arm's length: one process per process, started when first needed, ended when a decision takes too long.

A deadline inside the process would not do: SIGALRM handlers run in main threads only, and a big-integer power holds the interpreter's
lock. Works from any thread and in a forked child (which starts a process of its own), and leaves none behind.
"""

import atexit
import contextlib
import json
import os
import re
import select
import threading
import time

from reasoning_rl.records import Outcome
from reasoning_rl.rewards.child import start_python

DEADLINE_S = 3.5
"""For one decision, the start of the process included; below the judge's deadline, so that no worker dies of it."""
MAX_CHARACTERS = 600
_FIT = re.compile(r"[A-Za-z0-9\\{}()\[\]^_+\-*/=<>|!,.&;' ]+")
_REFUSED = re.compile(
    r"(?<![\\A-Za-z])(?![pbvV]?matrix\})[A-Za-z]{4,}"  # a word, or code
    r"|__|\\text|\\mathbb|\\not|\.\.\.|'"
    r"|\^\s*\{?[^{}^]*\^"  # a power of a power
    r"|[0-9]{30}|\^\s*\{?\s*-?\s*[0-9]{4}|[0-9]{4}\s*!|!\s*\)*!"
    r"|\\(?:int|iint|iiint|oint|prod|lim|mod|bmod|pmod|infty)(?![A-Za-z])"
)


def fit_for_symbols(a: str, b: str) -> bool:
    r"""Whether two tidy texts may be shown to SymPy's parser. Beside a plain number only a sum is worth its while."""
    worth = ("\\" in a and "\\" in b) or r"\sum" in a + b
    return worth and _is_fit(a) and _is_fit(b)


def _is_fit(text: str) -> bool:
    """Short, mathematical, without giant numbers or calculus."""
    if len(text) > MAX_CHARACTERS or text.count("{") > 60 or text.count("^") > 30:
        return False
    return _FIT.fullmatch(text) is not None and _REFUSED.search(text) is None


def decide_symbolically(a: str, b: str) -> tuple[Outcome, str]:
    """`correct`, `wrong`, `unparsable` or `timeout`, and why."""
    until = time.monotonic() + DEADLINE_S
    if not _lock.acquire(timeout=DEADLINE_S):
        return "timeout", f"the symbolic comparison was busy for {DEADLINE_S:g} s"
    try:
        return _ask(a, b, until)
    finally:
        _lock.release()


def warm_up() -> None:
    """Start the process now, in the background, so that the first hard answer does not wait for SymPy to be imported."""
    with _lock:
        _running()


def _ask(a: str, b: str, until: float) -> tuple[Outcome, str]:
    server = _running()
    if not server.ready(until):
        return "timeout", f"the symbolic comparison was not ready after {DEADLINE_S:g} s"
    reply = server.ask(a, b, until)
    if reply is None:
        _stop()
        return "timeout", f"the symbolic comparison took more than {DEADLINE_S:g} s or its memory"
    equal, reason = reply
    if equal is None:
        return "unparsable", reason
    return ("correct", "equal to the gold") if equal else ("wrong", "differs from the gold")


class _Server:
    """The other process and the lines that go to and fro."""

    def __init__(self) -> None:
        self.process = start_python("from reasoning_rl.rewards.equality.symbolic import serve; serve()", piped=True)
        self.is_ready = False

    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self, until: float) -> bool:
        self.is_ready = self.is_ready or self.line(until) is not None
        return self.is_ready

    def ask(self, a: str, b: str, until: float) -> tuple[bool | None, str] | None:
        """The reply, or None when the process overran or died."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([a, b]).encode() + b"\n")
        except BrokenPipeError:
            return None
        line = self.line(until)
        if line is None:
            return None
        equal, reason = json.loads(line)
        return equal, reason

    def line(self, until: float) -> bytes | None:
        """One line, or None at the deadline or the end of the process. Replies are short, hence whole once they begin."""
        assert self.process.stdout is not None
        poller = select.poll()
        poller.register(self.process.stdout, select.POLLIN)
        if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
            return None
        return self.process.stdout.readline() or None

    def end(self) -> None:
        self.forget()
        self.process.kill()
        self.process.wait()

    def forget(self) -> None:
        """Close this side of the pipes; a process whose input closes ends by itself."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_lock = threading.Lock()
_server: _Server | None = None


def _running() -> _Server:
    global _server  # noqa: PLW0603  # one per process, like the interpreter itself
    if _server is None or not _server.alive():
        if _server is not None:
            _server.end()
        _server = _Server()
    return _server


def _stop() -> None:
    global _server  # noqa: PLW0603
    if _server is not None:
        _server.end()
        _server = None


def _after_fork() -> None:
    """The child of a fork must not talk through its parent's pipes, nor wait for a process that is not its own."""
    global _server, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
        _server.process.returncode = 0
        _server = None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_stop)
