"""What is counted of the verdicts: how they fell, and how far they agree with another verifier or with labels."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from reasoning_rl.records import Score, Verdict
from reasoning_rl.rescoring.answers import Answer

FAILURES = ("error", "timeout", "too_large")
"""Verdicts that say something of the verifier, and nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with what was said of it."""

    answer: Answer
    verdict: Verdict
    score: Score
    """The one that is counted and compared."""
    other: Score | None = None
    """Of the verifier, or from the label, that it is compared with; None where the label is missing or nothing is compared."""


@dataclass
class Count:
    """What one side said of all answers so far."""

    verdicts: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[Answer, str]] = field(default_factory=dict)
    """By verdict, the first answer it was given a reason for, with the reason."""
    value: float = 0.0
    """Sum over the answers."""
    right: int = 0
    strict: int = 0
    """Right in the required format, which is the same as `right` where no format is known."""
    formats: int = 0
    """Answers of which it said whether they are right in the required format."""

    @property
    def n(self) -> int:
        return self.verdicts.total()

    @property
    def failed(self) -> int:
        return sum(self.verdicts[verdict] for verdict in FAILURES)

    def add(self, answer: Answer, score: Score) -> None:
        self.verdicts[score.verdict] += 1
        self.value += score.value
        self.right += right(score)
        self.strict += (score.value if score.strict is None else score.strict) > 0.5
        self.formats += score.strict is not None
        if score.reason:
            self.first.setdefault(score.verdict, (answer, score.reason))


@dataclass
class Agreement:
    """Whether both say right or wrong of the same answer."""

    kept: int = 0
    """Examples of each kind of disagreement, the first ones."""
    cells: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """Answers by what we say and what the other says; True for right."""
    examples: dict[tuple[bool, bool], list[Judged]] = field(default_factory=lambda: defaultdict(list))
    skipped: int = 0
    """Answers of which the other says nothing."""
    other: Count = field(default_factory=Count)

    def add(self, judged: Judged) -> None:
        if judged.other is None:
            self.skipped += 1
            return
        self.other.add(judged.answer, judged.other)
        cell = right(judged.score), right(judged.other)
        self.cells[cell] += 1
        if cell[0] != cell[1] and len(self.examples[cell]) < self.kept:
            self.examples[cell].append(judged)

    @property
    def n(self) -> int:
        return self.cells.total()

    @property
    def agreed(self) -> int:
        return self.cells[True, True] + self.cells[False, False]

    @property
    def kappa(self) -> float | None:
        """Cohen's κ = (p_o − p_e)/(1 − p_e), agreement beyond chance (Cohen 1960, eq. 1); None where chance alone would agree on all.

        >>> Agreement(cells=Counter({(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15})).kappa
        0.4
        """
        if not self.n:
            return None
        ours = (self.cells[True, True] + self.cells[True, False]) / self.n
        theirs = (self.cells[True, True] + self.cells[False, True]) / self.n
        by_chance = ours * theirs + (1 - ours) * (1 - theirs)
        return None if by_chance == 1 else round((self.agreed / self.n - by_chance) / (1 - by_chance), 12) + 0.0  # no minus before a zero


@dataclass
class Tally:
    """Counts over all answers so far."""

    counted: Count = field(default_factory=Count)
    """Of the verifier that is counted and compared."""
    verifiers: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    """Of each of the recipe's."""
    rewards: float = 0.0
    """Their sum."""
    agreement: Agreement | None = None
    """None where nothing is compared."""

    @property
    def n(self) -> int:
        return self.counted.n

    def add(self, judged: Judged) -> None:
        self.counted.add(judged.answer, judged.score)
        self.rewards += judged.verdict.reward
        for name, score in judged.verdict.scores.items():
            self.verifiers[name].add(judged.answer, score)
        if self.agreement:
            self.agreement.add(judged)


def right(score: Score) -> bool:
    return score.value > 0.5
