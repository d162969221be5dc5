"""Who writes in a folder: one process at a time, by a lock of the operating system, which ends with its process however that ends."""

import fcntl
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reasoning_rl.errors import RunError, StorageError
from reasoning_rl.files import make_folder, writing

LOCK = ".lock"
_ASKED, _BETWEEN_S = 2, 0.1


@dataclass(frozen=True)
class Claim:
    """Held by this process."""

    folder: Path
    inode: int
    """Of the lock's file, which goes with the folder."""

    def require(self) -> None:
        """StorageError when the folder was removed or moved away: what is written now would stand alone."""
        try:
            there = (self.folder / LOCK).stat().st_ino
        except FileNotFoundError:
            there = None
        if there != self.inode:
            raise StorageError(f"{self.folder} was removed or moved while this run wrote there; put it back, or begin anew")


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Be the only one who writes in `folder`, which is made if need be. RunError names who is.

    StorageError when the folder can't be written. The file of the lock stays behind; it means nothing when nobody holds it.
    """
    with _opened(folder / LOCK) as descriptor:
        if not _locked(descriptor):
            raise RunError(f"{folder} is in use by {_noted(descriptor)}; wait for it, or give this run a name=… of its own")
        with writing(folder):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _myself().encode(), 0)
        yield Claim(folder, os.fstat(descriptor).st_ino)


@contextmanager
def waited_for(lock: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only one who does what `lock` stands for, once others are done with it; `on_wait` hears that there are such."""
    with _opened(lock) as descriptor:
        if not _locked(descriptor):
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def holder(folder: Path) -> str | None:
    """Who writes in `folder` now; None when nobody does."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # never claimed, or not ours to write
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(descriptor)
    finally:
        os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    """Whether the lock could be had; asked twice, since `holder` has it for a moment."""
    for _ in range(_ASKED):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_BETWEEN_S)
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with writing(path.parent):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _myself() -> str:
    return f"process {os.getpid()} on {platform.node()} ({shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])})"


def _noted(descriptor: int) -> str:
    """What the holder wrote down; it may be about to."""
    with suppress(OSError, UnicodeDecodeError):
        if noted := os.pread(descriptor, 4096, 0).decode("utf-8"):
            return noted
    return "another process"
