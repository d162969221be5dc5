"""Some answers of a policy, drawn at random from each outcome. The file is streamed: only what is shown is held."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reasoning_rl.errors import StorageError
from reasoning_rl.eval.page.content import PolicyPage
from reasoning_rl.eval.page.text import shortened

if TYPE_CHECKING:
    import pandas as pd

EACH = 3
"""Examples of an outcome."""
SEED = 0
COMPLETION, ANSWER = 4000, 600
"""Characters shown of a completion, and of anything else."""
COLUMNS = ("problem_id", "sample", "completion", "tokens", "finish_reason", "reward", "strict", "reason", "answer", "gold")
BATCH = 65_536


@dataclass(frozen=True, slots=True)
class Example:
    """An answer with what was made of it."""

    problem: str
    sample: int
    question: str
    completion: str
    answer: str | None
    gold: str
    reason: str
    reward: float
    tokens: int
    cut_off: bool
    strict: bool


def examples(policy: PolicyPage) -> dict[str, list[Example]]:
    """Up to three sampled answers of each outcome, right ones first: the same for the same file. StorageError when it can't be read."""
    parquet: Any = import_module("pyarrow.parquet")
    try:
        with parquet.ParquetFile(policy.samples) as file:
            drawn = _drawn(file)
            rows = _rows(file, {row for chosen in drawn.values() for row in chosen})
    except (OSError, ValueError) as failure:  # pyarrow's errors of damaged files are ValueErrors
        raise StorageError(f"{policy.samples}: the answers can't be read ({failure}); the eval stage writes them") from failure
    questions = _questions(policy.problems, [row["problem_id"] for row in rows.values()])
    order = sorted(drawn, key=lambda outcome: (outcome != "correct", outcome))
    return {outcome: [_example(rows[row], questions) for row in drawn[outcome]] for outcome in order}


def _drawn(file: Any) -> dict[str, list[int]]:
    """For each outcome the rows that are shown, in the order of the file. Each sampled answer draws a number, and the lowest are kept."""
    import numpy as np

    random, start = np.random.default_rng(SEED), 0
    lots: dict[str, list[tuple[float, int]]] = {}
    for batch in file.iter_batches(BATCH, columns=["kind", "verdict"]):
        table = batch.to_pandas()
        table["lot"] = random.random(len(table))
        for outcome, rows in table[table["kind"] == "sampled"].groupby("verdict"):
            lowest = rows["lot"].nsmallest(EACH)
            found = [(float(lot), start + int(row)) for row, lot in lowest.items()]
            lots[str(outcome)] = sorted([*lots.get(str(outcome), ()), *found])[:EACH]
        start += len(table)
    return {outcome: sorted(row for _, row in found) for outcome, found in lots.items()}


def _rows(file: Any, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """By their place in the file; groups of rows without one of them aren't read."""
    found: dict[int, dict[str, Any]] = {}
    for group, start, length in _groups(file):
        inside = sorted(row for row in wanted if start <= row < start + length)
        if inside:
            table = file.read_row_group(group, columns=list(COLUMNS)).take([row - start for row in inside])
            found |= dict(zip(inside, table.to_pylist(), strict=True))
    return found


def _groups(file: Any) -> Iterator[tuple[int, int, int]]:
    """Number, first row and length of each group of rows."""
    start = 0
    for group in range(file.num_row_groups):
        length = file.metadata.row_group(group).num_rows
        yield group, start, length
        start += length


def _questions(problems: "pd.DataFrame", ids: Sequence[str]) -> Mapping[str, str]:
    chosen = problems[problems["problem_id"].isin(ids)]
    return dict(zip(chosen["problem_id"], chosen["question"], strict=True))


def _example(row: Mapping[str, Any], questions: Mapping[str, str]) -> Example:
    return Example(
        problem=row["problem_id"],
        sample=row["sample"],
        question=shortened(questions.get(row["problem_id"], ""), ANSWER),
        completion=shortened(row["completion"], COMPLETION),
        answer=None if row["answer"] is None else shortened(row["answer"], ANSWER),
        gold=shortened(row["gold"], ANSWER),
        reason=shortened(row["reason"] or "", ANSWER),
        reward=row["reward"],
        tokens=row["tokens"],
        cut_off=row["finish_reason"] == "length",
        strict=bool(row["strict"]),
    )
