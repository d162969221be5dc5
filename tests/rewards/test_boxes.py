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


def test_a_box_counts_however_far_up_it_stands_and_a_number_only_in_the_last_lines() -> None:
    boxed, plain = find_answer(r"\boxed{5}" + "a " * TAIL), find_answer("It is 5.\n" + "a " * TAIL)
    assert boxed is not None
    assert (boxed.text, plain) == ("5", None)


@pytest.mark.parametrize(("opening", "closing"), [(r"\boxed{", "}"), ("<answer>", "</answer>")])
def test_what_is_too_long_to_search_is_no_answer_by_its_end(opening: str, closing: str) -> None:
    found = find_answer(f"So {opening}" + "9\n" * TAIL + f"9{closing}")
    assert found is not None
    assert len(found.text) == TAIL
    assert find_answer("So 9" + r"\cdot 9" * TAIL) is None
