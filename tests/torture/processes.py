"""Processes as Linux tells of them in /proc: who descends from whom, and what they hold."""

import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Process:
    """Told from a later one of the same number by when it was started."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """One that has ended and that nobody has asked for its exit code is not."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in "ZX" and fields[_STARTED] == self.started


@dataclass(frozen=True)
class Held:
    """By a process and its descendants, all together."""

    resident_mib: float
    files: int
    processes: int


_STARTED = 19
"""Field 22 of /proc/<pid>/stat, counted from the state, which is the third."""


def descendants(pid: int) -> list[Process]:
    """Of a process, the nearest first; empty when it is gone. Each thread has a list of the children it started."""
    found: list[Process] = []
    for listed in sorted(_PROC.glob(f"{pid}/task/*/children")):
        for child in map(int, _text(listed).split()):
            if fields := _stat(child):
                found += [Process(child, fields[_STARTED]), *descendants(child)]
    return found


def survivors(processes: list[Process], patience_s: float) -> list[Process]:
    """Those that are still alive when `patience_s` is over; returns as soon as there are none."""
    until = time.monotonic() + patience_s
    while alive := [process for process in processes if process.alive]:
        if time.monotonic() > until:
            return alive
        time.sleep(_LOOK_EVERY_S)
    return []


def held(pid: int) -> Held:
    """By a process and its descendants now."""
    pids = [pid, *(process.pid for process in descendants(pid))]
    return Held(sum(map(_resident_mib, pids)), sum(map(_open_files, pids)), len(pids))


def _resident_mib(pid: int) -> float:
    lines = _text(_PROC / str(pid) / "status").splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _open_files(pid: int) -> int:
    try:
        return len(list((_PROC / str(pid) / "fd").iterdir()))
    except OSError:  # it has just ended
        return 0


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on: what stands before is a name, which may hold spaces. None when it is gone."""
    return _text(_PROC / str(pid) / "stat").rpartition(")")[2].split() or None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
