"""What a verifier is, and how one gets its name.

A verifier is a function `(completion, problem, **options) -> Score`. It is found by name when its file lies in this folder, when an
installed distribution announces it (entry-point group `reasoning_rl.verifiers`), or as `path/to/file.py:name`. Reward functions written
for TRL are taken as they are.
"""

import inspect
from collections.abc import Callable
from typing import TypeVar

from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Score
from reasoning_rl.registry import Registry
from reasoning_rl.rewards.trl import from_trl, is_trl_style

Verifier = Callable[..., Score]
"""Called with a Completion, a Problem, and the recipe's options as keywords."""

F = TypeVar("F", bound=Callable[..., object])

VERIFIERS: Registry[Callable[..., object]] = Registry(
    "verifier", package="reasoning_rl.rewards", entry_point_group="reasoning_rl.verifiers", error=VerifierError
)


def verifier(name: str, *, judges_answer: bool = False) -> Callable[[F], F]:
    """Decorator: the function is a verifier called `name`. `judges_answer`: its value says whether the answer is right (for pass@k)."""

    def named(function: F) -> F:
        function.__dict__["judges_answer"] = judges_answer
        return VERIFIERS.register(name)(function)  # type: ignore[return-value]  # the registry gives back what it is given

    return named


def judges_answer(function: Callable[..., object]) -> bool:
    return bool(getattr(function, "judges_answer", False))


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


def as_verifier(function: Callable[..., object]) -> Verifier:
    """A function of either style, called as a native verifier."""
    return from_trl(function) if is_trl_style(function) else function  # type: ignore[return-value]  # its result is checked when it is called


def accepted_options(function: Callable[..., object]) -> list[str] | None:
    """Names of the options a verifier takes, None where it takes any."""
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    own = parameters if is_trl_style(function) else parameters[2:]
    return [parameter.name for parameter in own if parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}]
