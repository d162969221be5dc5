"""Equality of answers: cases as data. The laws it keeps are in ../test_properties.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_rl.rewards.equality.equivalence import equivalent
from reasoning_rl.rewards.equality.limits import MAX_ANSWER

CASES = [json.loads(line) for line in (Path(__file__).parents[2] / "cases" / "equivalence.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['answer']} | {case['gold']}")
def test_a_pair_is_equal_or_not_whichever_is_the_gold(case: dict[str, Any]) -> None:
    for answer, gold in [(case["answer"], case["gold"]), (case["gold"], case["answer"])]:
        match = equivalent(answer, gold)
        assert (match.outcome == "correct") == case["equal"], (case["reason"], match)


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
