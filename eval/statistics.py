"""How sure a mean over problems is, and a difference between two runs on the same problems.

Samples of one problem resemble one another, so the problem is the unit: every function takes one value per problem, and resamples problems,
never samples (Miller 2024, arXiv:2411.00640). Randomness is seeded; two calls with the same seed resample the same problems.

# Q problems, M metrics, R resamples, F sign flips
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from reasoning_rl.errors import ConfigError

Values = npt.NDArray[np.float64]

LEVEL = 0.95
POWER = 0.80
PRIOR = 0.75
"""Problems' worth of belief that values are yes or no. The least with which simulated intervals hold the truth often enough everywhere."""
FEW = 3
"""Problems that are solved, or are not, where nearly all others aren't, or are."""
TINY = 1e-12
"""Relative to their size, by which sums of the same numbers in another order may differ."""
ELEMENTS_AT_ONCE = 4_194_304
"""Of a block of random draws: bounds memory to some 32 MiB."""


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


def rate_interval(values: Values) -> Interval:
    """Mean of per-problem rates in [0, 1] with a score interval: Wilson's (1927) for as many yes-or-no problems as would be as uncertain.

    The effective number is N over the design effect, the variance of the values over that of a yes or no with the same mean, which is 1
    where each problem has 0 or 1. (Wilson's interval under clustering: Dean & Pagano 2015; Franco et al. 2019.) Two things are added: a
    variance that is estimated calls for Student's quantile; and it is known no better than from the problems that carry it, of which
    there are few where nearly all are solved, so `_carriers` are weighed against `PRIOR` problems of effect 1. That keeps the interval
    open where all agree: 0 of 500 gives 0 to 0.008, where a bootstrap gives 0 to 0. benchmarks/coverage.py measures how often it is right.
    """
    _some(values)
    mean = float(values.mean())
    most = mean * (1 - mean)
    if _binary(values) or not most:  # none is left of the distance to 0 or 1 where values lie within rounding of them
        return _few_apart(_wilson(mean, values.size, _normal_quantile((1 + LEVEL) / 2)), values.size)
    effect = _weighed(float(values.var()) / most, values, 1 - values) if values.size > 1 else 1.0
    return _wilson(mean, values.size / min(1.0, effect), _student_quantile((1 + LEVEL) / 2, max(1, values.size - 1)))


def rate_difference(values: Values, baseline: Values) -> Interval:
    """Mean paired difference of two rates, with Newcombe's interval (1998, Statistics in Medicine 17:2635, method 10).

    The distances of the ends of both rates' own intervals from their means are combined as standard errors of correlated means are, with
    the correlation φ of the two sides over problems. So it stays open where nothing moved, as they do; a bootstrap of the differences
    of 50 problems that are mostly solved holds the truth in 1 to 86 % of simulated comparisons (pass@4 and pass@16,
    benchmarks/coverage.py). ConfigError when the sides differ in length.
    """
    _alike(values, baseline)
    ours, theirs = rate_interval(values), rate_interval(baseline)
    spread = float(values.std() * baseline.std())
    phi = float(np.cov(values, baseline, ddof=0)[0, 1]) / spread if spread > TINY else 0.0
    below, above = (
        _combined(ours.value - ours.low, theirs.high - theirs.value, phi),
        _combined(ours.high - ours.value, theirs.value - theirs.low, phi),
    )
    moved = ours.value - theirs.value
    return Interval(moved, max(-1.0, moved - below), min(1.0, moved + above))


def _combined(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def ratio_interval(hits: Values, counts: Values) -> Interval:
    """Σ hits / Σ counts over problems that each bring some of both, like right answers among those of a length; clustered by problem.

    The variance is that of the linearised ratio (Cochran 1977, ch. 6). NaN throughout where nothing is counted.
    """
    total, problems = float(counts.sum()), int((counts > 0).sum())
    if not total:
        return Interval(*[float("nan")] * 3)
    ratio = float(hits.sum() / total)
    variance = float(((hits - ratio * counts) ** 2).sum()) / total**2
    alone = ratio * (1 - ratio) / problems  # what a single answer of each problem would leave
    effect = _weighed(variance / alone, hits, counts - hits) if alone else 1.0
    return _wilson(ratio, problems / effect, _student_quantile((1 + LEVEL) / 2, max(1, problems - 1)))


def _few_apart(interval: Interval, number: int) -> Interval:
    """Wilson's interval misses too often next to 0 and 1: with 1 to 3 problems apart, Poisson's end (Brown, Cai & DasGupta 2001)."""
    from scipy.special import chdtri

    solved = round(interval.value * number)
    low, high = interval.low, interval.high
    if 1 <= solved <= FEW and 2 * solved < number:
        low = min(low, float(chdtri(2 * solved, LEVEL)) / (2 * number))
    unsolved = number - solved
    if 1 <= unsolved <= FEW and 2 * unsolved < number:
        high = max(high, 1 - float(chdtri(2 * unsolved, LEVEL)) / (2 * number))
    return Interval(interval.value, low, high)


def _weighed(effect: float, hits: Values, misses: Values) -> float:
    """A design effect as estimated, and `PRIOR`."""
    carriers = min(_carriers(hits), _carriers(misses))
    return (carriers * effect + PRIOR) / (carriers + PRIOR)


def _carriers(parts: Values) -> float:
    """How many problems the sum of these non-negative numbers comes from: (Σx)²/Σx², which is m for m equal ones."""
    squares = float((parts**2).sum())
    return float(parts.sum()) ** 2 / squares if squares else 0.0


def _wilson(mean: float, number: float, quantile: float) -> Interval:
    """Of a share among `number` problems, which need not be whole."""
    reach = quantile**2 / number
    centre = (mean + reach / 2) / (1 + reach)
    half = quantile / (1 + reach) * sqrt(mean * (1 - mean) / number + reach / (4 * number))
    return Interval(mean, min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half)))


