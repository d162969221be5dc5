"""Files and folders that are either whole or absent: written under a temporary name, synced, renamed.

A kill at any instant leaves what was there before, or what was to come, and perhaps something named `.….tmp`, which nobody reads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reasoning_rl.errors import StorageError


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary neighbour of `path`, then put it in place at once. StorageError names what failed."""
    temporary = temporary_name(path)
    try:
        with writing(path):
            make_folder(path.parent)
            write(temporary)
            _sync_file(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # where it could not even be begun, there is nothing to remove
            temporary.unlink()
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """StorageError in place of what the system says when a file or folder can't be written."""
    try:
        yield
    except OSError as failure:
        raise StorageError(f"{path} can't be written: {failure.strerror or failure}") from failure


def write_text(path: Path, text: str) -> Path:
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` at the end and takes the place of what was there. OSError when it can't be."""
    temporary = temporary_name(target)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(temporary)
        yield temporary
        _put_in_place(temporary, target)
    finally:  # a signal too may have come in between
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Sync all of a finished folder and give it its name."""
    for path in temporary.rglob("*"):
        if path.is_file():
            _sync_file(path)
        else:
            sync_folder(path)
    sync_folder(temporary)
    discard(target)
    temporary.replace(target)
    sync_folder(target.parent)


def discard(path: Path) -> None:
    """Remove a file or folder if it is there: at once under its own name, so that none is ever half of what it was."""
    rest = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    _remove(rest)  # of an earlier process, whose number this one was given again
    with suppress(FileNotFoundError):
        _remove(path.replace(rest))


def temporary_name(path: Path) -> Path:
    """Under which this process writes what shall be `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def leftovers(folder: Path) -> list[Path]:
    """What interrupted writes and removals left below a folder; nothing inside another of these."""
    found = sorted(path for path in folder.rglob(".*.tmp"))
    return [path for path in found if not any(above in found for above in path.parents)]


def sweep(folder: Path) -> None:
    """Remove these. Only for whoever alone writes there."""
    for path in leftovers(folder):
        _remove(path)


def make_folder(folder: Path) -> None:
    """With those above it, to last."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in it last: without this a power cut may undo a rename whose file is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def storable(text: str) -> str:
    r"""Text that UTF-8 can hold: half a surrogate pair becomes a question mark.

    >>> storable("half \ud83d")
    'half ?'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Hexadecimal SHA-256 of anything JSON can express, keys sorted: the same for equal values on any machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()
