"""How sure a mean over training seeds and problems is: both are samples, and every seed is asked the same problems.

# S seeds, Q problems, R resamples
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval.statistics import LEVEL, Difference, Interval, blocks

Table = npt.NDArray[np.float64]
"""One row per seed, one column per problem: (S, Q)."""
Vector = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint16]

RESAMPLES = 10_000
"""So that a p-value survives Holm's factor: the smallest is 2/10001."""


def two_level(values_SQ: Table, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean with a percentile interval that resamples seeds and problems, each on its own: the pigeonhole bootstrap, arXiv:0712.1111.

    Problems are the unit below, never samples (arXiv:2411.00640), and a problem that is drawn is drawn for every seed. One departure: what
    a draw of seeds deviates by is stretched by √(S/(S−1)), without which the variance between S seeds would be short by (S−1)/S. Seeds
    that agree give the interval over problems alone, as a single seed does: it says nothing of other seeds. With three seeds of spread
    well above that of the problems the interval holds about 80 % in place of 95 (tests/eval/test_seeds.py). ConfigError for an empty table.
    """
    return _interval(values_SQ.mean() if values_SQ.size else 0.0, _resampled(values_SQ, resamples, seed))


def two_level_difference(values_SQ: Table, baseline_SQ: Table, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Mean of `values − baseline`, paired by problem, and by seed where both sides have as many; with interval and two-sided p-value.

    Of another number of seeds each side's are redrawn by themselves. The p-value is twice the share of resamples on the other side of 0,
    (1 + reached)/(1 + R) so that it never is 0: the largest level at which the interval would hold 0. 1 where nothing differs.
    ConfigError when the sides differ in problems.
    """
    if values_SQ.shape[1:] != baseline_SQ.shape[1:]:
        raise ConfigError(f"a paired difference needs the same problems; there are {values_SQ.shape} and {baseline_SQ.shape}")
    if len(values_SQ) == len(baseline_SQ):
        drawn_R = _resampled(values_SQ - baseline_SQ, resamples, seed)
    else:
        drawn_R = _resampled(values_SQ, resamples, seed) - _resampled(baseline_SQ, resamples, seed, side=1)
    interval = _interval(values_SQ.mean() - baseline_SQ.mean(), drawn_R)
    beyond = min(int((drawn_R <= 0).sum()), int((drawn_R >= 0).sum()))
    return Difference(interval.value, interval.low, interval.high, min(1.0, 2 * (1 + beyond) / (1 + resamples)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's correction (1979), in their order: the chance of one false alarm among all of them stays below the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _interval(mean: float, drawn_R: Vector) -> Interval:
    low, high = np.quantile(drawn_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(mean), float(low), float(high))


def _resampled(values_SQ: Table, resamples: int, seed: int, side: int = 0) -> Vector:
    """(R,) means under redrawn seeds and problems. The other side of a comparison has the same problems drawn, and seeds by themselves."""
    if values_SQ.size == 0:
        raise ConfigError(f"an interval needs at least one seed and one problem; the table is {values_SQ.shape}")
    seeds, problems = values_SQ.shape
    times_RS, times_RQ = _draws(seeds, problems, resamples, seed)
    if side:
        rng = np.random.default_rng([seed, side])
        times_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(np.uint16)
    stretch = np.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    weight_RS = 1 / seeds + stretch * (times_RS / seeds - 1 / seeds)
    starts = np.cumsum([0, *blocks(resamples, problems)])
    mean_RS = np.concatenate([times_RQ[start:end] @ values_SQ.T for start, end in pairwise(starts)]) / problems
    drawn_R: Vector = (weight_RS * mean_RS).sum(axis=1)
    return drawn_R


@lru_cache(maxsize=4)
def _draws(seeds: int, problems: int, resamples: int, seed: int) -> tuple[Counts, Counts]:
    """How often each seed and each problem is drawn; the same for every comparison, which also saves their time."""
    rng = np.random.default_rng(seed)
    times_RQ = rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples).astype(np.uint16)
    times_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(np.uint16)
    return times_RS, times_RQ
