"""samples.parquet and problems.parquet: what was sampled and how it was judged, one row per answer and one per problem.

Answers are stored piece by piece while they are sampled, so that an evaluation that was stopped goes on with what is missing, and however
many there are, only a piece of them is in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reasoning_rl.eval.classes import NONE, RIGHT, answer_classes
from reasoning_rl.files import digest, discard, sha256_of, storable, write_text, write_whole
from reasoning_rl.records import Completion, Group, Problem, Verdict

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["sampled", "greedy"]
Row = dict[str, Any]

COLUMNS: Mapping[str, str] = {
    "problem_id": "string",
    "sample": "int32",
    "kind": "string",
    "completion": "string",
    "tokens": "int32",
    "finish_reason": "string",
    "reward": "float64",
    "correct": "bool",
    "strict": "bool",
    "verdict": "string",
    "reason": "string",
    "answer": "string",
    "answer_class": "int32",
    "gold": "string",
    "level": "string",
    "subject": "string",
    "prompt_hash": "string",
}
"""Of samples.parquet, with their Arrow types; `score_<verifier>` columns (float64) follow."""
_IDENTITY = b"evaluation"
"""In the metadata of stored answers: what they are the answers of."""
PROBLEM_COLUMNS = (
    "problem_id", "n", "c", "c_strict", "p", "greedy_correct", "reward", "tokens", "truncated", "truncated_c", "votes", "tiers_n",
    "tiers_c", "lengths_n", "lengths_c", "level", "subject", "steps", "question", "gold",
)  # fmt: skip
"""Of problems.parquet; `maj@k` follow."""
_LISTS = ("votes", "tiers_n", "tiers_c", "lengths_n", "lengths_c")
"""Columns of problems.parquet that hold a list of whole numbers."""


def sample_rows(group: Group, kind: Kind) -> list[Row]:
    """One row per answer."""
    common = {"kind": kind, "prompt_hash": digest(group.prompt.text)[:16]}
    judgements = [verdict.judgement for verdict in group.verdicts]
    classes = answer_classes([each.answer for each in judgements], [verdict.correct for verdict in group.verdicts])
    judged = zip(group.completions, group.verdicts, classes, strict=True)
    return [
        _sample_row(group.prompt.problem, index, completion, verdict) | {"answer_class": number} | common
        for index, (completion, verdict, number) in enumerate(judged)
    ]


def _sample_row(problem: Problem, index: int, completion: Completion, verdict: Verdict) -> Row:
    judgement = verdict.judgement
    return {
        "problem_id": problem.id,
        "sample": index,
        "completion": storable(completion.text),
        "tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "reward": verdict.reward,
        "correct": verdict.correct,
        "strict": verdict.strict,
        "verdict": judgement.verdict,
        "reason": storable(judgement.reason),
        "answer": None if judgement.answer is None else storable(judgement.answer),
        "gold": problem.gold,
        "level": problem.level,
        "subject": problem.subject,
    } | {f"score_{name}": score.value for name, score in verdict.scores.items()}


def problem_row(problem: Problem, rows: Sequence[Row], best_of: str = "reward") -> Row:
    """The counts behind the estimators, of a problem's rows in samples.parquet; the greedy answer apart, None where there is none.

    `best_of` is the column that ranks answers for best@k.
    """
    sampled, greedy = ([row for row in rows if row["kind"] == kind] for kind in ("sampled", "greedy"))
    n, correct = len(sampled), sum(row["correct"] for row in sampled)
    cut = [row for row in sampled if row["finish_reason"] == "length"]
    return {
        "problem_id": problem.id,
        "n": n,
        "c": correct,
        "c_strict": sum(row["strict"] for row in sampled),
        "p": correct / n,
        "greedy_correct": greedy[0]["correct"] if greedy else None,
        "reward": sum(row["reward"] for row in sampled) / n,
        "tokens": sum(row["tokens"] for row in sampled) / n,
        "truncated": len(cut) / n,
        "truncated_c": sum(row["correct"] for row in cut),
        "votes": _votes(sampled),
        **_lists("tiers", _counted(sampled, lambda row: -row[best_of])),
        **_lists("lengths", _filled(_counted(sampled, lambda row: int(row["tokens"]).bit_length() - 1))),
        "level": problem.level,
        "subject": problem.subject,
        "steps": worked_steps(problem),
        "question": problem.question,
        "gold": problem.gold,
    }


def worked_steps(problem: Problem) -> int | None:
    """Calculations in the source's worked solution, which GSM8K marks as `<<48/2=24>>`; None where none is marked."""
    return problem.solution.count("<<") or None


