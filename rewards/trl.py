"""TRL's reward functions, `f(prompts, completions, **columns) -> list[float | None]`, as verifiers.

TRL passes lists of equal length: `prompts`, `completions`, `completion_ids`, and every column of the data set by its name. Here the lists
have one member each. The value is taken as it is, outside [0, 1] too; None means that the function has nothing to say of this completion,
and counts nothing.
"""

import inspect
import math
from collections.abc import Callable

from reasoning_rl.records import Completion, Problem, Score

MARKS = frozenset(["completions", "completion_ids"])
"""Parameters by which such a function is known, in the plural."""


def from_trl(function: Callable[..., object]) -> Callable[..., Score]:
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())

    def called(completion: Completion, problem: Problem, **options: object) -> Score:
        given = {**columns(completion, problem), **options}
        result = function(**{name: value for name, value in given.items() if takes_any or name in parameters})
        return _score(result)

    return called


def columns(completion: Completion, problem: Problem) -> dict[str, object]:
    """What TRL would pass; the gold goes by the names that data sets give it."""
    return {
        "prompts": [problem.question],
        "completions": [completion.text],
        "completion_ids": [list(completion.token_ids)],
        "question": [problem.question],
        "problem": [problem.question],
        "solution": [problem.gold],
        "answer": [problem.gold],
        "gold": [problem.gold],
        "ground_truth": [problem.gold],
        "worked_solution": [problem.solution],
        "level": [problem.level],
        "subject": [problem.subject],
        "source": [problem.source],
    }


def _score(result: object) -> Score:
    if not isinstance(result, list | tuple) or len(result) != 1:
        raise TypeError(f"expected a list of one reward, got {result!r:.80}")
    if result[0] is None:
        return Score(0.0, reason="not applicable", method="trl")
    value = float(result[0])
    if not math.isfinite(value):
        raise ValueError(f"the reward is {value}")
    return Score(value, method="trl")
