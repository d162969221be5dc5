"""Intervals over seeds and problems, on data whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval.seeds import holm, two_level, two_level_difference

SPREAD = np.array([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 0.125, 0.875])


def test_seeds_that_agree_give_the_interval_over_problems() -> None:
    one = stats.bootstrap((SPREAD,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    three = two_level(np.stack([SPREAD] * 3), resamples=20_000)
    assert (three.value, three.low, three.high) == pytest.approx((0.5, one.low, one.high), abs=0.01)


def test_a_single_seed_gives_the_interval_over_problems() -> None:
    assert two_level(SPREAD[None]) == two_level(np.stack([SPREAD, SPREAD]))


def test_problems_that_agree_leave_the_spread_of_the_seeds() -> None:
    # Two seeds at 0 and 1 draw (0,0), (0,1), (1,1) with chances 1/4, 1/2, 1/4: means 0, 1/2, 1. Stretched by √2 around 1/2: 1/2 ± √2/2.
    interval = two_level(np.array([[0.0] * 5, [1.0] * 5]))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.5 - 0.5**0.5, 0.5 + 0.5**0.5))


def test_the_variance_between_seeds_is_not_short() -> None:
    # Seeds at −1, 0, 1 have variance 1, so that their mean has 1/3: sd 0.577. Without the stretch a bootstrap would find √(2/9) = 0.471.
    from reasoning_rl.eval.seeds import _resampled

    assert _resampled(np.array([[-1.0], [0.0], [1.0]]), 20_000, 0).std() == pytest.approx(3**-0.5, abs=0.01)


def covered(seeds: int, seed_spread: float, trials: int = 200) -> float:
    """How often the interval holds the truth, 0, for problems of spread 0.3 and noise of 0.2 between the two."""
    rng, hits = np.random.default_rng(1), 0
    for trial in range(trials):
        values_SQ = rng.normal(0, seed_spread, (seeds, 1)) + rng.normal(0, 0.3, (1, 60)) + rng.normal(0, 0.2, (seeds, 60))
        interval = two_level(values_SQ, resamples=400, seed=trial % 4)
        hits += interval.low <= 0 <= interval.high
    return hits / trials


@pytest.mark.parametrize(
    ("seeds", "seed_spread", "least", "most"),
    [
        (3, 0.0, 0.93, 1.0),  # only problems differ
        (3, 0.03, 0.92, 1.0),  # both alike: 0.3/√60 = 0.039 against 0.03/√3 = 0.017
        (3, 0.5, 0.74, 0.89),  # seeds differ most: three are few, as the report says
        (10, 0.5, 0.88, 1.0),  # ten are enough
        (1, 0.5, 0.0, 0.3),  # one says nothing of others
    ],
)
def test_coverage_is_what_the_report_says_of_it(seeds: int, seed_spread: float, least: float, most: float) -> None:
    assert least <= covered(seeds, seed_spread) <= most


def test_a_difference_is_paired_by_seed_and_problem() -> None:
    # Seeds and problems differ by up to 1, the arms by 0.1 on each of them: the difference is certain.
    base_SQ = np.stack([SPREAD * 0.5, SPREAD * 0.5 + 0.4])
    found = two_level_difference(base_SQ + 0.1, base_SQ)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.p_value == 2 / 10_001


def test_equal_arms_differ_by_nothing() -> None:
    found = two_level_difference(np.stack([SPREAD, SPREAD]), np.stack([SPREAD, SPREAD]))
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_p_value_counts_the_resamples_beyond_zero() -> None:
    # One seed, two problems with differences −1 and 3: means −1, 1, 3 with chances 1/4, 1/2, 1/4; a quarter is below 0, so p is 1/2.
    found = two_level_difference(np.array([[-1.0, 3.0]]), np.zeros((1, 2)), resamples=20_000)
    assert found.p_value == pytest.approx(0.5, abs=0.02)


def test_holm_never_reverses_an_order_nor_exceeds_one() -> None:
    # Sorted 0.01, 0.02, 0.5, times 3, 2, 1.
    assert holm([0.5, 0.01, 0.02]) == pytest.approx([0.5, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_sides_that_do_not_match_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"the same problems; there are \(1, 8\) and \(1, 7\)"):
        two_level_difference(SPREAD[None], SPREAD[None, :7])


def test_another_number_of_seeds_spreads_by_itself() -> None:
    # Seeds at −1, 0, 1 against two at 0 and 2, problems alike: variances 1/3 and 2/2, so that the difference, −1, has sd √(4/3) = 1.155.
    three, two = np.repeat([[-1.0], [0.0], [1.0]], 5, axis=1), np.repeat([[0.0], [2.0]], 5, axis=1)
    found = two_level_difference(three, two, resamples=20_000)
    assert found.value == -1.0
    assert 2.0 < found.high - found.low < 2 * 1.96 * 1.155 * 1.1
    assert found.p_value > 0.2


def test_false_alarms_stay_rare_with_another_number_of_seeds() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for trial in range(200):
        problems_Q = rng.normal(0, 0.3, 60)
        sides = [rng.normal(0, 0.05, (seeds, 1)) + problems_Q + rng.normal(0, 0.2, (seeds, 60)) for seeds in (5, 3)]
        alarms += two_level_difference(sides[0], sides[1], resamples=400, seed=trial % 4).p_value <= 0.05
    assert alarms <= 22  # of 200; with the base's spread left out there are about 24


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ConfigError, match="at least one seed and one problem"):
        two_level(np.zeros((0, 8)))
