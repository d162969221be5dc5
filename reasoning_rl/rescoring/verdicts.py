"""Verdicts as a parquet file: written row group by row group, so that it never has to be held as a whole."""

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Literal, Self

from reasoning_rl.errors import StorageError
from reasoning_rl.files import storable, write_whole, writing
from reasoning_rl.records import Score
from reasoning_rl.rescoring.answers import IDENTITY
from reasoning_rl.rescoring.tally import Judged

Against = Literal["nothing", "label", "verifier"]
Schema = list[tuple[str, str]]
"""Columns with their Arrow types."""
_SAID: Schema = [
    ("verdict", "string"), ("value", "float64"), ("strict", "float64"), ("reason", "string"), ("answer", "string"),
    ("gold", "string"), ("method", "string"), ("seconds", "float64"),
]  # fmt: skip
_LABEL: Schema = [("against", "float64")]
_OTHER: Schema = [*_LABEL, ("against_verdict", "string"), ("against_answer", "string"), ("against_reason", "string")]


def schema(columns: Sequence[str], verifiers: Sequence[str], against: Against) -> Schema:
    """What the file holds of answers with these columns, judged by these verifiers."""
    identity = [(name, "string" if kind is str else "int64") for name, kind in IDENTITY.items() if name in columns]
    scores = [(f"score_{name}", "float64") for name in verifiers]
    reward = [("reward", "float64")] if verifiers else []
    other = {"nothing": [], "label": _LABEL, "verifier": _OTHER}[against]
    return [("file", "string"), ("row", "int64"), *identity, *_SAID, *scores, *reward, *other]


def row(judged: Judged) -> dict[str, object]:
    """One row, under more names than every schema has."""
    score, other = judged.score, judged.other
    said = {name: _plain(getattr(score, name)) for name, _ in _SAID}
    scores = {f"score_{name}": each.value for name, each in judged.verdict.scores.items()}
    return {
        "file": judged.answer.file,
        "row": judged.answer.row,
        **{name: _plain(value) for name, value in judged.answer.identity.items()},
        **said,
        "gold": _plain(judged.answer.problem.gold),
        **scores,
        "reward": judged.verdict.reward,
        **(_of_other(other) if other else {}),
    }


def _of_other(score: Score) -> dict[str, object]:
    return {"against": score.value} | {f"against_{name}": _plain(getattr(score, name)) for name in ("verdict", "answer", "reason")}


def _plain(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


class VerdictsFile:
    """Grows beside its place and is put there when the block ends well; else what was written stays beside it, whole, as `partial`."""

    def __init__(self, path: Path, columns: Schema) -> None:
        self._path, self._columns = path, columns
        self._growing = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._writer: Any = None
        self._rows = 0
        self.partial: Path | None = None
        """What is left of a block that failed; None where it wrote nothing, or ended well."""

    def write(self, judged: Sequence[Judged]) -> None:
        """Append a row group. StorageError names what failed."""
        arrow: Any = import_module("pyarrow")  # untyped, as pyarrow is
        with writing(self._path):
            self._writer.write_table(arrow.Table.from_pylist([row(each) for each in judged], schema=self._writer.schema))
        self._rows += len(judged)

    def __enter__(self) -> Self:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        with writing(self._path):
            self._growing.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(self._growing, arrow.schema(self._columns))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with writing(self._path):
                self._writer.close()
            if kind is None:
                write_whole(self._path, self._growing.replace)
            elif self._rows:
                self.partial = write_whole(self._path.with_suffix(f".partial{self._path.suffix}"), self._growing.replace)
        finally:
            with suppress(OSError):  # it was moved, or could not even be begun
                self._growing.unlink()


def refuse_unwritable(path: Path) -> None:
    """StorageError where no file can be put in this place; a folder for it is made."""
    if path.is_dir():
        raise StorageError(f"{path} can't be written: it is a folder")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.parent).close()
