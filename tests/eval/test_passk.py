"""pass@k and maj@k against enumeration of every subset."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import maj_at_k, pass_at_k
from reasoning_rl.eval.passk import plurality


def enumerated_pass(n: int, c: int, k: int) -> float:
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    return float(Fraction(sum(any(subset) for subset in subsets), len(subsets)))


def enumerated_majority(correct: int, wrong: list[int], abstentions: int, k: int) -> float:
    """By the rule alone: vote in every subset."""
    samples = ["right"] * correct + [f"wrong {i}" for i, votes in enumerate(wrong) for _ in range(votes)] + ["none"] * abstentions
    subsets = list(combinations(samples, k))
    return sum(plurality(s.count("right"), [s.count(f"wrong {i}") for i in range(len(wrong))]) for s in subsets) / len(subsets)


def test_pass_at_k_equals_enumeration_of_all_subsets() -> None:
    for n in range(1, 11):
        for c in range(n + 1):
            for k in range(1, n + 1):
                assert pass_at_k(n, c, k) == enumerated_pass(n, c, k), (n, c, k)


def test_pass_at_k_matches_a_hand_computed_number() -> None:
    # 8 samples, 2 right: of C(8,4) = 70 subsets C(6,4) = 15 hold no right one, 55/70 = 11/14 do.
    assert pass_at_k(8, 2, 4) == 11 / 14


def test_pass_at_1_is_the_share_of_right_samples() -> None:
    assert pass_at_k(10, 1, 1) == 0.1


def test_arrays_give_one_rate_per_problem() -> None:
    rates = pass_at_k([8, 8, 4], np.array([0, 2, 1]), 4)
    np.testing.assert_array_equal(rates, [0.0, 11 / 14, 1.0])


def test_one_n_serves_all_problems() -> None:
    np.testing.assert_array_equal(pass_at_k(2, [0, 1, 2], 1), [0.0, 0.5, 1.0])


def test_no_problem_gives_no_rate() -> None:
    assert pass_at_k([], [], 1).size == 0


def test_many_samples_lose_no_digit() -> None:
    # c = 1: C(n−1,k)/C(n,k) = (n−k)/n, so pass@k = k/n exactly.
    assert pass_at_k(100_000, 1, 7) == 7 / 100_000


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (4, 1, 8, "needs at least 8 samples per problem; there are 4"),
        (4, 5, 1, "is 5; with n = 4"),
        (4, -1, 1, "lies between 0 and 4"),
        (4, 1, 0, "k is 0"),
    ],
)
def test_a_number_is_never_invented(n: int, c: int, k: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pass_at_k(n, c, k)
    with pytest.raises(ConfigError, match=message):
        pass_at_k([n], [c], k)


def test_counts_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        pass_at_k(4, 0.5, 1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="whole numbers"):
        pass_at_k([4], np.array([0.5]), 1)


@settings(deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_grows_with_k_and_c(case: tuple[int, int, int]) -> None:
    n, c, k = case
    rate = pass_at_k(n, c, k)
    assert 0 <= rate <= 1
    if k > 1:
        assert pass_at_k(n, c, k - 1) <= rate
    if c < n:
        assert rate <= pass_at_k(n, c + 1, k)


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
@given(st.integers(0, 4), st.lists(st.integers(1, 3), max_size=3), st.integers(0, 2))
def test_maj_at_k_equals_enumeration_of_all_subsets(correct: int, wrong: list[int], abstentions: int) -> None:
    n = correct + sum(wrong) + abstentions
    for k in range(1, n + 1):
        expected = enumerated_majority(correct, wrong, abstentions, k)
        assert maj_at_k(correct, wrong, k, abstentions=abstentions) == pytest.approx(expected, abs=1e-12)


def test_maj_at_n_is_the_vote_of_all_samples() -> None:
    assert maj_at_k(3, [3, 2], 8) == plurality(3, [3, 2]) == 0.5


def test_maj_at_k_needs_k_samples() -> None:
    with pytest.raises(ConfigError, match="maj@5 needs at least 5 samples per problem; there are 4"):
        maj_at_k(2, [1, 1], 5)
