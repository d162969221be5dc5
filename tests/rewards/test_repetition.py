"""Distinct n-grams over n-grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.repetition import repetition

PROBLEM = Problem(id="t/0", source="t", split="test", question="?", gold="5")


def value(text: str, n: int = 3) -> float:
    return repetition(Completion(text, ()), PROBLEM, n=n).value


@pytest.mark.parametrize(
    ("text", "n", "share"),
    [
        ("a b c d", 3, 1.0),  # abc bcd
        ("a b c a b c", 3, 0.75),  # abc bca cab abc
        ("A b a B", 2, 2 / 3),  # ab ba ab
        ("a a a a a", 3, 1 / 3),
        ("a b a", 1, 2 / 3),
        ("我们我们我", 2, 0.5),  # 我们 们我 我们 们我
    ],
)
def test_the_value_is_the_share_of_distinct_n_grams(text: str, n: int, share: float) -> None:
    assert value(text, n) == share


@pytest.mark.parametrize("text", ["", "5", "a b"])
def test_what_has_no_n_gram_has_no_value(text: str) -> None:
    assert value(text) == 0.0


@pytest.mark.parametrize("text", ["a" * 100_000, "1+1=2;" * 20_000, "我" * 100_000, "so it is " * 20_000])
def test_a_loop_has_next_to_no_value(text: str) -> None:
    assert value(text) < 0.01


@given(st.text(max_size=300), st.integers(1, 100))
def test_any_text_has_a_value(text: str, n: int) -> None:
    assert 0 <= value(text, n) <= 1
