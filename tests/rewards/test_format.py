"""R1's two tags: all there is, in order, each once."""

import pytest

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
