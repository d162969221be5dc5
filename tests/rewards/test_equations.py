"""Chains of equations, found and cut out of a text."""

import pytest

from reasoning_rl.rewards.equations import UNREADABLE, chains


def sides(line: str) -> list[list[str]]:
    return [["".join(side.split()) for side in chain.sides] for chain in chains(line)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Then 3 + 4 = 7 apples remain", [["3+4", "7"]]),
        ("so (3+4=7)", [["3+4", "7"]]),
        (r"\boxed{3+4=7}", [["3+4", "7"]]),
        ("2) 3+4 = 7", [["3+4", "7"]]),
        ("- 3+4 = 7", [["3+4", "7"]]),
        ("**3+4=7**", [["3+4", "7"]]),
        ("cost = 3+4 = 7", [["", "3+4", "7"]]),
        ("3+4=7, 5+6=11", [["3+4", "7"], ["5+6", "11"]]),
        ("3+4 = <<3+4=7>>7", [["3+4", "7"], ["3+4", "7"]]),
        ("3 x 4 = 12 and 2 times 5 = 10", [["3*4", "12"], ["2*5", "10"]]),
        (r"3 \text{ cm} + 4 \text{ cm} = 7 \text{ cm}", [["3+4", "7"]]),
        ("25% of 80 = 20", [["25%*80", "20"]]),
        ("3/24 = 1/8 of 2 feet", [["3/24", "1/8"]]),
        ("3 + 4 != 8", []),
        ("no equation", []),
        ("", []),
    ],
)
def test_sides_are_cut_out_as_they_are_meant(line: str, found: list[list[str]]) -> None:
    assert sides(line) == found


@pytest.mark.parametrize(
    "line",
    [
        "cost + 3 = 7",
        "half of 10 + 2 = 7",
        "half of the 10 + 2 = 7",
        "gcd(12) + 8 = 4",
        "10:30 + 2 = 5",
        "1 and 1/4 = 5",
        r"0.\overline{3} = 5",
    ],
)
def test_what_might_be_misread_is_unreadable(line: str) -> None:
    assert UNREADABLE in chains(line)[-1].sides[0]


def test_different_units_are_not_compared() -> None:
    assert sides(r"5 \text{ m} \times 100 = 500 \text{ cm}") == []


def test_a_rounding_sign_is_noted() -> None:
    assert [chain.rounded for chain in chains(r"10/3 \approx 3.3 = 3.3")] == [(False, True, False)]


def test_a_side_that_is_too_long_is_unreadable() -> None:
    assert chains("+".join(["1"] * 200) + " = 200")[0].sides == (UNREADABLE, " 200")
