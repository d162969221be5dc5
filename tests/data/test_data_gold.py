"""Golds from worked solutions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.data.gold import after_hashes, gsm8k_number, last_boxed


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", "72"),
        ("1,024", "1024"),
        ("$18.50", "18.50"),
        ("-$3", "-3"),
        ("− 3", "-3"),
        ("+4", "4"),
        ("18 apples", "18"),
        ("25%", "25"),
        ("5.", "5"),
        (".5", ".5"),
        ("3/4", "3/4"),
        ("12 cm²", "12"),
    ],
)
def test_a_gsm8k_gold_loses_currency_commas_and_unit(text: str, number: str) -> None:
    assert gsm8k_number(text) == number


@pytest.mark.parametrize("text", ["", "none", "3 or 4", "12:30", "x = 5", "3 4", "--3"])
def test_what_is_not_one_number_is_no_gsm8k_gold(text: str) -> None:
    assert gsm8k_number(text) is None


def test_the_last_hashes_count_and_only_their_line() -> None:
    assert after_hashes("#### 1\nno:\n#### 2\nthanks") == "2"
    assert after_hashes("no mark") is None


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed {2}", "2"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"$\boxed 5$ is it", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed{3} and an open \boxed{4", "3"),
        (r"\boxed{} ", None),
        (r"\boxedanswer{3}", None),
        ("nothing", None),
    ],
)
def test_the_last_box_that_closes_is_the_gold(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@given(st.text())
def test_no_text_breaks_the_extraction(text: str) -> None:
    after_hashes(text)
    gsm8k_number(text)
    last_boxed(text)
    last_boxed("\\boxed{" + text)