def bootstrap_interval(values: Values, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean with a percentile bootstrap interval over problems, expanded for small samples. Without spread it has no width.

    Percentiles as Efron & Tibshirani 1993, ch. 13, but further out, as Student's quantile and √(N/(N−1)) are (Hesterberg 2015,
    arXiv:1411.5279): else the interval of 50 problems is too short by 3 %.
    """
    return bootstrap_intervals(values[:, None], resamples, seed)[0]


def bootstrap_intervals(values_QM: Values, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """The same for several metrics, on the same resamples."""
    _some(values_QM)
    problems = len(values_QM)
    tail = _expanded_tail(problems)
    drawn_RM = np.concatenate([times_RQ @ values_QM for times_RQ in _redraws(problems, resamples, seed)]) / problems
    low_M, high_M = np.quantile(drawn_RM, [tail, 1 - tail], axis=0)
    return [Interval(*map(float, row)) for row in zip(values_QM.mean(axis=0), low_M, high_M)]


def _expanded_tail(problems: int) -> float:
    from scipy.special import ndtr

    if problems < 2:
        return (1 - LEVEL) / 2
    return float(ndtr(-sqrt(problems / (problems - 1)) * _student_quantile((1 + LEVEL) / 2, problems - 1)))


def paired_difference(values: Values, baseline: Values, resamples: int = 2000, flips: int = 9999, seed: int = 0) -> Difference:
    """Mean of `values − baseline` problem by problem, with a bootstrap interval over problems and a two-sided p-value.

    The p-value is McNemar's where both runs have 0 or 1 for every problem, else that of a sign-flip permutation test with `flips`
    draws (all of them where they are no more). For rates see `rate_difference`. ConfigError when the sides differ in length.
    """
    return paired_differences(values[:, None], baseline[:, None], resamples, flips, seed)[0]


def paired_differences(values_QM: Values, baseline_QM: Values, resamples: int = 2000, flips: int = 9999, seed: int = 0) -> list[Difference]:
    """The same for several metrics, on the same resamples and flips."""
    _alike(values_QM, baseline_QM)
    intervals = bootstrap_intervals(values_QM - baseline_QM, resamples, seed)
    p_values = paired_tests(values_QM, baseline_QM, flips, seed)
    return [Difference(each.value, each.low, each.high, p) for each, p in zip(intervals, p_values, strict=True)]


def paired_tests(values_QM: Values, baseline_QM: Values, flips: int = 9999, seed: int = 0) -> list[float]:
    """The p-values alone. The two sides must be exchangeable under no difference, of as many samples for each problem therefore."""
    _alike(values_QM, baseline_QM)
    flipped = sign_flips(values_QM - baseline_QM, flips, seed)
    return [
        mcnemar(ours, theirs) if _binary(ours) and _binary(theirs) else p for ours, theirs, p in zip(values_QM.T, baseline_QM.T, flipped)
    ]


def mcnemar(values: Values, baseline: Values) -> float:
    """McNemar's test with the mid-p-value: each problem that only one run solves is a fair coin under no difference. 1 where there is none.

    The exact test counts the whole chance of what was observed and so alarms too rarely; the mid-p-value counts half of it
    (Fagerland, Lydersen & Laake 2013, doi:10.1186/1471-2288-13-91).
    """
    from scipy.special import bdtr  # the cumulative binomial distribution; scipy.stats takes a second to import

    gained, lost = int((values > baseline).sum()), int((values < baseline).sum())
    fewer, moved = min(gained, lost), gained + lost
    if gained == lost:
        return 1.0
    below = bdtr(fewer - 1, moved, 0.5) if fewer else 0.0
    return float(bdtr(fewer, moved, 0.5) + below)


def sign_flip(differences: Values, flips: int = 9999, seed: int = 0) -> float:
    """Two-sided permutation p-value of a mean paired difference: under no difference the sign of each is a fair coin.

    The mid-p-value, as of McNemar's test, which this is where all differences are ±1: what equals the observed counts half. Over all
    patterns of signs where 2^m ≤ `flips` for the m differences that aren't 0; else over `flips` drawn ones and the observed, so that it
    never is 0 (Phipson & Smyth 2010, arXiv:1603.05766). 1 where the mean is 0.
    """
    return sign_flips(differences[:, None], flips, seed)[0]


def sign_flips(differences_QM: Values, flips: int = 9999, seed: int = 0) -> list[float]:
    """The same for several metrics."""
    observed_M, slack_M = abs(differences_QM.sum(axis=0)), TINY * abs(differences_QM).sum(axis=0)
    reached_M = np.full(observed_M.shape, 0.5)  # the observed pattern itself
    for signs_FQ in _signs(len(differences_QM), flips, seed):
        reached_M += _reached(abs(signs_FQ @ differences_QM), observed_M, slack_M)
    drawn_M = reached_M / (1 + flips)
    return [_p_value(*each, flips) for each in zip(differences_QM.T, observed_M, slack_M, drawn_M, strict=True)]


def _p_value(differences: Values, observed: float, slack: float, drawn: float, flips: int) -> float:
    moved = differences[abs(differences) > TINY]
    if observed <= slack:
        return 1.0
    return _enumerated(moved, observed, slack) if 2**moved.size <= flips else float(drawn)


def _enumerated(moved: Values, observed: float, slack: float) -> float:
    """Share of all 2^m patterns of signs that reach the observed sum, those that equal it counting half."""
    bits = (np.arange(2**moved.size)[:, None] >> np.arange(moved.size)) & 1
    return float(_reached(abs((2.0 * bits - 1) @ moved), observed, slack) / len(bits))


def _reached(sums: Values, observed: Values | float, slack: Values | float) -> Values:
    """How many are larger than the observed one, and half of those that are equal."""
    larger = (sums > observed + slack).sum(axis=0)
    equal = (abs(sums - observed) <= slack).sum(axis=0)
    counted: Values = larger + 0.5 * equal
    return counted


def detectable(error: float, problems: int) -> float:
    """The smallest true difference that a two-sided test at 5 % finds with 80 % power, where its estimate has this standard error.

    (t₀.₉₇₅ + t₀.₈)·SE with N − 1 degrees of freedom: Miller 2024, arXiv:2411.00640, eq. 9, solved for the difference. NaN for fewer than
    two problems, and for an error of 0, which says nothing of what another evaluation would find.
    """
    if problems < 2 or not error:
        return float("nan")
    return error * (_student_quantile((1 + LEVEL) / 2, problems - 1) + _student_quantile(POWER, problems - 1))


def error_of(interval: Interval | Difference, problems: int) -> float:
    """The standard error that an interval stands for: half its width over Student's quantile. It is open where a sample's own is 0."""
    return (interval.high - interval.low) / (2 * _student_quantile((1 + LEVEL) / 2, max(1, problems - 1)))


def _redraws(problems: int, resamples: int, seed: int) -> Iterator[Values]:
    """How often each problem is drawn, (R, Q), in blocks. Small ones are kept: a report asks for the same ones over and over."""
    if problems * resamples <= ELEMENTS_AT_ONCE:
        yield _kept_redraws(problems, resamples, seed)
        return
    rng = np.random.default_rng(seed)
    for rows in blocks(resamples, problems):
        yield _multinomial(rng, problems, rows)


@lru_cache(maxsize=2)
def _kept_redraws(problems: int, resamples: int, seed: int) -> Values:
    return _multinomial(np.random.default_rng(seed), problems, resamples)


def _multinomial(rng: np.random.Generator, problems: int, rows: int) -> Values:
    return rng.multinomial(problems, np.full(problems, 1 / problems), size=rows).astype(np.float64)


def _signs(problems: int, flips: int, seed: int) -> Iterator[Values]:
    """Rows of ±1, (F, Q), in blocks."""
    rng = np.random.default_rng(seed)
    for rows in blocks(flips, problems):
        yield rng.integers(2, size=(rows, problems), dtype=np.int8).astype(np.float64) * 2 - 1


def blocks(rows: int, width: int) -> Iterator[int]:
    """`rows` cut into pieces whose draws of `width` numbers fit into memory."""
    most = max(1, ELEMENTS_AT_ONCE // max(1, width))
    for start in range(0, rows, most):
        yield min(most, rows - start)


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


@lru_cache
def _student_quantile(share: float, freedom: int) -> float:
    """The normal one where no spread can be estimated."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share)) if freedom > 0 else _normal_quantile(share)


def _binary(values: Values) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _alike(values: Values, baseline: Values) -> None:
    if values.shape != baseline.shape:
        raise ConfigError(f"a paired difference needs the same problems on both sides; there are {len(values)} and {len(baseline)}")


def _some(values: Values) -> None:
    if values.size == 0:
        raise ConfigError("an interval needs at least one problem; there is none")