def _votes(rows: Sequence[Row]) -> list[int]:
    """For each wrong answer, the largest class first."""
    found = Counter(row["answer_class"] for row in rows if row["answer_class"] not in {RIGHT, NONE})
    return [found[number] for number in sorted(found)]


def _counted(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, tuple[int, int]]:
    """Answers and right ones among them by key, the smallest key first."""
    parts = {value: list(part) for value, part in groupby(sorted(rows, key=key), key=key)}
    return {value: (len(part), sum(row["correct"] for row in part)) for value, part in parts.items()}


def _filled(counted: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """From 0 to the largest key, with (0, 0) between."""
    return {key: counted.get(key, (0, 0)) for key in range(max(counted) + 1)}


def _lists(name: str, counted: Mapping[Any, tuple[int, int]]) -> Row:
    return {f"{name}_n": [each for each, _ in counted.values()], f"{name}_c": [right for _, right in counted.values()]}


def write_problems(table: "pd.DataFrame", path: Path) -> None:
    """As parquet; the type of lists is stated, since a column of empty ones would have none."""
    arrow, parquet = _arrow()
    inferred = arrow.Table.from_pandas(table, preserve_index=False)
    stated = [field.with_type(arrow.list_(arrow.int32())) if field.name in _LISTS else field for field in inferred.schema]
    parquet.write_table(inferred.cast(arrow.schema(stated, metadata=inferred.schema.metadata)), path)


class Parts:
    """The answers of an evaluation in pieces: files of a folder that bears its identity, then row groups of samples.parquet."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._whole = folder / "samples.parquet"
        self._identity = identity.encode()
        self._folder = folder / f".parts-{identity[:16]}"

    def rows(self, number: int, problems: Sequence[Problem]) -> list[Row] | None:
        """Of a piece; None where it is missing, damaged, or holds the answers to other problems."""
        arrow, _ = _arrow()
        try:
            rows: list[Row] = self._stored(number).to_pylist()
        except (OSError, IndexError, arrow.ArrowException):
            return None
        return rows if list(by_problem(rows)) == [problem.id for problem in problems] else None

    def _stored(self, number: int) -> Any:
        _, parquet = _arrow()
        if self._file(number).exists():
            self._require_whole(self._file(number))
            return parquet.read_table(self._file(number))
        with parquet.ParquetFile(self._whole) as file:
            if (file.schema_arrow.metadata or {}).get(_IDENTITY) != self._identity:
                raise IndexError("samples.parquet is of another evaluation")
            if number >= file.num_row_groups:
                raise IndexError(f"samples.parquet has {file.num_row_groups} pieces")
            return file.read_row_group(number)

    def _require_whole(self, piece: Path) -> None:
        """Parquet itself would read many a flipped bit as another answer."""
        if _sum_of(piece).read_bytes() != sha256_of(piece).encode():
            raise OSError(f"{piece} is not as it was written")

    def write(self, number: int, rows: Sequence[Row]) -> None:
        """Whole or not at all, and with its checksum beside it. StorageError names what failed."""
        arrow, parquet = _arrow()
        table = arrow.Table.from_pylist(list(rows), schema=arrow.schema(_schema(rows), metadata={_IDENTITY: self._identity}))
        piece = write_whole(self._file(number), lambda temporary: parquet.write_table(table, temporary))
        write_text(_sum_of(piece), sha256_of(piece))

    def join(self, count: int) -> None:
        """Make samples.parquet of the first `count` pieces, a row group each, where it is not made of them already."""
        if self._folder.exists():
            write_whole(self._whole, lambda temporary: self._join(count, temporary))

    def remove(self) -> None:
        """These, and those of evaluations that this one takes the place of."""
        for folder in self._whole.parent.glob(".parts-*"):
            discard(folder)

    def _join(self, count: int, path: Path) -> None:
        _, parquet = _arrow()
        with parquet.ParquetWriter(path, self._stored(0).schema) as writer:
            for number in range(count):
                writer.write_table(self._stored(number))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"


def _sum_of(piece: Path) -> Path:
    return piece.with_suffix(".sha256")


def by_problem(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """In the order of the rows."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["problem_id"], []).append(row)
    return found


def _arrow() -> tuple[Any, Any]:
    """Untyped, as pyarrow is."""
    return import_module("pyarrow"), import_module("pyarrow.parquet")


def _schema(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Given outright, since a piece may hold nothing but missing answers."""
    scores = dict.fromkeys(column for row in rows for column in row if column.startswith("score_"))
    return [*COLUMNS.items(), *((column, "float64") for column in scores)]
