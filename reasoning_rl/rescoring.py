"""Answers in a file, to be judged again: JSONL or parquet with the columns `completion`, `gold` and perhaps `task`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from reasoning_rl.errors import DataError
from reasoning_rl.records import Task
from reasoning_rl.registry import did_you_mean

_NEEDED = ("completion", "gold")


@dataclass(frozen=True)
class Answer:
    """A completion and the gold it is judged by."""

    completion: str
    gold: str
    task: Task


def read_answers(path: Path, task: Task) -> Iterator[Answer]:
    """The rows in order; `task` holds for those that name none. DataError says which file, row and column."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; give JSONL or parquet with the columns {' and '.join(_NEEDED)}")
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _jsonl_rows(path)
    return (_answer(row, where, task) for where, row in rows)


def _answer(row: Mapping[str, Any], where: str, task: Task) -> Answer:
    for name in _NEEDED:
        if row.get(name) is None:
            raise DataError(f"{where}: no column {name!r}; {did_you_mean(name, list(row))}")
    named = row.get("task") or task
    if named not in get_args(Task):
        raise DataError(f"{where}: task: found {named!r}; it should be {' or '.join(get_args(Task))}")
    return Answer(str(row["completion"]), str(row["gold"]), named)


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}:{number}", _object(line, f"{path}:{number}")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as failure:
        raise DataError(f"{where}: not JSON: {failure.msg} at column {failure.colno}") from failure
    if not isinstance(row, dict):
        raise DataError(f"{where}: found {type(row).__name__}; a line is a JSON object")
    return row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as failure:
        raise DataError(f"{path}: not a parquet file: {failure}") from failure
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row
