"""How much would settle a difference, on numbers worked out by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval import settle
from reasoning_rl.eval.statistics import detectable


def problems(n: int, counts: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"problem_id": [f"p{index}" for index in range(len(counts))], "n": n, "c": counts})


def drawn(rng: np.random.Generator, rates: np.ndarray, n: int) -> pd.DataFrame:
    return problems(n, rng.binomial(n, rates).tolist())


def test_the_variance_parts_into_problems_and_samples() -> None:
    # Base solves 1 of 2 on four problems, the other 2, 2, 0, 0 of 2: differences ±1/2, variance 1/3; luck 1·1/(2·1) = 1/2 and 0.
    # Luck accounts for (1/2)/2 = 1/4 of the 1/3 with two samples, so ω² = 1/12; with n samples the variance is 1/12 + 1/2/n.
    table = settle(problems(2, [1, 1, 1, 1]), problems(2, [2, 2, 0, 0]), difference=0.1, samples=[2, 8])
    errors = dict(zip(table["samples"], table["standard_error"]))
    assert errors[2.0] == pytest.approx((1 / 3 / 4) ** 0.5)
    assert errors[8.0] == pytest.approx(((1 / 12 + 1 / 16) / 4) ** 0.5)
    assert errors[np.inf] == pytest.approx((1 / 12 / 4) ** 0.5)
    assert table["detectable"].iloc[0] == pytest.approx(detectable((1 / 12) ** 0.5, 4))


def test_what_more_samples_would_leave_is_foretold() -> None:
    rng = np.random.default_rng(0)
    base = rng.beta(1, 1, size=20_000)
    other = np.clip(base + rng.normal(0.05, 0.1, size=base.size), 0, 1)
    foretold = settle(drawn(rng, base, 4), drawn(rng, other, 4), samples=[64]).loc[0, "standard_error"]
    moved = (drawn(rng, other, 64)["c"] - drawn(rng, base, 64)["c"]) / 64
    assert foretold == pytest.approx(moved.std() / base.size**0.5, rel=0.05)


def test_twice_the_difference_needs_a_quarter_of_the_problems() -> None:
    base, other = problems(4, [0, 1, 2, 3, 4] * 20), problems(4, [1, 2, 2, 4, 4] * 20)
    small, large = (settle(base, other, difference=size)["problems"] for size in (0.01, 0.02))
    assert (small / large)[:4].between(3.9, 4.1).all()  # with many samples all the luck is gone, and with it the need


def test_no_difference_is_never_settled() -> None:
    same = problems(4, [0, 1, 2, 3])
    assert np.isinf(settle(same, same)["problems"]).all()


def test_where_nothing_varies_nothing_is_known() -> None:
    table = settle(problems(4, [0, 0, 0]), problems(4, [4, 4, 4]))
    assert table[["detectable", "problems"]].isna().all(axis=None)


def test_equal_problems_are_paired_whatever_their_order() -> None:
    base, other = problems(4, [0, 1, 2, 3]), problems(4, [1, 2, 3, 4])
    pd.testing.assert_frame_equal(settle(base, other), settle(base, other.sample(frac=1, random_state=1)))


@pytest.mark.parametrize("n", [1, 0])
def test_one_sample_says_nothing_of_its_luck(n: int) -> None:
    with pytest.raises(ConfigError, match="two samples each are needed"):
        settle(problems(1, [0, 1, 1]), problems(4, [0, 1, 2][: 3 * n]))
