"""Boxes that nest, join, never close, or come by the hundred thousand."""

import time

import pytest

from reasoning_rl.rewards.answer import TAIL, find_answer
from reasoning_rl.rewards.boxes import MAX_BOXES, all_boxes, last_boxes


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


def cost(text: str) -> float:
    """Seconds of the processor, the least of five times."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        all_boxes(text)
        find_answer(text)
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize(
    ("opening", "closing"), [(r"\boxed{", ""), (r"\boxed{1} ", ""), (r"\boxed{", "}"), ("{", ""), ("\\", ""), ("$", ""), ("#", "")]
)
def test_finding_takes_time_linear_in_the_text(opening: str, closing: str) -> None:
    """16 times the text takes about 16 times as long; what is quadratic would take 256 times."""
    times = TAIL // len(opening + closing)
    few = times // 16
    assert cost(opening * times + closing * times) < 64 * cost(opening * few + closing * few)


def test_of_boxes_by_the_hundred_thousand_no_more_are_kept_than_an_answer_may_join() -> None:
    assert len(all_boxes(r"\boxed{1} " * 100_000)) <= 2 * MAX_BOXES


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
