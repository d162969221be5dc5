"""What is counted of the verdicts: how they fell, and how far they agree with another verifier or with labels."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from reasoning_rl.records import Score, Verdict
from reasoning_rl.rescoring.answers import Answer


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
class Agreement:
    """Whether both say right or wrong of the same answer."""

    kept: int = 0
    """Examples of each kind of disagreement, the first ones."""
    cells: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """Answers by what we say and what the other says; True for right."""
    examples: dict[tuple[bool, bool], list[Judged]] = field(default_factory=lambda: defaultdict(list))
    skipped: int = 0
    """Answers of which the other says nothing."""

    def add(self, judged: Judged) -> None:
        if judged.other is None:
            self.skipped += 1
            return
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

    verdicts: Counter[str] = field(default_factory=Counter)
    correct: int = 0
    strict: int = 0
    rewards: float = 0.0
    """Their sum."""
    values: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Sums, by verifier."""
    agreement: Agreement | None = None
    """None where nothing is compared."""

    @property
    def n(self) -> int:
        return self.verdicts.total()

    def add(self, judged: Judged) -> None:
        self.verdicts[judged.score.verdict] += 1
        self.correct += right(judged.score)
        self.strict += (judged.score.value if judged.score.strict is None else judged.score.strict) > 0.5
        self.rewards += judged.verdict.reward
        for name, score in judged.verdict.scores.items():
            self.values[name] += score.value
        if self.agreement:
            self.agreement.add(judged)


def right(score: Score) -> bool:
    return score.value > 0.5
