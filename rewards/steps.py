r"""A process verifier by rule: every equation that can be checked is checked, with exact rationals; nothing is run as code.

Process supervision (DeepSeekMath, arXiv:2402.03300 §4.1.3) wants a reward r_index(j) at the end of each step of a chain of thought. Here a
step is a line or sentence, of the text inside the think tags or else of all of it, that says something new and checkable: `3 + 4 = 7`,
`<<3*5=15>>`, `\frac{1}{2} \times 6 = 3`, `25% of 80 = 20`.

* A chain a = b = c holds where each side equals the one before it. So `2+3 = 5*2 = 10` is wrong, as written.
* A decimal may be the rounding of the exact value to the digits it shows: 10/3 = 3.33, by half a unit of its last digit. An integer may
  only behind ≈, within 10 %, its trailing zeros being no digits.
* A percentage is its value, or the number before the sign: 20/50 = 40% and 20/50*100 = 40%.
* What says nothing earns nothing: a = a, a sum in another order, 5 + 0 = 5 and 5*1 = 5, and what was said before.
* Variables, units beside operators, surds and other inexact values leave an equation unchecked: neither right nor wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from reasoning_rl.records import Completion, Problem, Score, StepScore
from reasoning_rl.rewards.equality.expression import read_expression
from reasoning_rl.rewards.equality.limits import TooLarge, Undefined, Unreadable
from reasoning_rl.rewards.equality.node import Node, symbols
from reasoning_rl.rewards.equality.tidy import tidy
from reasoning_rl.rewards.equality.value import evaluate
from reasoning_rl.rewards.equations import UNREADABLE, Chain, chains
from reasoning_rl.rewards.thought import thought
from reasoning_rl.rewards.verifier import verifier

MAX_TEXT = 200_000
"""Characters of the chain of thought that are read."""
MAX_SIDES = 4000
"""Sides of equations that are evaluated; later ones stay unchecked."""

_BREAK = re.compile(r"\n|\\\\|[.;?](?=\s|$)|!(?=\s+[^\s=+*/^)\]}≈×÷·\\-])|[。！？；]")
"""A line ends, or a sentence; 5! = 120 goes on."""
_NUMERAL = re.compile(r"[0-9.,]*[0-9]")
_SOUND = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?")
_SHOWN = re.compile(r"-?([0-9]*)(?:\.([0-9]*))?\s*%?")
_AMBIGUOUS = re.compile(r"(?:/\s|÷|\\div)\s*[0-9.,]+/[0-9]")
"""3 / 1/2 is 6 to its author, and 3/2 to the rules."""
_NEUTRAL = frozenset([Fraction(0), Fraction(1)])


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of an equation, read and evaluated."""

    text: str
    value: Fraction
    numerals: tuple[Fraction, ...]
    calculates: bool
    """Whether there is an operation in it, so that it isn't just a number."""

    @property
    def is_percentage(self) -> bool:
        return self.text.endswith("%") and not self.calculates


@dataclass(frozen=True, slots=True)
class _Equation:
    left: _Side
    right: _Side
    holds: bool

    @property
    def key(self) -> tuple[object, ...]:
        """The same for the same statement in another order or spacing."""
        signs = sorted(letter for letter in self.left.text + self.right.text if not letter.isalnum() and letter not in " .,{}")
        return (self.holds, *sorted(self.left.numerals + self.right.numerals), *signs)

    @property
    def is_trivial(self) -> bool:
        return self.holds and (sorted(self.left.numerals) == sorted(self.right.numerals) or self._is_neutral())

    def _is_neutral(self) -> bool:
        """Only zeros and ones were added or multiplied: 5 + 0 = 5, 1*5 = 5."""
        left, right = (self.left, self.right) if self.left.calculates else (self.right, self.left)
        rest = list(left.numerals)
        if right.calculates or abs(right.value) not in rest:
            return False
        rest.remove(abs(right.value))
        return _NEUTRAL.issuperset(rest)

    def __str__(self) -> str:
        return f"{self.left.text} = {self.right.text}"


@verifier("steps", scores_steps=True)
def steps(completion: Completion, problem: Problem, *, grounded: bool = False) -> Score:
    """The share of right steps in the chain of thought, and each step's end and value; 0 where there is no step to check.

    A step is right (1) if all its new equations hold, else wrong (0). `grounded`: an equation counts only if it uses a number of the
    question or an earlier right result, so that true but idle sums can't be added; numbers in words are not seen.
    """
    known = set(_numbers(problem.question)) if grounded else None
    found = list(_judged(completion.text, _Checker(known)))
    if not found:
        return Score(0.0, reason="no equation to check")
    right = sum(step.value for step in found)
    wrong = next((f"; first wrong: {step.reason}" for step in found if step.value == 0), "")
    return Score(right / len(found), reason=f"{right:.0f} of {len(found)} steps right{wrong}", steps=tuple(found))


