"""What a verifier is, and how one gets its name.

A verifier is a function `(completion, problem, **options) -> Score`. It is found by name when its file lies in this folder, when an
installed distribution announces it (entry-point group `reasoning_rl.verifiers`), or as `path/to/file.py:name`. Reward functions written
for TRL or verl are taken as they are (`style.py`).
"""

from collections.abc import Callable
from typing import TypeVar

from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Score
from reasoning_rl.registry import Registry

Verifier = Callable[..., Score]
"""Called with a Completion, a Problem, and the recipe's options as keywords."""

F = TypeVar("F", bound=Callable[..., object])

VERIFIERS: Registry[Callable[..., object]] = Registry(
    "verifier", package="reasoning_rl.rewards", entry_point_group="reasoning_rl.verifiers", error=VerifierError
)


def verifier(
    name: str,
    *,
    judges_answer: bool = False,
    counts_tokens: bool = False,
    scores_steps: bool = False,
    prepare: Callable[..., object] | None = None,
) -> Callable[[F], F]:
    """Decorator: the function is a verifier called `name`.

    `judges_answer`: its value says whether the answer is right (for pass@k). `counts_tokens`: it looks at `token_ids`, so that stored
    answers without them can't be judged. `scores_steps`: it fills in `Score.steps`, for process supervision. `prepare`: called with the
    recipe's options once in each process that judges, before the first deadline runs; what it raises ends the run with a VerifierError.
    """

    def named(function: F) -> F:
        function.__dict__.update(judges_answer=judges_answer, counts_tokens=counts_tokens, scores_steps=scores_steps, prepare=prepare)
        return VERIFIERS.register(name)(function)  # type: ignore[return-value]  # the registry gives back what it is given

    return named


def judges_answer(function: Callable[..., object]) -> bool:
    return bool(getattr(function, "judges_answer", False))


def counts_tokens(function: Callable[..., object]) -> bool:
    return bool(getattr(function, "counts_tokens", False))


def scores_steps(function: Callable[..., object]) -> bool:
    return bool(getattr(function, "scores_steps", False))


def preparation(function: Callable[..., object]) -> Callable[..., object] | None:
    """What the verifier does before it judges, None where it needs nothing."""
    found = getattr(function, "prepare", None)
    return found if callable(found) else None


def find_verifier(name: str, where: str) -> Callable[..., object]:
    """The function called `name` as its author wrote it. VerifierError names the setting `where`."""
    try:
        found = VERIFIERS.get(name, where)
    except VerifierError:
        raise
    except Exception as failure:  # the module behind an entry point may raise anything when it is imported
        raise VerifierError(f"{where}: a verifier's file can't be loaded: {type(failure).__name__}: {failure}") from failure
    if not callable(found):
        raise VerifierError(f"{where}: {name!r} is a {type(found).__name__}; a verifier is a function")
    return found
