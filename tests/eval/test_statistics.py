"""Intervals and paired tests, by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import pass_at_k, statistics
from reasoning_rl.eval.statistics import (
    bootstrap_interval,
    detectable,
    mcnemar,
    paired_difference,
    paired_differences,
    rate_difference,
    rate_interval,
    ratio_interval,
    sign_flip,
    standard_error,
)

SPREAD = np.array([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 0.125, 0.875])


def test_standard_error_is_clustered_by_problem() -> None:
    # p = 0, 1/2, 1: mean 1/2, squares 1/4 + 0 + 1/4 = 1/2; √(1/2 / (3·2)) = √(1/12).
    assert standard_error(np.array([0.0, 0.5, 1.0])) == pytest.approx((1 / 12) ** 0.5)


def test_one_problem_shows_no_spread() -> None:
    assert np.isnan(standard_error(np.array([0.5])))


def test_bootstrap_interval_of_two_problems_is_known() -> None:
    # Resamples of {0, 10}: means 0, 5, 10 with chances 1/4, 1/2, 1/4; the 2.5 % and 97.5 % quantiles are the extremes.
    interval = bootstrap_interval(np.array([0.0, 10.0]))
    assert (interval.value, interval.low, interval.high) == (5.0, 0.0, 10.0)


def test_bootstrap_interval_agrees_with_scipy() -> None:
    # Further out than 2.5 %, as Hesterberg's table has it: Φ(−√(8/7)·t₀.₉₇₅,₇) = Φ(−1.0690·2.3646) = Φ(−2.5279) = 0.00574.
    ours = bootstrap_interval(SPREAD, resamples=20_000)
    level = 1 - 2 * 0.00574
    theirs = stats.bootstrap((SPREAD,), np.mean, n_resamples=20_000, confidence_level=level, method="percentile", rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_bootstrap_of_many_problems_is_the_plain_one() -> None:
    values = np.random.default_rng(0).uniform(size=2000)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_same_seed_gives_the_same_interval() -> None:
    fine = SPREAD**1.5  # eighths would give equal quantiles to many seeds
    assert bootstrap_interval(fine, seed=3) == bootstrap_interval(fine, seed=3) != bootstrap_interval(fine, seed=4)


def test_blocks_bound_memory_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_interval(SPREAD, resamples=500)
    monkeypatch.setattr(statistics, "ELEMENTS_AT_ONCE", 64)
    assert bootstrap_interval(SPREAD, resamples=500) == whole


def test_yes_or_no_per_problem_takes_wilsons_interval() -> None:
    # 1 of 2, z = 1.96: centre 1/2, half-width z·√(n/4 + z²/4)/(n + z²)... = z/(2√(n + z²)) = 1.96/(2·√5.8416) = 0.40547.
    interval = rate_interval(np.array([0.0, 1.0]))
    assert (interval.low, interval.high) == pytest.approx((0.5 - 0.40547, 0.5 + 0.40547), abs=1e-4)


def test_no_success_still_leaves_room_above() -> None:
    # Wilson's upper end for 0 of n is z²/(n + z²) = 3.8415/503.8415.
    assert rate_interval(np.zeros(500)).high == pytest.approx(3.8415 / 503.8415, abs=1e-5)


def test_rates_between_count_as_the_yes_or_no_problems_that_would_be_as_uncertain() -> None:
    # 300 problems at 1/4 and 3/4: variance 1/16, of a yes or no 1/4. Both sums come from 150²/(150·(1/16 + 9/16)) = 240 problems, so the
    # effect is (240/4 + 3/4)/240.75, and N is 300·240.75/60.75 = 1188.89. t₀.₉₇₅,₂₉₉ = 1.96793; half = t/(2·√(N + t²)) = 0.0284911.
    interval = rate_interval(np.array([0.25, 0.75] * 150))
    assert (interval.low, interval.high) == pytest.approx((0.5 - 0.0284911, 0.5 + 0.0284911), abs=1e-6)


def test_rates_that_nearly_all_agree_leave_room() -> None:
    values = np.array([1.0] * 299 + [0.9])
    score, bootstrap = rate_interval(values), bootstrap_interval(values)
    assert score.low < bootstrap.low
    assert score.value < score.high < 1 == bootstrap.high


def test_rates_within_rounding_of_one_are_ones() -> None:
    assert rate_interval(np.array([1.0] * 49 + [1 - 1e-16])).low == pytest.approx(rate_interval(np.ones(50)).low)


def test_equal_rates_are_not_certain() -> None:
    interval = rate_interval(np.full(50, 0.5))
    assert 0.4 < interval.low < 0.5 < interval.high < 0.6


def test_a_ratio_is_that_of_the_sums() -> None:
    # Problems with 1 of 1, 1 of 2 and none of none: 2/3.
    interval = ratio_interval(np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0, 0.0]))
    assert interval.value == pytest.approx(2 / 3)
    assert 0 < interval.low < interval.value < interval.high < 1


def test_a_ratio_with_equal_counts_has_the_interval_of_a_mean() -> None:
    hits = np.random.default_rng(0).binomial(4, 0.5, size=400).astype(float)
    ratio, mean = ratio_interval(hits, np.full(400, 4.0)), rate_interval(hits / 4)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((mean.value, mean.low, mean.high), abs=1e-3)


def test_a_ratio_of_nothing_is_unknown() -> None:
    assert np.isnan(ratio_interval(np.zeros(3), np.zeros(3)).value)


def test_the_detectable_difference_has_power_80() -> None:
    # Large N: (1.95996 + 0.84162)·SE.
    assert detectable(0.01, 100_000) == pytest.approx(0.0280158, abs=1e-6)
    assert np.isnan(detectable(0.01, 1))


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    true = detectable(0.5 / 100**0.5, 100)
    found = [paired_difference(rng.normal(true, 0.5, size=100), np.zeros(100), 100, 999, seed).p_value <= 0.05 for seed in range(300)]
    assert 0.73 < np.mean(found) < 0.87  # sd of 300 coins of 0.8: 0.023


def test_no_problem_has_no_interval() -> None:
    for interval in (rate_interval, bootstrap_interval):
        with pytest.raises(ConfigError, match="at least one problem"):
            interval(np.array([]))


def test_mcnemar_counts_only_problems_that_flipped() -> None:
    # 5 gained, 0 lost, 3 unchanged: two-sided binomial 2·(1/2)^5 = 1/16, of which the mid-p-value counts half.
    after, before = np.array([1.0] * 5 + [1, 1, 0]), np.array([0.0] * 5 + [1, 1, 0])
    assert mcnemar(after, before) == pytest.approx(1 / 32)
    assert paired_difference(after, before).p_value == pytest.approx(1 / 32)


def test_mcnemar_counts_half_the_chance_of_what_was_seen() -> None:
    # 4 gained, 2 lost: 2·P(X ≤ 2) − P(X = 2) for 6 coins = (2·22 − 15)/64.
    after, before = np.array([1.0] * 4 + [0.0] * 2), np.array([0.0] * 4 + [1.0] * 2)
    assert mcnemar(after, before) == mcnemar(before, after) == pytest.approx(29 / 64)
    assert mcnemar(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


def test_several_metrics_at_once_are_each_as_alone() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.uniform(size=(2, 60, 3))
    together = paired_differences(ours, theirs)
    alone = [paired_difference(ours[:, column], theirs[:, column]) for column in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert (one.value, one.low, one.high, one.p_value) == pytest.approx((other.value, other.low, other.high, other.p_value))


def test_equal_runs_differ_by_nothing() -> None:
    assert sign_flip(np.array([0.1 + 0.2, -0.3])) == 1.0  # rounding is no difference
    for same in (np.array([0.0, 1.0, 1.0]), SPREAD):
        difference = paired_difference(same, same)
        assert (difference.value, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_sign_flip_enumerates_small_sets() -> None:
    # d = 1, 2, 3 all positive: of 8 sign patterns only +++ and −−− reach |6|, both of which equal it.
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == 1 / 8


def test_sign_flip_is_mcnemar_where_differences_are_plus_or_minus_one() -> None:
    # Five +1, one −1: |sum| is 6 for 2 of 64 patterns, and 4 for 12 of them, which count half.
    differences = np.array([1.0] * 5 + [-1.0])
    assert sign_flip(differences) == 8 / 64
    assert mcnemar((differences > 0).astype(float), (differences < 0).astype(float)) == pytest.approx(8 / 64)


def test_sign_flip_of_a_large_set_agrees_with_scipy() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.5, size=60)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1, axis=0).pvalue
    assert sign_flip(differences, flips=20_000) == pytest.approx(float(theirs), abs=0.02)


def test_a_drawn_p_value_never_is_zero() -> None:
    assert sign_flip(np.linspace(1, 2, 100), flips=99) == 0.5 / 100


def test_no_mean_difference_is_no_evidence() -> None:
    assert sign_flip(np.array([0.5, -0.25, -0.25])) == sign_flip(np.tile([1.0, -1.0], 50)) == 1.0


def test_paired_difference_needs_the_same_problems() -> None:
    with pytest.raises(ConfigError, match="there are 2 and 3"):
        paired_difference(np.zeros(2), np.zeros(3))


def test_pairing_narrows_the_interval() -> None:
    # Problems differ by up to 1, the runs by 0.1 on each: the difference is certain, the means are not.
    difference = paired_difference(SPREAD * 0.9 + 0.1, SPREAD * 0.9)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))


def test_one_problem_is_less_certain_than_two() -> None:
    for value in (0.0, 0.5, 15 / 16, 1.0):
        one, two = rate_interval(np.full(1, value)), rate_interval(np.full(2, value))
        assert one.low <= two.low
        assert two.high <= one.high


def test_the_edges_of_a_yes_or_no_are_wide_enough() -> None:
    # Brown, Cai & DasGupta: the chance to miss p just above 0 is that of one success or more where the lower end exceeds p.
    # With one of 300 solved it is χ²₀.₀₅(2)/600 = 0.10259/600 = 0.000171 in place of Wilson's 0.000589.
    one = rate_interval(np.array([1.0] + [0.0] * 299))
    assert one.low == pytest.approx(0.10259 / 600, abs=1e-7)
    assert rate_interval(np.array([0.0] + [1.0] * 299)).high == pytest.approx(1 - 0.10259 / 600, abs=1e-7)
    rates = np.linspace(0.0005, 0.03, 60)
    solved = np.random.default_rng(0).binomial(300, rates, size=(400, rates.size))
    ends = {count: rate_interval(np.array([1.0] * count + [0.0] * (300 - count))) for count in set(solved.ravel().tolist())}
    covered = np.array([[ends[int(c)].low <= p <= ends[int(c)].high for c, p in zip(row, rates, strict=True)] for row in solved])
    assert covered.mean(axis=0).min() > 0.88  # 400 draws of 93 % or more: sd 0.013


def test_the_difference_of_rates_has_newcombes_interval() -> None:
    # Both solve 36 of 50, one alone 12, the other alone 2: p₁ = 48/50 (Wilson 0.8654–0.9890), p₂ = 38/50 (0.6259–0.8570),
    # φ = (0.72 − 0.96·0.76)/√(0.0384·0.1824) = −0.11471. Below √(0.0946² + 2·0.11471·0.0946·0.0970 + 0.0970²) = 0.14306,
    # above √(0.0290² + 2·0.11471·0.0290·0.1341 + 0.1341²) = 0.14047.
    ours = np.array([1.0] * 36 + [1.0] * 12 + [0.0] * 2)
    theirs = np.array([1.0] * 36 + [0.0] * 12 + [1.0] * 2)
    found = rate_difference(ours, theirs)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx(
        (0.2 - 0.14306, 0.2 + 0.14047), abs=4e-3
    )  # its ends: Wilson's, wider by Poisson's at 48


def test_nothing_moved_is_not_certain() -> None:
    found = rate_difference(np.zeros(50), np.zeros(50))
    assert found.value == 0
    assert found.low < -0.05 < 0.05 < found.high


def test_the_difference_of_rates_agrees_with_the_bootstrap_where_much_moves() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.uniform(size=400)
    ours = np.clip(theirs + rng.normal(0.05, 0.15, size=400), 0, 1)
    score, bootstrap = rate_difference(ours, theirs), bootstrap_interval(ours - theirs)
    assert (score.value, score.low, score.high) == pytest.approx((bootstrap.value, bootstrap.low, bootstrap.high), abs=0.003)


@pytest.mark.parametrize("shape", [(3.0, 0.7), (1.0, 1.0), (0.15, 1.5)])
def test_intervals_of_differences_hold_the_truth(shape: tuple[float, float]) -> None:
    # Two policies that solve each problem equally often, 50 problems, pass@4 of 16 samples: the truth is 0.
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        chances = rng.beta(*shape, size=50)
        held += (found := rate_difference(*(pass_at_k(16, rng.binomial(16, chances), 4) for _ in range(2)))).low <= 0 <= found.high
    assert held / 400 > 0.91  # sd of 95 % in 400: 1.1 %
