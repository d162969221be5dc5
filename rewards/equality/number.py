"""The fast path: plain numbers, read exactly. Most answers to most problems end here, at a few microseconds each."""

import re
from dataclasses import dataclass
from fractions import Fraction

from reasoning_rl.rewards.equality.rules import DEFAULT, Rules

MAX_LENGTH = 1000
"""A longer numeral is no answer to anything, and reading one takes quadratic time."""

LEAST_PERCENTAGE = 2
"""Below it, a number that is not whole and has no percent sign is read as a share."""

_NUMERAL = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_MONEY = r"(?:\\\$\s*)?"
_DECIMAL = re.compile(rf"{_MONEY}([-+]?)\s*{_MONEY}({_NUMERAL})\s*(%?)")
_QUOTIENT = re.compile(
    rf"([-+]?)\s*(?:\\frac\s*(?:\{{\s*([-+]?[0-9]+)\s*\}}|([0-9]))\s*(?:\{{\s*([0-9]+)\s*\}}|([0-9]))|({_NUMERAL})\s*/\s*({_NUMERAL}))"
)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number as written: its value, whether a percent sign made it a hundredth, and whether it is money."""

    value: Fraction
    percent: bool = False
    money: bool = False


def read_number(text: str) -> Numeral | None:
    r"""The number that all of a tidy text is, or None.

    >>> read_number("1,250.50").value, read_number("12.5%").value, read_number(r"-\frac34").value, read_number("3x")
    (Fraction(2501, 2), Fraction(1, 8), Fraction(-3, 4), None)
    """
    if len(text) > MAX_LENGTH:
        return None
    if decimal := _DECIMAL.fullmatch(text):
        value = Fraction(_digits(decimal[2]))
        return Numeral(_signed(decimal[1], value / 100 if decimal[3] else value), bool(decimal[3]), "$" in text)
    if quotient := _QUOTIENT.fullmatch(text):
        above, below = (part for part in quotient.groups()[1:] if part is not None)
        if Fraction(_digits(below)) != 0:
            return Numeral(_signed(quotient[1], Fraction(_digits(above)) / Fraction(_digits(below))))
    return None


def _digits(numeral: str) -> str:
    return numeral.replace(",", "").rstrip(".") or "0"


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def same_number(a: Numeral, b: Numeral, rules: Rules = DEFAULT) -> bool:
    """Equal values; a percent sign may be left out like a unit (50% is 50 and 0.5, yet 50 is not 0.5; 0.5% is not 0.5)."""
    if a.percent != b.percent and rules.percent == "optional":
        percent, plain = (a, b) if a.percent else (b, a)
        bare = percent.value * 100
        left_out = not plain.money and (bare.denominator == 1 or abs(bare) >= LEAST_PERCENTAGE)
        return _near(plain.value, percent.value, rules.tolerance) or (left_out and _near(plain.value, bare, rules.tolerance))
    return _near(a.value, b.value, rules.tolerance)


def _near(a: Fraction, b: Fraction, tolerance: float) -> bool:
    return a == b or (tolerance > 0 and abs(a - b) <= Fraction(tolerance) * max(abs(a), abs(b)))
