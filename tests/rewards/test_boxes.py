"""Boxes that nest, join, never close, or come by the hundred thousand."""

import time

import pytest

from reasoning_rl.rewards.answer import TAIL, find_answer
from reasoning_rl.rewards.boxes import all_boxes, last_boxes


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        (r"\boxed{1} and then we see \boxed{2}", ["2"]),
        (r"\boxed{1}, \boxed{2}, and \boxed{3}", ["1", "2", "3"]),
        (r"$y_1 = \boxed{1}$ and $y_2 = \boxed{2}$", ["1", "2"]),
        (r"\boxed{1} \text{ for part (a) and } \boxed{2}", ["1", "2"]),
        (r"\boxed{a\{b\}c}", [r"a\{b\}c"]),
        (r"\boxed{\boxed{5}}", [r"\boxed{5}"]),
        (r"\boxed{1} \boxed{2", ["1"]),
        (r"\fbox{7}", ["7"]),
        (r"\boxed 7", ["7"]),
        (r"\boxed", []),
        ("", []),
    ],
)
def test_the_last_boxes_are_found(text: str, contents: list[str]) -> None:
    assert [box.content for box in last_boxes(text)] == contents


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 20_000,
        r"\boxed{1} " * 20_000,
        r"\boxed{" * 5000 + "}" * 5000,
        "{" * 100_000,
        "\\" * 100_000,
        "$" * 100_000,
        "#" * 100_000,
    ],
)
def test_finding_takes_time_linear_in_the_text(text: str) -> None:
    start = time.perf_counter()
    all_boxes(text)
    find_answer(text)
    assert time.perf_counter() - start < 2


def test_an_answer_is_looked_for_in_the_tail_only() -> None:
    assert find_answer(r"\boxed{5}" + "a " * TAIL) is None
