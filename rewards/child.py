"""Starting a helper process that imports what its parent can, without running the parent's main module again."""

import os
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
