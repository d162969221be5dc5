"""Which of a problem's answers are one answer: votes count by what an answer is equal to, not by how it is spelled."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from reasoning_rl.rewards.equality.equivalence import equivalent
from reasoning_rl.rewards.equality.number import read_number
from reasoning_rl.rewards.equality.tidy import tidy

RIGHT, NONE = 0, -1
COMPARISONS = 2000
"""Of expressions, for one problem, some tenths of a second; of the many different answers after them each is its own."""
LONGEST = 200
"""Characters; a longer answer is no number and no short expression, and is told apart by its text."""


def answer_classes(answers: Sequence[str | None], correct: Sequence[bool]) -> list[int]:
    r"""The class of each answer: 0 for right ones, −1 for none at all, 1, 2, … for wrong ones, the most frequent first.

    Wrong answers are one class where the verifier would take them for equal (docs/verifiers.md), but for its last stage, which asks SymPy,
    and beyond the limits above; of equal frequency the one that came first is first.

    >>> answer_classes(["1/2", "0.5", "7", None, "3"], [False, False, False, False, True])
    [1, 1, 2, -1, 0]
    """
    votes = Counter(answer.strip() for answer, right in zip(answers, correct, strict=True) if not right and answer is not None)
    groups = _grouped(list(votes))
    ordered = sorted(groups, key=lambda group: -sum(votes[text] for text in group))
    numbers = {text: number for number, group in enumerate(ordered, start=1) for text in group}
    return [RIGHT if right else NONE if answer is None else numbers[answer.strip()] for answer, right in zip(answers, correct, strict=True)]


def _grouped(texts: Sequence[str]) -> list[list[str]]:
    """Equal ones together, in the order of the first of each. Plain numbers are told apart by their value, at no cost."""
    groups: list[list[str]] = []
    values: list[Fraction | None] = []
    left = COMPARISONS
    for text in texts:
        value = _plain_value(text)
        at = next((index for index, known in enumerate(values) if value is not None and known == value), None)
        if at is None and left > 0:
            candidates = [index for index, known in enumerate(values) if value is None or known is None]
            left -= len(candidates)
            at = next((index for index in candidates if _equal(text, groups[index][0])), None)
        if at is None:
            groups.append([text])
            values.append(value)
        else:
            groups[at].append(text)
    return groups


def _plain_value(text: str) -> Fraction | None:
    """Of a number without a percent sign, which has one value only."""
    number = read_number(tidy(text))
    return None if number is None or number.percent else number.value


def _equal(text: str, other: str) -> bool:
    short = max(len(text), len(other)) <= LONGEST
    return short and equivalent(text, other, by_symbols=False).outcome == "correct"
