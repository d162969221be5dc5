"""Helper processes: started without running the parent's main module again, and bounded in memory by themselves."""

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reasoning_rl.signals import ignoring_interrupts


def start_python(statement: str, *, pass_fds: Sequence[int] = (), piped: bool = False) -> "subprocess.Popen[bytes]":
    """A Python process that runs one statement and leaves Ctrl-C to this one.

    `piped` gives it a pipe for input and one for output, and silences its errors.
    """
    pipe = subprocess.PIPE if piped else subprocess.DEVNULL
    with ignoring_interrupts():
        return subprocess.Popen(
            [sys.executable, "-P", "-c", statement],
            stdin=pipe,
            stdout=pipe if piped else None,
            stderr=subprocess.DEVNULL if piped else None,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
            pass_fds=pass_fds,
            bufsize=0,
        )


def _search_path() -> list[str]:
    """This process's own, so that a package found here is found there; the current folder under its full name."""
    return [str(Path(entry).absolute()) for entry in sys.path]


def limit_memory(mebibytes: int) -> None:
    """Bound the address space at what is used now and `mebibytes` more; an allocation beyond raises MemoryError."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = _address_space() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def memory_left() -> float:
    """Bytes of address space below the limit; infinite without one."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else soft - _address_space()


def _address_space() -> int:
    """Bytes of it that this process has; 0 where the system doesn't say."""
    facts = Path("/proc/self/statm")
    return int(facts.read_text().split()[0]) * resource.getpagesize() if facts.exists() else 0
