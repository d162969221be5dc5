"""Which answers are one."""

from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.eval.classes import answer_classes


def wrong(*answers: str | None) -> list[int]:
    return answer_classes(answers, [False] * len(answers))


def test_equal_numbers_are_one_answer_however_they_are_spelled() -> None:
    assert wrong("1/2", "0.5", r"\frac{1}{2}", "7", "7.0") == [1, 1, 1, 2, 2]


def test_equal_expressions_are_one_answer() -> None:
    assert wrong(r"x^2+2x+1", r"(x+1)^2", r"x^2+1", r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}") == [1, 1, 3, 2, 2]


def test_the_largest_class_is_numbered_first_and_of_equals_the_earliest() -> None:
    assert wrong("3", "5", "5", "4") == [2, 1, 1, 3]


def test_right_answers_are_class_0_and_missing_ones_minus_1() -> None:
    assert answer_classes(["8", None, "9", "8.0"], [True, False, False, True]) == [0, -1, 1, 0]


def test_a_right_answer_without_a_text_is_right() -> None:
    assert answer_classes([None], [True]) == [0]


def test_percentages_are_compared_as_the_verifier_compares() -> None:
    # A percent sign may be left out like a unit. 50 is not 0.5, but both are 50%, which came first and stands for its class.
    assert wrong("50%", "50", "0.5") == [1, 1, 1]
    assert wrong("50", "0.5", "50%") == [1, 2, 1]


def test_what_no_stage_can_read_is_its_own_answer() -> None:
    assert wrong("no idea at all", r"\left\{ \frac{", "no idea at all") == [1, 2, 1]


@given(st.lists(st.one_of(st.none(), st.integers(-20, 20).map(str), st.text(max_size=8)), max_size=12))
def test_classes_are_numbered_without_gaps_by_falling_size(answers: list[str | None]) -> None:
    found = wrong(*answers)
    sizes = [found.count(number) for number in range(1, max(found, default=0) + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size > 0 for size in sizes)
    assert [number == -1 for number in found] == [answer is None for answer in answers]
