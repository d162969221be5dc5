"""verl's reward functions, `compute_score(data_source, solution_str, ground_truth, extra_info=None)`, as verifiers.

verl takes a number, or a dict whose `score` is one, and writes the rest of the dict to its logs; here it becomes the reason. The value is
taken as it is, outside [0, 1] too. `data_source` is the problem's source (`gsm8k`) unless the recipe's option of that name says otherwise
(`openai/gsm8k`): functions branch on it.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import SupportsFloat

from reasoning_rl.records import Completion, Problem, Score

MARKS = frozenset(["solution_str"])
"""The parameter by which such a function is known."""
GIVEN = frozenset(["solution_str", "ground_truth", "extra_info"])
"""What no option can say."""


def from_verl(function: Callable[..., object]) -> Callable[..., Score]:
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())

    def called(completion: Completion, problem: Problem, **options: object) -> Score:
        given = {**_arguments(completion, problem), **options}
        return _score(function(**{name: value for name, value in given.items() if takes_any or name in parameters}))

    return called


def _arguments(completion: Completion, problem: Problem) -> dict[str, object]:
    """What verl would pass; `extra_info` has the keys of its data sets' preparation."""
    return {
        "data_source": problem.source,
        "solution_str": completion.text,
        "ground_truth": problem.gold,
        "extra_info": {
            "index": problem.id,
            "split": problem.split,
            "question": problem.question,
            "answer": problem.solution or problem.gold,
            "level": problem.level,
            "subject": problem.subject,
        },
    }


def _score(result: object) -> Score:
    found, facts = (result.get("score"), result) if isinstance(result, Mapping) else (result, {})
    if not isinstance(found, SupportsFloat):
        raise TypeError(f"expected a number, or a dict with a number as 'score', got {result!r:.80}")
    value = float(found)
    if not math.isfinite(value):
        raise ValueError(f"the reward is {value}")
    said = ", ".join(f"{name} {fact!s:.80}" for name, fact in facts.items() if name != "score")
    return Score(value, reason=said[:300], method="verl")
