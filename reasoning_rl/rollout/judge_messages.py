"""Items and verdicts as they travel between the judge and its workers: their fields alone.

Pickling the records themselves, field names, setters and all, took the judge as long as all else it does, three times as long as this.
"""

import pickle
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from reasoning_rl.records import Completion, Part, Problem, Score, Verdict

Item = tuple[Completion, Problem]
"""What is judged."""

_of_completion, _of_problem, _of_score = (
    attrgetter(*(field.name for field in fields(record))) for record in (Completion, Problem, Score)
)  # fmt: skip


def pack_items(items: Iterable[Item]) -> bytes:
    return _dumps([(_of_completion(completion), _of_problem(problem)) for completion, problem in items])


def unpack_items(message: bytes) -> list[Item]:
    return [(Completion(*completion), Problem(*problem)) for completion, problem in pickle.loads(message)]


def pack_verdict(verdict: Verdict) -> bytes:
    """Each for itself, so that what can't be pickled in one is found while it is made."""
    scores = [(name, _of_score(score)) for name, score in verdict.scores.items()]
    answer = None if verdict.answer is None else _of_score(verdict.answer)
    parts = [(name, *part) for name, part in verdict.parts.items()]
    return _dumps((verdict.reward, scores, verdict.correct, verdict.strict, answer, parts))


def unpack_verdict(message: bytes) -> Verdict:
    reward, scores, correct, strict, answer, parts = pickle.loads(message)
    return Verdict(
        reward,
        {name: Score(*fields) for name, fields in scores},
        correct,
        strict,
        None if answer is None else Score(*answer),
        {name: Part(*part) for name, *part in parts},
    )


def _dumps(plain: Any) -> bytes:
    return pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)
