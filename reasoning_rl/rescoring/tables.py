"""JSONL and parquet files, read a little at a time, so that a file may be larger than the memory."""

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reasoning_rl.data.tables import shown
from reasoning_rl.errors import DataError, first_line
from reasoning_rl.registry import did_you_mean

_ROWS_AT_A_TIME = 1024
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file."""

    number: int
    """From 1; of JSONL the line, empty ones counted."""
    where: str
    values: Mapping[str, Any]


class Table(Protocol):
    """A file of rows."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def columns(self) -> list[str]:
        """Their names; of JSONL those of the first row."""

    def rows(self, wanted: Set[str], needed: Mapping[str, str]) -> Iterator[Row]:
        """Each with the wanted columns and perhaps more. DataError for a broken row, and, with what is said of it, for a needed column."""


def table(path: Path) -> Table:
    """By its suffix; DataError for a file of another kind."""
    match path.suffix.lower():
        case ".parquet":
            return _Parquet(path)
        case ".jsonl" | ".json":
            return _JsonLines(path)
        case suffix:
            raise DataError(f"{path}: found {suffix or 'no suffix'}; JSONL and parquet are read, from .jsonl, .json and .parquet")


@dataclass(frozen=True)
class _JsonLines:
    path: Path

    def columns(self) -> list[str]:
        return list(next(self._rows(), Row(0, "", {})).values)

    def rows(self, wanted: Set[str], needed: Mapping[str, str]) -> Iterator[Row]:  # noqa: ARG002  # a line is read as a whole
        for row in self._rows():
            _require(needed, list(row.values), row.where)
            yield row

    def _rows(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield Row(number, f"{self.path}:{number}", _object(line, f"{self.path}:{number}"))


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as failure:
        raise DataError(f"{where}: not JSON: {failure.msg} at column {failure.colno}") from failure
    except RecursionError:
        raise DataError(f"{where}: not JSON: nested too deeply") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: found {type(row).__name__} {shown(row, 30)}; a line is a JSON object")
    return row


@dataclass(frozen=True)
class _Parquet:
    path: Path

    def columns(self) -> list[str]:
        names: list[str] = self._opened().schema_arrow.names
        return names

    def rows(self, wanted: Set[str], needed: Mapping[str, str]) -> Iterator[Row]:
        _require(needed, self.columns(), str(self.path))
        columns = [name for name in self.columns() if name in wanted]
        for number, values in enumerate(self._values(columns), start=1):
            yield Row(number, f"{self.path}: row {number}", values)

    def _values(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        import pyarrow as pa

        try:
            for batch in self._opened().iter_batches(_ROWS_AT_A_TIME, columns=columns):
                yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as failure:
            raise DataError(f"{self.path}: damaged: {first_line(failure)}") from failure

    def _opened(self) -> Any:
        """Read through a small buffer: a row group, which may be the whole file, is not taken in at once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)
        except (OSError, pa.ArrowException) as failure:
            raise DataError(f"{self.path}: not a parquet file: {first_line(failure)}") from failure


def _require(needed: Mapping[str, str], there: list[str], where: str) -> None:
    for name, hint in needed.items():
        if name not in there:
            raise DataError(f"{where}: no column {name!r}; {did_you_mean(name, there)} {hint}")
