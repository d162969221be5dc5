"""Rows of JSONL and parquet files, each with its place; what can't be read is a row with a fault."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reasoning_rl.errors import DataError
from reasoning_rl.registry import did_you_mean

SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it stands in the file."""

    index: int
    """From 0, broken rows counted: a repaired file keeps its ids."""
    where: str
    values: Mapping[str, object] = field(default_factory=dict)
    fault: str = ""
    """Why the row can't be read; empty when it can."""


def read_table(path: Path) -> list[RawRow]:
    """All rows of a file. DataError when it is absent, unreadable, empty or of another kind."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; a {' or '.join(SUFFIXES)} file is expected")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: {path.suffix or 'no suffix'} is not a table; accepted: {', '.join(SUFFIXES)}")
    rows = list(_json_lines(path) if path.suffix == ".jsonl" else _parquet(path))
    if not rows:
        raise DataError(f"{path}: the file holds no rows; a split needs at least one problem")
    return rows


def split_file(folder: Path, split: str, setting: str) -> Path:
    """The file of a split in a folder; DataError names the splits that are there."""
    if not folder.is_dir():
        raise DataError(f"data.path: there is no folder or file {folder}")
    for suffix in SUFFIXES:
        if (path := folder / f"{split}{suffix}").is_file():
            return path
    there = sorted({path.stem for path in folder.iterdir() if path.suffix in SUFFIXES})
    raise DataError(f"{setting}: {folder} holds no {split}.jsonl or {split}.parquet; {did_you_mean(split, there)}")


def shown(value: object, length: int = 60) -> str:
    """A value as an error message quotes it.

    >>> shown("x" * 100, 10)
    "'xxxxxx..."
    """
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."


def _json_lines(path: Path) -> Iterator[RawRow]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as failure:
        raise DataError(f"{path} can't be read: {failure.strerror}") from failure
    filled = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    for index, (number, line) in enumerate(filled):
        yield _json_row(index, f"{path}:{number}", line)


def _json_row(index: int, where: str, line: bytes) -> RawRow:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as failure:
        return RawRow(index, where, fault=f"not UTF-8: {failure.reason} at byte {failure.start + 1}")
    except json.JSONDecodeError as failure:
        return RawRow(index, where, fault=f"broken JSON: {failure.msg} at column {failure.colno}")
    except RecursionError:
        return RawRow(index, where, fault="broken JSON: nested too deeply")
    if not isinstance(value, dict):
        return RawRow(index, where, fault=f"found {shown(value)}; a JSON object with the columns as keys is accepted")
    return RawRow(index, where, value)


def _parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as failure:
        raise DataError(f"{path} can't be read as parquet: {failure}") from failure
    for index, values in enumerate(table.to_pylist()):
        yield RawRow(index, f"{path}:{index + 1}", values)
