"""pass@k, pass^k, avg@k and best@k against enumeration of every subset, exact arithmetic, and a published evaluation."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import avg_at_k, best_at_k, pass_at_k, pass_hat_k


@pytest.mark.parametrize("n", range(1, 13))
def test_every_estimator_equals_enumeration_of_all_subsets(n: int) -> None:
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == float(Fraction(sum(map(any, subsets)), len(subsets))), (n, c, k)
            assert pass_hat_k(n, c, k) == float(Fraction(sum(map(all, subsets)), len(subsets))), (n, c, k)
            assert avg_at_k(n, c, k) == float(Fraction(sum(map(sum, subsets)), k * len(subsets))), (n, c, k)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))), min_size=1, max_size=4))
def test_best_at_k_equals_enumeration_of_all_subsets(tiers: list[tuple[int, int]]) -> None:
    samples = [(rank, number < right) for rank, (size, right) in enumerate(tiers) for number in range(size)]
    for k in range(1, len(samples) + 1):
        credit = [_even_credit([right for rank, right in subset if rank == min(subset)[0]]) for subset in combinations(samples, k)]
        assert best_at_k([size for size, _ in tiers], [right for _, right in tiers], k) == pytest.approx(np.mean(credit), abs=1e-12)


def _even_credit(leaders: list[bool]) -> float:
    return sum(leaders) / len(leaders)


EXACTLY = [(n, c, k) for n in (999, 1000, 1001, 10_000) for c in (1, 2, n // 100, n // 3, n - 5) for k in (1, 2, 16, 1000 * n // 1001, n)]


@pytest.mark.parametrize(("n", "c", "k"), EXACTLY)
def test_many_samples_agree_with_exact_arithmetic(n: int, c: int, k: int) -> None:
    exact = Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(1 - exact), rel=1e-12, abs=0)
    every = Fraction(comb(c, k), comb(n, k))
    assert pass_hat_k(n, c, k) == pytest.approx(float(every), rel=1e-9, abs=1e-300)


CRUXEVAL = {0: 420, 1: 22, 2: 32, 3: 18, 4: 16, 5: 20, 6: 14, 7: 17, 8: 10, 9: 21, 10: 210}
"""How many of 800 problems were solved c times in 10: code-llama-7b at temperature 0.2 on CRUXEval-I (arXiv:2401.03065), counted in
samples/evaluation_results/sample_scored_codellama-7b_temp0.2_input.json of github.com/facebookresearch/cruxeval, commit c7c787365a9a."""


def test_the_published_figures_of_an_evaluation_come_out() -> None:
    # The file ends in "pass_at_1": 35.94999999999998, "pass_at_5": 44.991071428571416; the authors' leaderboard says 35.9.
    c = np.repeat(list(CRUXEVAL), list(CRUXEVAL.values()))
    assert c.size == 800
    assert 100 * pass_at_k(10, c, 1).mean() == pytest.approx(35.94999999999998, abs=1e-11)
    assert 100 * pass_at_k(10, c, 5).mean() == pytest.approx(44.991071428571416, abs=1e-11)


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
    assert pass_hat_k(n, c, k) <= avg_at_k(n, c, k) <= rate
    if k > 1:
        assert pass_at_k(n, c, k - 1) <= rate
        assert pass_hat_k(n, c, k - 1) >= pass_hat_k(n, c, k)
    if c < n:
        assert rate <= pass_at_k(n, c + 1, k)
        assert pass_hat_k(n, c, k) <= pass_hat_k(n, c + 1, k)


def test_a_reward_that_knows_the_answer_makes_best_of_k_pass_at_k() -> None:
    assert best_at_k([3, 5], [3, 0], 4) == pytest.approx(pass_at_k(8, 3, 4))


def test_a_reward_that_says_nothing_makes_best_of_k_pass_at_1() -> None:
    assert best_at_k([8], [3], 4) == pytest.approx(3 / 8)


def test_a_misleading_reward_makes_best_of_k_worse_than_one_sample() -> None:
    # Wrong answers are rewarded most: right is chosen when all of the two are among the three right ones of five, 3/10.
    assert best_at_k([2, 3], [0, 3], 2) == pytest.approx(3 / 10)
