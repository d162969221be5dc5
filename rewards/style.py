"""The three kinds of function that a recipe may name as a verifier, told apart by their parameters, and how each is called."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from reasoning_rl.records import Score
from reasoning_rl.rewards import trl, verl

Adapter = Callable[[Callable[..., object]], Callable[..., Score]]


@dataclass(frozen=True, slots=True)
class Style:
    """How functions of one kind are called."""

    name: Literal["native", "trl", "verl"]
    adapt: Adapter
    """The function as one called with a Completion, a Problem and options."""
    given: frozenset[str] = frozenset()
    """Parameters that the adapter fills and no option may."""

    def options(self, function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
        """The parameters that are options; a native verifier's first two are the completion and the problem."""
        parameters = list(inspect.signature(function).parameters.values())
        own = parameters[2:] if self.name == "native" else [each for each in parameters if each.name not in self.given]
        return {each.name: each for each in own if each.kind in {each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD}}


NATIVE = Style("native", adapt=lambda function: function)  # type: ignore[arg-type,return-value]  # its result is checked when it is called
TRL = Style("trl", trl.from_trl, trl.MARKS | {"prompts"})
VERL = Style("verl", verl.from_verl, verl.GIVEN)


def style_of(function: Callable[..., object]) -> Style:
    """By the names of its parameters: `completions` is TRL's, `solution_str` verl's; one without either is taken for native."""
    try:
        names = inspect.signature(function).parameters.keys()
    except (TypeError, ValueError):  # a callable without a readable signature
        return NATIVE
    return VERL if names & verl.MARKS else TRL if names & trl.MARKS else NATIVE
