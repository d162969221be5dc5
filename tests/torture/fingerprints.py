"""What a run leaves, as digests: two runs of one recipe and seed must have the same, however often they were stopped on the way.

Left out is what tells of the process and not of the run: seconds and memory in metrics.jsonl, the moment at which a report was written,
environment.json, resumed.jsonl, and the files of locks. All else counts byte for byte, in the run's folder and in the cache beside it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from reasoning_rl.files import digest

_TIMINGS = ("seconds/", "step_time", "tokens_per_second", "sample/tokens_per_second", "memory/", "cluster/")
_OF_THE_PROCESS = ("environment.json", "resumed.jsonl")
_QUOTE_MOMENTS = (".json", ".md", ".html")
MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def fingerprint(run: Path) -> dict[str, str]:
    """SHA-256 by path relative to the folder of runs, of every file of `run` and of the cache, those of interrupted writes too."""
    runs = run.parent
    files = sorted(path for folder in (run, runs / "cache") for path in folder.rglob("*") if path.is_file() and _counts(path))
    return {path.relative_to(runs).as_posix(): hashlib.sha256(_told(path)).hexdigest() for path in files}


def summary(digests: Mapping[str, str]) -> str:
    """One digest for all of them."""
    return digest(dict(digests))


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """A line for each file that is not the same, or not there, in both.

    >>> difference({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    ['a: only in the first', 'b: differs', 'c: only in the second']
    """
    names = sorted(one.keys() | other.keys())
    return [f"{name}: {_how(name, one, other)}" for name in names if one.get(name) != other.get(name)]


def _how(name: str, one: Mapping[str, str], other: Mapping[str, str]) -> str:
    if name in one and name in other:
        return "differs"
    return "only in the first" if name in one else "only in the second"


def _counts(path: Path) -> bool:
    return path.name not in _OF_THE_PROCESS and path.suffix != ".lock" and path.name != ".lock"


def _told(path: Path) -> bytes:
    """The bytes that count."""
    if path.name == "metrics.jsonl":
        return b"".join(_untimed(line) for line in path.read_bytes().splitlines(keepends=True))
    written = path.read_bytes()
    return MOMENT.sub(b"(when)", written) if path.suffix in _QUOTE_MOMENTS else written


def _untimed(line: bytes) -> bytes:
    """A row without the columns of time and memory; as it stands where a kill tore it."""
    try:
        row = json.loads(line)
    except ValueError:
        return line
    return json.dumps({name: value for name, value in row.items() if not name.startswith(_TIMINGS)}).encode() + b"\n"
