"""The cosine reward of arXiv:2502.03373 against its formula, moved from [−10, 2] to [0, 1]."""

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.cosine import cosine

PROBLEM = Problem(id="t/0", source="t", split="test", question="?", gold="5", task="gsm8k")
RIGHT, WRONG = "#### 5", "#### 6"


def value(text: str, tokens: int, *, cut: bool = False, **options: float) -> float:
    answer = Completion(text, tuple(range(tokens)), finish_reason="length" if cut else "stop")
    return cosine(answer, PROBLEM, max_tokens=100, **options).value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "tokens", "paper"),
    [
        (RIGHT, 0, 2.0),
        (RIGHT, 50, 1.5),  # cos(π/2) = 0: half way from 2 to 1
        (RIGHT, 25, 1 + 0.5 * (1 + math.cos(math.pi / 4))),
        (WRONG, 0, -10.0),
        (WRONG, 50, -5.0),
        (WRONG, 75, -10 * 0.5 * (1 + math.cos(3 * math.pi / 4))),
        (RIGHT, 100, -10.0),
        (RIGHT, 101, -10.0),
    ],
)
def test_the_value_is_the_papers_moved_into_the_unit_interval(text: str, tokens: int, paper: float) -> None:
    assert value(text, tokens) == pytest.approx((paper + 10) / 12, abs=1e-12)


def test_shorter_is_better_when_right_and_longer_when_wrong() -> None:
    right, wrong = ([value(text, tokens) for tokens in range(100)] for text in (RIGHT, WRONG))
    assert right == sorted(right, reverse=True)
    assert wrong == sorted(wrong)
    assert min(right) > max(wrong)


def test_an_answer_that_was_cut_exceeds_the_limit() -> None:
    assert value(RIGHT, 40, cut=True) == 0.0


def test_the_five_values_are_options() -> None:
    # from −1 to 1: R = 1 at length 0 becomes 1, R = 0 for every wrong answer becomes 1/2
    score = partial(value, correct_short=1.0, correct_long=0.5, wrong_short=0.0, wrong_long=0.0, exceeded=-1.0)
    assert [score(RIGHT, 0), score(WRONG, 30), score(RIGHT, 100)] == [1.0, 0.5, 0.0]


def test_strict_counts_the_required_format_only() -> None:
    answer = Completion("It is 5.", (1,))
    assert cosine(answer, PROBLEM, max_tokens=100).value > 0.9
    assert cosine(answer, PROBLEM, max_tokens=100, strict=True).value < 0.01


def test_five_equal_values_are_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        value(RIGHT, 1, correct_short=1.0, correct_long=1.0, wrong_short=1.0, wrong_long=1.0, exceeded=1.0)


def test_an_empty_completion_has_no_value() -> None:
    assert value("", 0) == 0.0
    assert value("", 1) < 0.001


@given(st.text(max_size=200), st.integers(0, 120), st.floats(-20, 20), st.floats(-20, 20))
def test_any_completion_has_a_value(text: str, tokens: int, short: float, long: float) -> None:
    assert 0 <= value(text, tokens, correct_short=short, wrong_long=long, exceeded=-30.0) <= 1
