"""maj@k, self-consistency (Wang et al. 2022, arXiv:2203.11171): the answer that most of k samples give, exact where that is feasible.

The samples of a problem fall into classes: the right answer, wrong answers by what they are equal to, and abstentions, which gave no answer
and cast no vote. A subset of k is a draw without replacement from these classes (multivariate hypergeometric).
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np

from reasoning_rl.errors import ConfigError

FEASIBLE = 4_000_000
"""Steps of the dynamic programme, an upper bound, that take about as long as the draws would."""
DRAWS = 4000
"""Subsets drawn then: the credit of one problem is known to 0.008 at the worst, the mean over hundreds to a fraction of that."""


class Vote(NamedTuple):
    """maj@k of one problem."""

    credit: float
    error: float = 0.0
    """Monte-Carlo standard error; 0 where it is exact."""


def plurality(correct: int, wrong: Sequence[int]) -> float:
    """Credit of a vote: 1 when the right answer has the most votes, 1/(number of leaders) in a tie (a random leader is taken), else 0.

    `wrong` holds the votes of each wrong answer. Without any vote for the right answer the credit is 0.

    >>> plurality(3, [2, 1]), plurality(2, [2, 2]), plurality(1, [2])
    (1.0, 0.3333333333333333, 0.0)
    """
    if correct == 0 or max(wrong, default=0) > correct:
        return 0.0
    return 1 / (1 + sum(votes == correct for votes in wrong))


def maj_at_k(correct: int, wrong: Sequence[int], k: int, *, abstentions: int = 0) -> float:
    """Mean `plurality` over all subsets of k samples: the credit of `vote`.

    >>> maj_at_k(2, [1, 1], 3)  # of the 4 subsets two hold both right answers, two are three-way ties
    0.6666666666666666
    """
    return vote(correct, wrong, k, abstentions=abstentions).credit


def vote(correct: int, wrong: Sequence[int], k: int, *, abstentions: int = 0) -> Vote:
    """Mean `plurality` over subsets of k samples: over all of them where feasible, else over some drawn without replacement.

    `correct` samples gave the right answer, `wrong[i]` samples the i-th wrong one, `abstentions` none at all. The draws are a function of
    the arguments. ConfigError when k < 1 or there are fewer than k samples.
    """
    if k < 1 or min(correct, abstentions, *wrong) < 0:
        raise ConfigError(f"maj@{k}: found {correct} right, {list(wrong)} wrong and {abstentions} missing; accepted: k ≥ 1, counts ≥ 0")
    n = correct + sum(wrong) + abstentions
    if n < k:
        raise ConfigError(f"maj@{k} needs at least {k} samples per problem; there are {n}")
    return _vote(correct, tuple(sorted(wrong, reverse=True)), abstentions, k)


@lru_cache(maxsize=65_536)
def _vote(correct: int, wrong: tuple[int, ...], abstentions: int, k: int) -> Vote:
    n = correct + sum(wrong) + abstentions
    if k == n:
        return Vote(plurality(correct, wrong))
    if _steps(correct, wrong, k) > FEASIBLE:
        return _drawn(correct, wrong, abstentions, k)
    fewest = max(1, k - (n - correct))
    won = [comb(correct, votes) * _credit(votes, wrong, abstentions, k - votes) for votes in range(fewest, min(correct, k) + 1)]
    return Vote(float(sum(won, Fraction(0)) / comb(n, k)))


def _steps(correct: int, wrong: tuple[int, ...], k: int) -> int:
    """About how many the dynamic programme takes: classes that can tie, times places, times ties, times votes of one class."""
    return sum(
        sum(size >= votes for size in wrong) * (k - votes + 1) * ((k - votes) // votes + 1) * (votes + 1)
        for votes in range(1, min(correct, k) + 1)
    )


def _credit(votes: int, wrong: tuple[int, ...], abstentions: int, others: int) -> Fraction:
    """Over the ways to fill `others` places besides `votes` right ones, the sum of credits: 1/(1 + wrong answers that tie)."""
    rivals = [size for size in wrong if size >= votes]
    free = abstentions + sum(wrong) - sum(rivals)  # the small classes can neither tie nor win: like abstentions they only fill places
    ways = {(0, 0): 1}  # (places filled, wrong answers that tie) -> number of ways
    for size in rivals:
        ways = _with_class(ways, size, votes, others)
    by_ties: Counter[int] = Counter()
    for (filled, tied), count in ways.items():
        by_ties[tied] += count * comb(free, others - filled)
    return sum((Fraction(total, 1 + tied) for tied, total in by_ties.items()), Fraction(0))


def _with_class(ways: dict[tuple[int, int], int], size: int, votes: int, others: int) -> dict[tuple[int, int], int]:
    """Let one more wrong answer, given by `size` samples, take up to `votes` of the places."""
    extended: dict[tuple[int, int], int] = {}
    for (filled, tied), count in ways.items():
        for taken in range(min(size, votes, others - filled) + 1):
            state = (filled + taken, tied + (taken == votes))
            extended[state] = extended.get(state, 0) + count * comb(size, taken)
    return extended


def _drawn(correct: int, wrong: tuple[int, ...], abstentions: int, k: int) -> Vote:
    classes = (correct, *wrong, abstentions)
    rng = np.random.default_rng([k, *classes])
    votes_DC = rng.multivariate_hypergeometric(classes, k, size=DRAWS, method="marginals")
    right_D, wrong_DC = votes_DC[:, 0], votes_DC[:, 1:-1]
    most_D = wrong_DC.max(axis=1, initial=0)
    tied_D = (wrong_DC == right_D[:, None]).sum(axis=1)
    credit_D = np.where((right_D > 0) & (most_D <= right_D), 1 / (1 + tied_D), 0.0)
    deviation = max(float(credit_D.std(ddof=1)), DRAWS**-0.5)  # draws that all agree are still draws
    return Vote(float(credit_D.mean()), deviation / DRAWS**0.5)
