"""samples.parquet and problems.parquet: what was sampled and how it was judged, one row per answer and one per problem."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from reasoning_rl.errors import StorageError
from reasoning_rl.eval.passk import plurality
from reasoning_rl.files import digest, write_whole
from reasoning_rl.records import Completion, Group, Verdict

Kind = Literal["sampled", "greedy"]
Row = dict[str, object]

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
    "gold": "string",
    "level": "string",
    "subject": "string",
    "prompt_hash": "string",
}
"""Of samples.parquet, with their Arrow types; `score_<verifier>` columns (float64) follow."""


def sample_rows(group: Group, kind: Kind) -> list[Row]:
    """One row per answer."""
    prompt_hash = digest(group.prompt.text)[:16]
    judged = zip(group.completions, group.verdicts, strict=True)
    return [
        _sample_row(group, index, completion, verdict) | {"kind": kind, "prompt_hash": prompt_hash}
        for index, (completion, verdict) in enumerate(judged)
    ]


def _sample_row(group: Group, index: int, completion: Completion, verdict: Verdict) -> Row:
    problem, judgement = group.prompt.problem, verdict.judgement
    return {
        "problem_id": problem.id,
        "sample": index,
        "completion": completion.text,
        "tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "reward": verdict.reward,
        "correct": verdict.correct,
        "strict": verdict.strict,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "answer": judgement.answer,
        "gold": problem.gold,
        "level": problem.level,
        "subject": problem.subject,
    } | {f"score_{name}": score.value for name, score in verdict.scores.items()}


def problem_row(group: Group, greedy: Group | None) -> Row:
    """The counts behind the estimators, of the sampled answers; the greedy one apart, None where there is none."""
    problem, n = group.prompt.problem, len(group.completions)
    correct = sum(verdict.correct for verdict in group.verdicts)
    return {
        "problem_id": problem.id,
        "n": n,
        "c": correct,
        "c_strict": sum(verdict.strict for verdict in group.verdicts),
        "p": correct / n,
        "greedy_correct": greedy.verdicts[0].correct if greedy else None,
        "tokens": sum(len(completion.token_ids) for completion in group.completions) / n,
        "truncated": sum(completion.finish_reason == "length" for completion in group.completions) / n,
        "maj": majority(group.verdicts),
        "level": problem.level,
        "subject": problem.subject,
        "question": problem.question,
        "gold": problem.gold,
    }


def majority(verdicts: Sequence[Verdict]) -> float:
    """maj@n, credit of the vote of all answers: right ones vote together, wrong ones by their text, an answer not found abstains."""
    wrong = [verdict.judgement.answer for verdict in verdicts if not verdict.correct]
    votes = Counter(answer.strip() for answer in wrong if answer is not None)
    return plurality(sum(verdict.correct for verdict in verdicts), list(votes.values()))


class SamplesFile:
    """samples.parquet, written piece by piece beside its place and put there when the block ends well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._writer: Any = None

    def write(self, rows: Sequence[Row]) -> None:
        """Append a row group. The first one fixes which verifiers have a column. StorageError names what failed."""
        arrow: Any = import_module("pyarrow")
        with self._explained():
            if self._writer is None:
                self._writer = self._opened(arrow.schema(_schema(rows)))
            self._writer.write_table(arrow.Table.from_pylist(list(rows), schema=self._writer.schema))

    def _opened(self, schema: object) -> object:
        parquet: Any = import_module("pyarrow.parquet")  # untyped, as pyarrow is
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        return parquet.ParquetWriter(self._partial, schema)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            raise StorageError(f"{self._path} can't be written: {failure.strerror or failure}") from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                with self._explained():
                    self._writer.close()
                if kind is None:
                    write_whole(self._path, self._partial.replace)
        finally:
            with suppress(OSError):  # a folder that can't be written was reported above
                self._partial.unlink()


def _schema(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Given outright, since a first piece may hold nothing but missing answers."""
    scores = dict.fromkeys(column for row in rows for column in row if column.startswith("score_"))
    return [*COLUMNS.items(), *((column, "float64") for column in scores)]
