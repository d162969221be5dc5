"""Intervals and paired tests, by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import statistics
from reasoning_rl.eval.statistics import bootstrap_interval, mcnemar, paired_difference, rate_interval, sign_flip, standard_error

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
    ours = bootstrap_interval(SPREAD, resamples=20_000)
    theirs = stats.bootstrap((SPREAD,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


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


def test_rates_between_take_the_bootstrap() -> None:
    assert rate_interval(SPREAD) == bootstrap_interval(SPREAD)


def test_no_problem_has_no_interval() -> None:
    for interval in (rate_interval, bootstrap_interval):
        with pytest.raises(ConfigError, match="at least one problem"):
            interval(np.array([]))


def test_mcnemar_counts_only_problems_that_flipped() -> None:
    # 5 gained, 0 lost, 3 unchanged: two-sided binomial 2·(1/2)^5 = 1/16.
    after, before = np.array([1.0] * 5 + [1, 1, 0]), np.array([0.0] * 5 + [1, 1, 0])
    assert mcnemar(after, before) == pytest.approx(1 / 16)
    assert paired_difference(after, before).p_value == pytest.approx(1 / 16)


def test_equal_runs_differ_by_nothing() -> None:
    for same in (np.array([0.0, 1.0, 1.0]), SPREAD):
        difference = paired_difference(same, same)
        assert (difference.value, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_sign_flip_enumerates_small_sets() -> None:
    # d = 1, 2, 3 all positive: of 8 sign patterns only +++ and −−− reach |6|.
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8


def test_sign_flip_is_mcnemar_where_differences_are_plus_or_minus_one() -> None:
    # Five +1, one −1: |sum| ≥ 4 has 2·(1 + 6) of 64 patterns.
    differences = np.array([1.0] * 5 + [-1.0])
    assert sign_flip(differences) == 14 / 64
    assert stats.binomtest(5, 6).pvalue == pytest.approx(14 / 64)


def test_sign_flip_of_a_large_set_agrees_with_scipy() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.5, size=60)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1, axis=0).pvalue
    assert sign_flip(differences, flips=20_000) == pytest.approx(float(theirs), abs=0.02)


def test_a_drawn_p_value_never_is_zero() -> None:
    assert sign_flip(np.linspace(1, 2, 100), flips=99) == 1 / 100


def test_paired_difference_needs_the_same_problems() -> None:
    with pytest.raises(ConfigError, match="there are 2 and 3"):
        paired_difference(np.zeros(2), np.zeros(3))


def test_pairing_narrows_the_interval() -> None:
    # Problems differ by up to 1, the runs by 0.1 on each: the difference is certain, the means are not.
    difference = paired_difference(SPREAD * 0.9 + 0.1, SPREAD * 0.9)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