def _judged(text: str, checker: "_Checker") -> Iterator[StepScore]:
    """One score for each line or sentence that has something new to check."""
    for start, end in _lines(text):
        line = text[start:end].strip(" \t&$")
        if found := checker.new_equations(line.rstrip("!") if line.count("!") == 1 else line):
            wrong = [equation for equation in found if not equation.holds]
            yield StepScore(end, float(not wrong), str((wrong or found)[0]))


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each line or sentence of the chain of thought, the space at its end left out."""
    start, stop = thought(text, with_answer=True)
    stop = min(stop, start + MAX_TEXT)
    for match in _BREAK.finditer(text, start, stop):
        yield start, start + len(text[start : match.end()].rstrip("\n\\ \t\r"))
        start = match.end()
    yield start, start + len(text[start:stop].rstrip())


@dataclass(slots=True)
class _Checker:
    """What was said so far in one completion."""

    known: set[Fraction] | None
    """Numbers that an equation may build on; None where it may build on any."""
    said: set[tuple[object, ...]] = field(default_factory=set)
    sides: int = 0
    last: str = ""
    """The side that a line beginning with `=` goes on from."""

    def new_equations(self, line: str) -> list[_Equation]:
        found = chains(self.last + line if line.startswith("=") else line)
        self.last = found[-1].sides[-1] if found else line[-200:]
        return [equation for chain in found for equation in self._checked(chain) if self._is_new(equation)]

    def _checked(self, chain: Chain) -> Iterator[_Equation]:
        self.sides += len(chain.sides)
        return _equations(chain) if self.sides <= MAX_SIDES else iter(())

    def _is_new(self, equation: _Equation) -> bool:
        if equation.is_trivial or equation.key in self.said or not self._is_grounded(equation):
            return False
        self.said.add(equation.key)
        return True

    def _is_grounded(self, equation: _Equation) -> bool:
        if self.known is None:
            return True
        grounded = not self.known.isdisjoint(equation.left.numerals if equation.left.calculates else equation.right.numerals)
        if grounded and equation.holds:
            self.known |= {abs(equation.left.value), abs(equation.right.value)}
        return grounded


def _equations(chain: Chain) -> Iterator[_Equation]:
    """Of neighbouring readable sides, wherever one of the two calculates; ≈ between two that do is no claim that could be checked."""
    read = [_side(text) for text in chain.sides]
    for left, right, rounded in zip(read, read[1:], chain.rounded[1:], strict=False):
        if left and right and left.calculates + right.calculates in ({1} if rounded else {1, 2}):
            yield _Equation(left, right, _agree(left, right, rounded=rounded))


def _agree(left: _Side, right: _Side, *, rounded: bool) -> bool:
    return left.value == right.value or _shows(right, left.value, rounded=rounded) or _shows(left, right.value, rounded=rounded)


def _shows(side: _Side, exact: Fraction, *, rounded: bool) -> bool:
    """Whether the side is a number that stands for the exact value, by its percent sign or by rounding."""
    if side.calculates:
        return False
    unit = _last_digit(side.text)
    scales = (1, 100) if side.is_percentage else (1,)
    return any(_is_near(side.value * scale, exact, unit * scale, rounded=rounded) for scale in scales)


def _is_near(shown: Fraction, exact: Fraction, unit: Fraction, *, rounded: bool) -> bool:
    off = abs(shown - exact)
    if off == 0 or (unit < 1 and shown != 0 and off * 2 <= unit):
        return True
    return rounded and off * 2 <= unit and off * 10 <= abs(exact)


def _last_digit(text: str) -> Fraction:
    """What a unit in the last digit shown is worth: 1/100 for 3.33 and for 33%, 100 for 1200."""
    shown = _SHOWN.fullmatch(text)
    if shown is None:  # a common fraction shows all its digits
        return Fraction(0)
    whole, decimals = shown[1], shown[2] or ""
    zeros = 0 if decimals else len(whole) - len(whole.rstrip("0"))
    return Fraction(10) ** (zeros - len(decimals)) / (100 if text.endswith("%") else 1)


@lru_cache(maxsize=4096)
def _side(text: str) -> _Side | None:
    """None where nothing exact can be said of it."""
    if UNREADABLE in text or not text.strip() or _AMBIGUOUS.search(text):
        return None
    clean = tidy(text)
    numerals = _NUMERAL.findall(clean)
    if not all(_SOUND.fullmatch(numeral) for numeral in numerals) or _mixes_percent(clean, len(numerals)):
        return None
    clean = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", clean)
    try:
        node = read_expression(clean)
        value = None if symbols(node) else evaluate(node, {})
    except (Unreadable, TooLarge, Undefined):
        return None
    if not isinstance(value, Fraction):
        return None
    return _Side(clean, value, tuple(_numbers(clean)), _calculates(node))


def _mixes_percent(text: str, numerals: int) -> bool:
    """50 + 20% is 50.2 to some and 60 to others."""
    return "%" in text and ("+" in text or "-" in text[1:]) and text.count("%") != numerals


def _calculates(node: Node) -> bool:
    return _calculates(node.args[0]) if node.op in {"neg", "percent"} else node.op != "number"


def _numbers(text: str) -> list[Fraction]:
    """Of every sound numeral in the text."""
    found = [numeral.lstrip(",") for numeral in _NUMERAL.findall(text)]
    return [Fraction(numeral.replace(",", "")) for numeral in found if _SOUND.fullmatch(numeral) and len(numeral) <= 100]
