"""Equality of answers: cases as data, and the laws it keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.rewards.equality.equivalence import equivalent
from reasoning_rl.rewards.equality.limits import MAX_ANSWER

CASES = [json.loads(line) for line in (Path(__file__).parents[2] / "cases" / "equivalence.jsonl").read_text().splitlines()]

integers = st.integers(-(10**6), 10**6).map(str)
fractions = st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda pair: rf"\frac{{{pair[0]}}}{{{pair[1]}}}")
decimals = st.decimals(-1000, 1000, places=3, allow_nan=False).map(lambda number: f"{number:f}")
surds = st.tuples(st.integers(1, 20), st.integers(2, 50)).map(lambda pair: rf"{pair[0]}\sqrt{{{pair[1]}}}")
values = st.one_of(integers, fractions, decimals, surds, st.sampled_from(["x", r"\pi", "2x+1", "x^2-1", r"\infty"]))
pairs = st.tuples(values, values)
answers = st.one_of(
    values,
    pairs.map(lambda pair: f"({pair[0]},{pair[1]})"),
    pairs.map(lambda pair: rf"\{{{pair[0]}, {pair[1]}\}}"),
    pairs.map(lambda pair: f"{pair[0]}, {pair[1]}"),
    values.map(lambda value: f"y={value}"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['answer']} | {case['gold']}")
def test_a_pair_is_equal_or_not_whichever_is_the_gold(case: dict[str, Any]) -> None:
    for answer, gold in [(case["answer"], case["gold"]), (case["gold"], case["answer"])]:
        match = equivalent(answer, gold)
        assert (match.outcome == "correct") == case["equal"], (case["reason"], match)


@given(answers)
def test_every_answer_equals_itself_however_it_is_set(answer: str) -> None:
    delimited = answer.replace("(", r"\left(").replace(")", r"\right)")
    for rewritten in (f" ${answer}$ ", f"\\({answer}\\).", answer.replace(r"\frac", r"\dfrac"), delimited):
        assert equivalent(rewritten, answer).outcome == "correct"


@given(answers, answers)
def test_equality_has_no_direction(a: str, b: str) -> None:
    assert equivalent(a, b).outcome == equivalent(b, a).outcome


@given(st.lists(st.integers(-50, 50).map(str), min_size=2, max_size=6, unique=True), st.randoms())
def test_sets_have_no_order(members: list[str], random: Any) -> None:
    shuffled = random.sample(members, len(members))
    assert equivalent(r"\{" + ",".join(shuffled) + r"\}", r"\{" + ",".join(members) + r"\}").outcome == "correct"


@given(st.integers(2, 10**9))
def test_neighbouring_integers_differ(number: int) -> None:
    assert equivalent(str(number), str(number + 1)).outcome == "wrong"
    assert equivalent(rf"\frac{{{number}}}{{7}}", rf"\frac{{{number + 1}}}{{7}}").outcome == "wrong"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("1" * (MAX_ANSWER + 1), "too_large"),
        ("100000000!", "too_large"),
        ("((((((9!)!)!)!)!)!)", "too_large"),
        (r"\sqrt{" * 50 + "2" + "}" * 50, "too_large"),
        ("[" * 60 + "2,3" + "]" * 60, "too_large"),
        ("1+" * 2000 + "1", "too_large"),
        ("1," * 400 + "1", "too_large"),
        (r"\begin{pmatrix}" + "1&" * 400 + r"1\end{pmatrix}", "too_large"),
        ("x=" * 40 + "1", "too_large"),
        ("5" + "!" * 60, "too_large"),
        ("(4000.5)!", "too_large"),
        ("1" * 5000, "too_large"),
        ("0^{-1}", "wrong"),
        (r"0\cdot\infty", "wrong"),
        (r"\sqrt[0]{5}", "wrong"),
        (r"x+\sqrt{-1-x^2}", "wrong"),
        (r"\sin(10^{30000})", "too_large"),
        ("2^{" * 50 + "2" + "}" * 50, "too_large"),
        ("", "no_answer"),
        (r"\frac{1}{0}", "wrong"),
        (r"\frac{1}{x-x}", "wrong"),
        (r"\log 0", "wrong"),
        ("5+", "unparsable"),
        ("(5", "unparsable"),
        (r"\heartsuit", "unparsable"),
        ("12 34", "unparsable"),
        ("52_1", "unparsable"),
        ("59_8", "unparsable"),
    ],
)
def test_what_cannot_be_compared_says_so(answer: str, outcome: str) -> None:
    assert equivalent(answer, "7").outcome == outcome


def test_an_empty_gold_is_unparsable() -> None:
    assert equivalent("5", "$$").outcome == "unparsable"


@pytest.mark.parametrize("tautology", ["x=x", "0=0", "y=y"])
def test_a_tautology_equals_no_equation(tautology: str) -> None:
    assert equivalent(tautology, "y=2x").outcome == "wrong"
