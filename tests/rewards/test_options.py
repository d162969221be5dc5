"""Options of a recipe that a verifier doesn't take."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.rewards.options import mistakes
from reasoning_rl.rewards.reward import Reward


def taster(
    completion: object,
    problem: object,
    *,
    must: int,
    n: Annotated[int, Field(gt=0)] = 1,
    share: float = 0.5,
    kind: Literal["sweet", "sour"] = "sweet",
    own: "Unknown" = None,  # type: ignore[name-defined]  # noqa: F821
) -> None: ...


def plain(
    completion: object, problem: object, *, n: Annotated[int, Field(gt=0)] = 1, share: float = 0.5, kind: Literal["sweet", "sour"] = "sweet"
) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 3, "share": 1, "kind": "sour"}, []),
        ({"m": 3}, ["rewards.x.options.m: no such option; known: kind, n, share."]),
        ({"n": 0}, ["rewards.x.options.n: found 0; it should be greater than 0"]),
        ({"n": True}, ["rewards.x.options.n: found True; it should be a valid integer"]),
        ({"share": "much"}, ["rewards.x.options.share: found 'much'; it should be a valid number"]),
        ({"kind": "bitter"}, ["rewards.x.options.kind: found 'bitter'; it should be 'sweet' or 'sour'"]),
    ],
)
def test_values_are_checked_against_the_annotations(options: dict[str, object], said: list[str]) -> None:
    assert mistakes(plain, options, "rewards.x") == said


def test_a_required_option_is_asked_for_and_annotations_nobody_understands_are_let_be() -> None:
    assert mistakes(taster, {"n": "?"}, "rewards.x") == ["rewards.x.options.must: required by this verifier"]


def test_a_language_that_is_not_known_is_refused_before_anything_runs() -> None:
    with pytest.raises(VerifierError, match=r"rewards\.language\.options\.target: found 'xx'; it should be 'ar'"):
        Reward({"language": VerifierConfig(options={"target": "xx"})})
