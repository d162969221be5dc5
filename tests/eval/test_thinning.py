"""Counts of fewer samples, as if no more had been drawn."""

import numpy as np
import pandas as pd
import pytest

from reasoning_rl.eval.metrics import values_of
from reasoning_rl.eval.statistics import paired_tests
from reasoning_rl.eval.thinning import thinned


def problems(n: int, right: np.ndarray) -> pd.DataFrame:
    """All wrong answers alike, the reward that of being right."""
    wrong = n - right
    return pd.DataFrame({
        "problem_id": [f"p{index}" for index in range(len(right))], "n": n, "c": right, "c_strict": right // 2,
        "votes": [[count] if count else [] for count in wrong], "tiers_n": [[c, n - c] for c in right], "tiers_c": [[c, 0] for c in right],
        "maj@2": 0.5,
    })  # fmt: skip


def test_counts_stay_whole_and_in_bounds() -> None:
    table = thinned(problems(64, np.arange(65)), [16] * 65)
    assert (table["n"] == 16).all()
    assert table["c"].between(0, 16).all()
    assert (table["c_strict"] <= 16).all()
    assert [sum(sizes) for sizes in table["tiers_n"]] == [16] * 65
    assert all(c + sum(votes) == 16 for c, votes in zip(table["c"], table["votes"], strict=True))  # nobody abstained
    assert "maj@2" not in table


def test_means_stay_what_they_were() -> None:
    right = np.random.default_rng(0).binomial(64, 0.3, size=3000)
    full, fewer = problems(64, right), thinned(problems(64, right), [8] * 3000)
    for metric, k in (("pass@k", 4), ("pass^k", 2), ("best@k", 4), ("maj@k", 3), ("pass@k strict", 1)):
        counted = full.drop(columns="maj@2")
        assert values_of(fewer, metric, k).mean() == pytest.approx(values_of(counted, metric, k).mean(), abs=0.02), metric


def test_all_samples_of_a_problem_are_the_problem() -> None:
    full = problems(8, np.arange(9))
    pd.testing.assert_frame_equal(thinned(full, [8] * 9), full.drop(columns="maj@2"), check_dtype=False)


def test_without_thinning_a_test_finds_what_is_not_there() -> None:
    # One policy, 16 samples against 64 of it: pass@16 is a yes or no on one side and smooth on the other.
    rng, alarms = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(60):
        chances = rng.beta(3, 0.7, size=200)
        few, many = problems(16, rng.binomial(16, chances)), problems(64, rng.binomial(64, chances))
        for fair in alarms:
            other = thinned(many, [16] * 200) if fair else many
            sides = [values_of(side, "pass@k", 8)[:, None] for side in (few, other)]
            alarms[fair] += paired_tests(sides[0], sides[1], flips=999)[0] <= 0.05
    assert alarms[True] <= 9  # of 60; 5 % are 3
    assert alarms[False] > 9
