"""R1's two tags: all there is, in order, each once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.format import r1_format

PROBLEM = Problem(id="t/0", source="t", split="test", question="?", gold="5")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a</think><answer>5</answer>", 1.0),
        ("<think>\na\n</think>\n\n<answer>\n5\n</answer>\n", 1.0),
        ("<answer>5</answer><think>a</think>", 0.0),
        ("<think>a</think> so <answer>5</answer>", 0.0),
        ("Well. <think>a</think><answer>5</answer>", 0.0),
        ("<think>a</think><answer>5</answer> Done.", 0.0),
        ("<think>a</think><answer>5", 0.0),
        ("<think>a<think>b</think></think><answer>5</answer>", 0.0),
        ("<think></think><answer>5</answer>", 0.0),
        ("5", 0.0),
    ],
)
def test_only_think_then_answer_has_the_format(text: str, value: float) -> None:
    assert r1_format(Completion(text, ()), PROBLEM).value == value


def test_a_prompt_may_open_the_think_tag() -> None:
    assert r1_format(Completion("a</think><answer>5</answer>", ()), PROBLEM, prefilled=True).value == 1.0


def test_the_reason_counts_the_tags() -> None:
    assert r1_format(Completion("<think>a</think>", ()), PROBLEM).reason == "<answer> 0 times, </answer> 0 times"


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("<think>a</think><answer>5</answer>", 5),
        ("<think>a</think> so <answer>5</answer>", 4),  # something stands outside
        ("<think>a</think><answer>5", 3),
        ("<think>a</think>5", 2),
        ("<think>a", 1),
        ("<answer>5</answer><think>a</think>", 2),  # the answer stands before the thinking
        ("<think></think><answer></answer>", 2),  # what is empty closes nothing
        ("</think><think></answer><answer>", 2),  # each closing tag before its opening one
        ("<think>" * 9 + "</think>" * 9, 0),
        ("5", 0),
        ("", 0),
    ],
)
def test_soft_counts_the_conditions_met(text: str, met: int) -> None:
    assert r1_format(Completion(text, ()), PROBLEM, soft=True).value == met / 5


def test_soft_gives_nothing_for_the_tag_of_the_prompt() -> None:
    values = [
        r1_format(Completion(text, ()), PROBLEM, soft=True, prefilled=True).value
        for text in ("", "a</think>", "a</think><answer>5</answer>")
    ]
    assert values == [0.0, 0.25, 1.0]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", " "]), max_size=12).map("".join), st.booleans())
def test_soft_is_one_exactly_where_strict_is(text: str, prefilled: bool) -> None:
    strict = r1_format(Completion(text, ()), PROBLEM, prefilled=prefilled).value
    soft = r1_format(Completion(text, ()), PROBLEM, prefilled=prefilled, soft=True).value
    assert 0 <= soft <= 1
    assert (soft == 1) == (strict == 1)
