"""Stored answers, one by one: of a run, of an evaluation, or of any JSONL or parquet file with completions and golds."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from reasoning_rl.data.store import load_prompts
from reasoning_rl.data.tables import shown
from reasoning_rl.errors import DataError
from reasoning_rl.journal import rollout_steps
from reasoning_rl.records import Completion, Outcome, Problem, Task
from reasoning_rl.rescoring.tables import Row, Table, table

IDENTITY: Mapping[str, type] = {"id": str, "problem_id": str, "step": int, "group": int, "sample": int, "kind": str}
"""Columns that say which answer it is, with their types; those that a file has come back with its verdicts."""
_OF_PROBLEM = ("question", "solution", "level", "subject", "source", "split")
_LABELS = {"true": 1.0, "false": 0.0, **{outcome: float(outcome == "correct") for outcome in get_args(Outcome)}}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file hold what."""

    completion: str = "completion"
    gold: str = "gold"
    label: str | None = None
    """What the verdicts are compared with."""
    tokens: bool = True
    """Whether token ids are read, where there are any: they are long, and the verifiers of answers don't look at them."""
    counting: Sequence[str] = ()
    """Verifiers that count tokens: if there are any, every row needs the ids."""

    @property
    def wanted(self) -> set[str]:
        plain = {self.completion, self.gold, "task", "prompt", "finish_reason", *IDENTITY, *_OF_PROBLEM}
        return plain | ({"token_ids"} if self.tokens or self.counting else set()) | ({self.label} if self.label else set())

    @property
    def needed(self) -> dict[str, str]:
        """Names of the columns that must be there, with what to say where they are not."""
        texts = {self.completion: "--completion-column names another", self.gold: "--gold-column names another"}
        label = {self.label: "--against names it"} if self.label else {}
        tokens = {"token_ids": f"{' and '.join(self.counting)} can't count tokens without it; a run's rollouts have it"}
        return texts | label | (tokens if self.counting else {})


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer with its problem."""

    completion: Completion
    problem: Problem
    file: str
    row: int
    """In the file, from 1; of JSONL the line."""
    identity: Mapping[str, str | int | None] = field(default_factory=dict)
    label: float | None = None
    """Above 1/2 for right; None where the file says nothing."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to judge."""

    answers: int
    tasks: frozenset[Task]


@dataclass(frozen=True)
class Answers:
    """All answers of several files."""

    tables: Sequence[Table]
    columns: Columns = field(default_factory=Columns)
    task: Task | None = None
    """Of all rows; None takes the row's own, or else that of the problem in the run's data, or else `math`."""

    def survey(self) -> Survey:
        """All of them read once: that is cheap beside judging, and finds a broken row before hours are spent. Raises what reading does."""
        tasks = Counter(answer.problem.task for answer in replace(self, columns=replace(self.columns, tokens=False)))
        return Survey(tasks.total(), frozenset(tasks))

    def __iter__(self) -> Iterator[Answer]:
        """In order. DataError says which file, row and column."""
        problems_of = cache(_problems_of)
        for each in self.tables:
            problems = problems_of(_data_beside(each.path))
            for row in each.rows(self.columns.wanted, self.columns.needed):
                yield self._answer(row, str(each.path), problems)

    def _answer(self, row: Row, file: str, problems: Mapping[str, Problem]) -> Answer:
        completion = Completion(
            text=_text(row, self.columns.completion),
            token_ids=_token_ids(row, needed=bool(self.columns.counting)),
            finish_reason="length" if row.values.get("finish_reason") == "length" else "stop",
        )
        label = _label(row, self.columns.label) if self.columns.label else None
        identity = {name: _as(kind, row.values[name]) for name, kind in IDENTITY.items() if name in row.values}
        return Answer(completion, self._problem(row, problems), file, row.number, identity, label)

    def _problem(self, row: Row, problems: Mapping[str, Problem]) -> Problem:
        """The one it was sampled for, where that is known; its gold as the row has it."""
        name, gold = str(row.values.get("problem_id") or row.values.get("id") or row.number), _text(row, self.columns.gold)
        if known := problems.get(name):
            return replace(known, gold=gold, task=self.task or _task(row, known.task))
        facts = {field: str(row.values.get(field) or "") for field in _OF_PROBLEM}
        facts["question"] = facts["question"] or str(row.values.get("prompt") or "")
        return Problem(id=name, gold=gold, task=self.task or _task(row, "math"), **facts)


def tables_of(places: Sequence[Path]) -> list[Table]:
    """The files that are meant: files as they are, of a run's folder its rollouts, of an evaluation's its samples. DataError for others."""
    return [table(path) for place in places for path in _files_of(place)]


def _files_of(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place}: there is no such file or folder; give JSONL or parquet with completions and golds, or a run's folder")
    rollouts = rollout_steps(place) or (rollout_steps(place.parent) if place.name == "rollouts" else {})
    files = list(rollouts.values()) or [path for path in (place / "samples.parquet",) if path.is_file()]
    if not files:
        raise DataError(f"{place}: neither rollouts/step-*.parquet nor samples.parquet here; give such a folder, or JSONL or parquet files")
    return files


def _data_beside(path: Path) -> Path | None:
    """Of the run that the file belongs to, if there is one: runs/x/rollouts/step-*.parquet, runs/x/eval/base/samples.parquet."""
    folders = (folder / "data" for folder in path.resolve().parents[1:3])
    return next((each for each in folders if (each / "train.parquet").is_file() and (each / "eval.parquet").is_file()), None)


def _problems_of(data: Path | None) -> dict[str, Problem]:
    """By id."""
    prompts = [*load_prompts(data, "train"), *load_prompts(data, "eval")] if data else []
    return {prompt.problem.id: prompt.problem for prompt in prompts}


def _text(row: Row, name: str) -> str:
    value = row.values.get(name)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise DataError(f"{row.where}: {name}: found {shown(value)}; text or a number is accepted")
    return str(value)


def _token_ids(row: Row, *, needed: bool) -> tuple[int, ...]:
    found = row.values.get("token_ids")
    if not isinstance(found, list) and (needed or found is not None):
        raise DataError(f"{row.where}: token_ids: found {shown(found)}; a list of numbers is accepted")
    return tuple(found or ())


def _task(row: Row, otherwise: Task) -> Task:
    named: Any = row.values.get("task") or otherwise
    if named not in get_args(Task):
        known = " and ".join(get_args(Task))
        raise DataError(f"{row.where}: task: found {shown(named)}; {known} are accepted. --task math judges all rows as math")
    task: Task = named
    return task


def _label(row: Row, name: str) -> float | None:
    value = row.values.get(name)
    if value is None or value == "scored":  # a verdict that says neither
        return None
    try:
        number = _LABELS[value] if isinstance(value, str) and value in _LABELS else float(value)
    except (TypeError, ValueError):
        accepted = "a number, true or false, or a verdict such as correct is accepted"
        raise DataError(f"{row.where}: {name}: found {shown(value)}; {accepted}") from None
    return None if math.isnan(number) else number


def _as(kind: type, value: object) -> str | int | None:
    if value is None:
        return None
    if kind is str:
        return str(value)
    return int(value) if isinstance(value, int | float) and value == value // 1 else None
