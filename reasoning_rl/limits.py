"""What the system lets a process have: memory, open files, a folder to write and lock in."""

import fcntl
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def free_memory(proc: Path = _PROC) -> int | None:
    """Bytes that can be had without swapping; None where the system doesn't say."""
    facts = proc / "meminfo"
    lines = facts.read_text(encoding="ascii").splitlines() if facts.is_file() else []
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else int(kib) * 1024


def group_memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """Bytes that the control groups of this process allow, the least of them; None where none sets a bound."""
    table = proc / "self" / "cgroup"
    found = [file.read_text(encoding="ascii").strip() for file in _bounds(table, groups) if file.is_file()] if table.is_file() else []
    return min((int(bound) for bound in found if bound.isdigit()), default=None)


def _bounds(table: Path, groups: Path) -> Iterator[Path]:
    """Files that may hold one, of version 2 and 1: of the group, and of all that hold it."""
    for line in table.read_text(encoding="utf-8").splitlines():
        _, kinds, group = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root, name = (groups / "memory", "memory.limit_in_bytes") if kinds else (groups, "memory.max")
        place = root / group.lstrip("/")
        yield from (folder / name for folder in (place, *place.parents) if folder.is_relative_to(root))


def open_files() -> int:
    """How many this process may have at a time."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def lasting(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def storage_fault(folder: Path) -> str | None:
    """Why a run could not write there, or not keep others from it; None when it could. Leaves nothing behind."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return _lock_fault(file.fileno())
    except OSError as failure:
        return f"can't be written: {failure.strerror}"


def _lock_fault(file: int) -> str | None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        return f"can't be locked, which keeps two processes from one run: {failure.strerror}"
    return None
