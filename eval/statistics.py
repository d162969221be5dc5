"""How sure a mean over problems is, and a difference between two runs on the same problems.

Samples of one problem resemble one another, so the problem is the unit: every function takes one value per problem, and resamples problems,
never samples (Miller 2024, arXiv:2411.00640). Randomness is seeded; two calls with the same seed resample the same problems.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reasoning_rl.errors import ConfigError

Values = npt.NDArray[np.float64]

LEVEL = 0.95
ELEMENTS_AT_ONCE = 4_194_304
"""Of a block of random draws: bounds memory to some 64 MiB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference, its 95 % interval, and the chance of one at least as large were there none."""

    value: float
    low: float
    high: float
    p_value: float


def standard_error(values: Values) -> float:
    """Of the mean, clustered by problem: √(Σ(p_q − p̄)² / (N(N−1))), arXiv:2411.00640. NaN for fewer than two problems."""
    if values.size < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(values.size))


def bootstrap_interval(values: Values, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean with a percentile bootstrap interval over problems (Efron & Tibshirani 1993, ch. 13). Without spread it has no width."""
    _some(values)
    low, high = np.quantile(_resampled_means(values, resamples, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def rate_interval(values: Values, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean of per-problem rates with its interval: Wilson's where every problem has 0 or 1, else the bootstrap.

    Wilson's (1927) suits a yes or no per problem, and it is honest where all agree: 0 of 500 gives 0 to 0.008, a bootstrap 0 to 0.
    """
    _some(values)
    if not _binary(values):
        return bootstrap_interval(values, resamples, seed)
    from scipy.stats import binomtest

    ends = binomtest(int(values.sum()), values.size).proportion_ci(LEVEL, method="wilson")
    return Interval(float(values.mean()), float(ends.low), float(ends.high))


def paired_difference(values: Values, baseline: Values, resamples: int = 2000, flips: int = 9999, seed: int = 0) -> Difference:
    """Mean of `values − baseline` problem by problem, with a bootstrap interval over problems and a two-sided p-value.

    The p-value is McNemar's, exact, where both runs have 0 or 1 for every problem, else that of a sign-flip permutation test with `flips`
    draws (all of them where they are no more). ConfigError when the sides differ in length.
    """
    if values.shape != baseline.shape:
        raise ConfigError(f"a paired difference needs the same problems on both sides; there are {values.size} and {baseline.size}")
    differences = values - baseline
    interval = bootstrap_interval(differences, resamples, seed)
    p_value = mcnemar(values, baseline) if _binary(values) and _binary(baseline) else sign_flip(differences, flips, seed)
    return Difference(interval.value, interval.low, interval.high, p_value)


def mcnemar(values: Values, baseline: Values) -> float:
    """Exact McNemar test: each problem that only one run solves is a fair coin under no difference. 1 where there is none."""
    from scipy.stats import binomtest

    gained, lost = int((values > baseline).sum()), int((values < baseline).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def sign_flip(differences: Values, flips: int = 9999, seed: int = 0) -> float:
    """Two-sided permutation p-value of a mean paired difference: under no difference the sign of each is a fair coin.

    Exact where 2^m ≤ `flips` for the m differences that aren't 0; else (1 + reached)/(1 + flips), which never is 0 (Phipson & Smyth 2010).
    """
    moved = differences[differences != 0]
    observed = abs(moved.sum()) * (1 - 1e-12)  # sums of the same numbers in another order may differ in the last bit
    if 2**moved.size <= flips:
        return float((abs(_all_signs(moved.size) @ moved) >= observed).mean())
    rng = np.random.default_rng(seed)
    signs = (rng.integers(2, size=(rows, moved.size), dtype=np.int8) * 2.0 - 1.0 for rows in blocks(flips, moved.size))
    reached = sum(int((abs(block @ moved) >= observed).sum()) for block in signs)
    return (1 + reached) / (1 + flips)


def _all_signs(count: int) -> Values:
    """All 2^count rows of ±1."""
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    signs: Values = bits.astype(np.float64) * 2 - 1
    return signs


def _resampled_means(values: Values, resamples: int, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    draws = (rng.integers(values.size, size=(rows, values.size)) for rows in blocks(resamples, values.size))
    return np.concatenate([values[draw].mean(axis=1) for draw in draws])


def blocks(rows: int, width: int) -> Iterator[int]:
    """`rows` cut into pieces whose draws of `width` numbers fit into memory."""
    most = max(1, ELEMENTS_AT_ONCE // width)
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _binary(values: Values) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _some(values: Values) -> None:
    if values.size == 0:
        raise ConfigError("an interval needs at least one problem; there is none")
