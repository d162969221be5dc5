"""Sources that are tables with a question column: from local files where `data.path` names them, else from the hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reasoning_rl.config import DataConfig
from reasoning_rl.data.hub import HubTable, read_hub
from reasoning_rl.data.source import Loaded, Rejection, Role, Row, RowError
from reasoning_rl.data.tables import RawRow, read_table, shown, split_file
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.files import sha256_of
from reasoning_rl.records import Problem, Task
from reasoning_rl.registry import did_you_mean


@dataclass(frozen=True, slots=True)
class Fields:
    """What a row says of its problem."""

    question: str
    gold: str
    task: Task
    solution: str = ""
    level: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class TableSource:
    """A source whose splits are tables; `parse` is all that tells one from another."""

    name: str
    required: Callable[[DataConfig], tuple[str, ...]]
    """Columns without which no row can be used."""
    parse: Callable[[Mapping[str, object], DataConfig], Fields]
    """RowError says why a row can't be used."""
    hub: Callable[[DataConfig, Role], HubTable] | None = None
    """Where the split lies on the hub; None for a source that has only files."""

    def inputs(self, config: DataConfig) -> dict[str, str]:
        check_settings(config)
        return dict(fingerprint(self._table(config, role)) for role in ("train", "eval"))

    def read(self, config: DataConfig, seed: int) -> Loaded:  # noqa: ARG002  # tables hold no randomness
        check_settings(config)
        broken: list[Rejection] = []
        train = self._split(config, "train", broken)
        return Loaded(train, self._split(config, "eval", broken), broken)

    def _table(self, config: DataConfig, role: Role) -> Path | HubTable:
        path = local_file(config, role)
        if path is not None:
            return path
        if self.hub is None:
            raise DataError(f"data.path: source {self.name!r} reads local files; give a folder with <split>.jsonl or .parquet, or a file")
        return self.hub(config, role)

    def _split(self, config: DataConfig, role: Role, broken: list[Rejection]) -> list[Row]:
        table = self._table(config, role)
        raw = read_table(table) if isinstance(table, Path) else read_hub(table)
        _check_columns(raw, self.required(config))
        rows: list[Row] = []
        for row in raw:
            problem_id = f"{self.name}/{split_name(config, role)}/{row.index}"
            try:
                rows.append(Row(_problem(self._parsed(row, config), problem_id, self.name, split_name(config, role)), row.where))
            except RowError as fault:
                if config.strict:
                    raise DataError(f"{row.where}: {fault}. Set data.strict=false to go on without such rows") from fault
                broken.append(Rejection(role, problem_id, row.where, "row", str(fault)))
        return rows

    def _parsed(self, row: RawRow, config: DataConfig) -> Fields:
        if row.fault:
            raise RowError(row.fault)
        return self.parse(row.values, config)


def check_settings(config: DataConfig) -> None:
    """ConfigError when both splits are one."""
    if config.train_split == config.eval_split:
        raise ConfigError(f"data.eval_split: {config.eval_split!r} is the training split too; held-out problems need a split of their own")


def split_name(config: DataConfig, role: Role) -> str:
    return config.train_split if role == "train" else config.eval_split


def local_file(config: DataConfig, role: Role) -> Path | None:
    """The file that the settings name for a split; None when they name none."""
    if role == "eval" and config.eval_path is not None:
        return config.eval_path
    if config.path is None:
        return None
    if config.path.is_dir() or not config.path.suffix:
        return split_file(config.path, split_name(config, role), f"data.{role}_split")
    if role == "eval":
        raise DataError(f"data.eval_path: data.path is the file {config.path}; name the file with the held-out problems as well")
    return config.path


def text_field(values: Mapping[str, object], column: str, *, numbers: bool = False) -> str:
    """A filled text, stripped; numbers count as texts where asked. RowError says what was found instead."""
    if column not in values:
        raise RowError(f"column {column!r} is missing; {did_you_mean(column, list(values))}")
    value = values[column]
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str):
        raise RowError(f"column {column!r} holds {shown(value)} ({type(value).__name__}); a text is accepted")
    if not value.strip():
        raise RowError(f"column {column!r} is empty; a text is accepted")
    return value.strip()


def label_field(values: Mapping[str, object], column: str) -> str:
    """A level or subject as text, empty where there is none: `5.0` and `Level 5` are `5`."""
    value = values.get(column)
    if isinstance(value, int | float):
        return number_text(value)
    return str(value).removeprefix("Level ").strip() if value is not None else ""


def number_text(value: float) -> str:
    """A whole number without a decimal point.

    >>> number_text(5.0), number_text(2.5)
    ('5', '2.5')
    """
    return str(int(value)) if float(value).is_integer() else str(value)


def _problem(fields: Fields, problem_id: str, source: str, split: str) -> Problem:
    return Problem(
        id=problem_id,
        source=source,
        split=split,
        question=fields.question,
        gold=fields.gold,
        solution=fields.solution,
        task=fields.task,
        level=fields.level,
        subject=fields.subject,
    )


def _check_columns(rows: list[RawRow], required: tuple[str, ...]) -> None:
    """One missing column is one mistake, not one per row."""
    readable = [row for row in rows if not row.fault]
    if not readable:
        raise DataError(f"{rows[0].where}: {rows[0].fault}; none of the {len(rows)} rows can be read")
    seen = {column for row in readable for column in row.values}
    for column in required:
        if column not in seen:
            place = readable[0].where.rpartition(":")[0]
            raise DataError(f"{place}: column {column!r} is missing; {did_you_mean(column, sorted(seen))}")


def fingerprint(table: Path | HubTable) -> tuple[str, str]:
    """A table's name and its revision or SHA-256. DataError when the file is absent or can't be read."""
    if isinstance(table, HubTable):
        return table.name, table.revision
    if not table.is_file():
        raise DataError(f"{table}: there is no such file")
    try:
        return str(table), sha256_of(table)
    except OSError as failure:
        raise DataError(f"{table} can't be read: {failure.strerror}") from failure
