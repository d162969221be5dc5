"""maj@k against enumeration of every subset, and its draws against exact sums."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import maj_at_k, votes
from reasoning_rl.eval.votes import plurality, vote


def enumerated_majority(correct: int, wrong: list[int], abstentions: int, k: int) -> float:
    """By the rule alone: vote in every subset."""
    samples = ["right"] * correct + [f"wrong {i}" for i, size in enumerate(wrong) for _ in range(size)] + ["none"] * abstentions
    subsets = list(combinations(samples, k))
    found = [_credit(s.count("right"), [s.count(f"wrong {i}") for i in range(len(wrong))]) for s in subsets]
    return float(sum(found, Fraction(0)) / len(subsets))


def _credit(right: int, wrong: list[int]) -> Fraction:
    most = max([right, *wrong])
    return Fraction(1, [right, *wrong].count(most)) if right == most > 0 else Fraction(0)


@pytest.mark.parametrize(
    ("correct", "wrong", "credit"),
    [
        (3, [2, 1], 1.0),
        (2, [2, 1], 1 / 2),  # a tie of two
        (1, [1, 1], 1 / 3),
        (1, [2], 0.0),
        (0, [], 0.0),  # nobody votes
        (1, [], 1.0),
    ],
)
def test_a_tie_is_broken_at_random(correct: int, wrong: list[int], credit: float) -> None:
    assert plurality(correct, wrong) == credit


@settings(deadline=None)
@given(st.integers(0, 5), st.lists(st.integers(1, 3), max_size=4), st.integers(0, 2))
def test_maj_at_k_equals_enumeration_of_all_subsets(correct: int, wrong: list[int], abstentions: int) -> None:
    n = min(12, correct + sum(wrong) + abstentions)
    for k in range(1, n + 1):
        assert maj_at_k(correct, wrong, k, abstentions=abstentions) == enumerated_majority(correct, wrong, abstentions, k)


def test_maj_at_n_is_the_vote_of_all_samples() -> None:
    assert maj_at_k(3, [3, 2], 8) == plurality(3, [3, 2]) == 0.5


def test_maj_at_k_needs_k_samples() -> None:
    with pytest.raises(ConfigError, match="maj@5 needs at least 5 samples per problem; there are 4"):
        maj_at_k(2, [1, 1], 5)


@pytest.mark.parametrize(
    ("correct", "wrong", "abstentions", "k"), [(5, [4, 3, 2, 1], 3, 7), (3, [3, 3, 3], 0, 4), (0, [2, 2], 1, 3), (2, [], 6, 4)]
)
def test_draws_lie_within_their_error_of_the_exact_vote(
    monkeypatch: pytest.MonkeyPatch, correct: int, wrong: list[int], abstentions: int, k: int
) -> None:
    exact = vote(correct, wrong, k, abstentions=abstentions)
    assert exact.error == 0
    monkeypatch.setattr(votes, "FEASIBLE", -1)
    votes._vote.cache_clear()
    drawn = vote(correct, wrong, k, abstentions=abstentions)
    votes._vote.cache_clear()
    assert abs(drawn.credit - exact.credit) <= 4 * drawn.error
    assert drawn.error <= 0.5 / votes.DRAWS**0.5 * 1.001


def test_many_classes_are_drawn_and_say_so() -> None:
    crowded = vote(62, list(range(1, 60)), 500, abstentions=30)
    assert 0 < crowded.error < 0.01
    assert crowded == vote(62, list(range(59, 0, -1)), 500, abstentions=30)  # the same draws, whatever the order


def test_a_hundred_samples_are_still_exact() -> None:
    assert vote(40, [20, 15, 10, 5, 5, *[1] * 5], 16).error == 0


def test_the_vote_of_many_finds_the_plurality() -> None:
    # With 60 % right a larger vote is surer (Condorcet).
    rising = [maj_at_k(60, [40], k) for k in (1, 3, 9, 27, 81)]
    assert rising == sorted(rising)
    assert rising[0] == 0.6
    assert np.diff(rising).min() > 0.01
