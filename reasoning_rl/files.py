"""Files that are either whole or absent: written under a temporary name, synced, renamed."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reasoning_rl.errors import StorageError


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary neighbour of `path`, then put it in place at once. StorageError names what failed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as failure:
        raise StorageError(f"{path} can't be written: {failure.strerror or failure}") from failure
    finally:
        with suppress(OSError):  # where it could not even be begun, there is nothing to remove
            temporary.unlink()
    return path


def write_text(path: Path, text: str) -> Path:
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> Path:
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


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
