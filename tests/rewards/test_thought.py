"""Where the chain of thought lies."""

import pytest

from reasoning_rl.rewards.thought import thought


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<think>a</think><answer>5</answer>", "a"),
        ("Well. <think>a</think>5", "a"),
        ("a</think>5", "a"),  # the prompt opened the block
        ("<think>a, cut", "a, cut"),
        ("<think>a</think> no <think>b</think>5", "a</think> no <think>b"),
        ("</think>5<think>", ""),
        ("a <answer>5</answer>", "a "),
        (r"a \boxed{4} b \boxed{5}", r"a \boxed{4} b "),
        ("a\n#### 5", "a\n"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_it_is_what_the_tags_enclose_or_all_before_the_answer(text: str, inside: str) -> None:
    assert text[slice(*thought(text))] == inside


def test_with_the_answer_it_is_the_whole_text_unless_tags_part_the_two() -> None:
    texts = (r"2+3 = \boxed{5}", "<think>a</think>5")
    assert [text[slice(*thought(text, with_answer=True))] for text in texts] == [r"2+3 = \boxed{5}", "a"]
