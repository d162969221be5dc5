"""Your own JSONL or parquet files, with your own column names.

The gold is what follows `####` in the answer column, or its last box, or the whole of it; without an answer column, the last box of
the solution.
"""

from collections.abc import Mapping

from reasoning_rl.config import DataConfig
from reasoning_rl.data.gold import after_hashes, gsm8k_number, last_boxed
from reasoning_rl.data.source import RowError
from reasoning_rl.data.tables import shown
from reasoning_rl.data.tabular import Fields, TableSource, label_field, text_field
from reasoning_rl.errors import ConfigError
from reasoning_rl.records import Task
from reasoning_rl.registry import did_you_mean

COLUMNS = ("question", "answer", "solution", "level", "subject")


def required(config: DataConfig) -> tuple[str, ...]:
    """The question, and the answer or at least a solution with the answer in a box."""
    for name in config.columns:
        if name not in COLUMNS:
            raise ConfigError(f"data.columns.{name}: no such field; {did_you_mean(name, list(COLUMNS))}")
    boxed_only = "solution" in config.columns and "answer" not in config.columns
    return (_column(config, "question"), _column(config, "solution" if boxed_only else "answer"))


def parse(values: Mapping[str, object], config: DataConfig) -> Fields:
    solution = _optional(values, _column(config, "solution"))
    answer = _answer(values, config, solution)
    gold, task = _gold(answer, config.task)
    return Fields(
        question=text_field(values, _column(config, "question")),
        gold=gold,
        task=task,
        solution=solution or (answer if answer != gold else ""),
        level=label_field(values, _column(config, "level")),
        subject=label_field(values, _column(config, "subject")),
    )


def _column(config: DataConfig, field: str) -> str:
    return config.columns.get(field, field)


def _optional(values: Mapping[str, object], column: str) -> str:
    return text_field(values, column) if values.get(column) else ""


def _answer(values: Mapping[str, object], config: DataConfig, solution: str) -> str:
    column = _column(config, "answer")
    if values.get(column) is not None or not solution:
        return text_field(values, column, numbers=True)
    if last_boxed(solution) is None:
        raise RowError(f"no gold: no column {column!r}, and no \\boxed{{}} in the solution, which ends in {shown(solution[-40:])}")
    return solution


def _gold(answer: str, task: Task | None) -> tuple[str, Task]:
    """Without `data.task`, an answer with `####` follows GSM8K's convention and any other MATH's."""
    marked = after_hashes(answer)
    if task == "gsm8k" or (task is None and marked is not None):
        number = gsm8k_number(answer if marked is None else marked)
        if number is None:
            raise RowError(f"gold without a number: {shown(marked or answer)}; accepted: one number, with currency, commas or a unit")
        return number, "gsm8k"
    return marked or last_boxed(answer) or answer, "math"


SOURCE = TableSource("files", required, parse)
