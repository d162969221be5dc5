"""What k of the n samples of a problem would have shown: pass@k, pass^k, avg@k and best@k. Votes, maj@k, are in `votes.py`.

All ask for a mean over the C(n, k) subsets of k samples. Drawing samples with replacement is biased and looking at the first k only is
wasteful; fewer than k samples can't tell, so n < k is refused. Up to n = 1,000 the binomials are exact integers and the result is
correctly rounded; beyond, the quotient of two of them is a product of min(c, k) factors, summed as logarithms.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from reasoning_rl.errors import ConfigError

Counts = npt.NDArray[np.integer[Any]] | Sequence[int]
Rates = npt.NDArray[np.float64]

EXACT = 1000
"""The largest n whose binomials are computed as integers: a few microseconds each."""


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(n: int | Counts, c: Counts, k: int) -> Rates: ...
def pass_at_k(n: int | Counts, c: int | Counts, k: int) -> float | Rates:
    """Chance that one of k samples is right when c of n were: 1 − C(n−c, k)/C(n, k). Chen et al. 2021, arXiv:2107.03374 §2.1, eq. 1.

    Unbiased. `n` and `c` may be arrays (one entry per problem) of shapes that broadcast; the result then is one. ConfigError when k < 1,
    n < k, or c is not within [0, n].

    >>> pass_at_k(8, 2, 1), pass_at_k(8, 2, 4)
    (0.25, 0.7857142857142857)
    """
    return _each(_pass_at_k, n, c, k)


@overload
def pass_hat_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_hat_k(n: int | Counts, c: Counts, k: int) -> Rates: ...
def pass_hat_k(n: int | Counts, c: int | Counts, k: int) -> float | Rates:
    """pass^k, the chance that all of k samples are right: C(c, k)/C(n, k). Yao et al. 2024, arXiv:2406.12045. Else as `pass_at_k`.

    >>> pass_hat_k(8, 6, 4), pass_hat_k(8, 3, 4)
    (0.21428571428571427, 0.0)
    """
    return _each(_pass_hat_k, n, c, k)


def avg_at_k(n: int | Counts, c: int | Counts, k: int) -> float | Rates:
    """avg@k, the mean share of right ones among k samples: c/n whatever the k, so it is pass@1. Errors as of `pass_at_k`.

    >>> avg_at_k(8, 2, 4)
    0.25
    """
    return _each(lambda total, right, size: right / _checked(total, right, size, "avg@{k}"), n, c, k)


def best_at_k(n: Sequence[int], c: Sequence[int], k: int) -> float:
    """Best-of-k: chance that the sample of highest reward among k is right, a tie broken at random.

    `n[i]` samples have the i-th highest reward, `c[i]` of them are right. The best of k is in tier i when none is above it and not all are
    below; which sample of the tier it is, is then even. Errors as of `pass_at_k`.

    >>> best_at_k([1, 3], [0, 3], 2)  # half of the pairs hold the wrong sample that is rewarded most
    0.5
    """
    total, above, chance = sum(n), 0, 0.0
    if len(n) != len(c):
        raise ConfigError(f"best@{k}: there are {len(n)} tiers of samples and {len(c)} of right ones; as many are needed")
    _checked(total, sum(c), k, "best@{k}")
    for size, right in zip(n, c):
        if not 0 <= right <= size:
            raise ConfigError(f"best@{k}: a tier of {size} samples has {right} right ones; accepted: 0 to {size}")
        reached = _pass_at_k(total, above + size, k) - _pass_at_k(total, above, k)
        chance += reached * right / size if size else 0.0
        above += size
    return chance


@lru_cache(maxsize=65_536)
def _pass_at_k(n: int, c: int, k: int) -> float:
    _checked(n, c, k, "pass@{k}")
    if n - c < k:
        return 1.0
    if n > EXACT:
        return float(-np.expm1(_log_quotient(n, c, k)))
    return (comb(n, k) - comb(n - c, k)) / comb(n, k)


@lru_cache(maxsize=65_536)
def _pass_hat_k(n: int, c: int, k: int) -> float:
    """No wrong one among k: the quotient of pass@k for the n − c wrong ones."""
    _checked(n, c, k, "pass^{k}")
    if c < k:
        return 0.0
    return float(np.exp(_log_quotient(n, n - c, k))) if n > EXACT else comb(c, k) / comb(n, k)


def _log_quotient(n: int, c: int, k: int) -> float:
    """Of C(n−c, k)/C(n, k) = Π (1 − k/(n−i)) over i < c = Π (1 − c/(n−i)) over i < k, whichever has fewer factors; n − c ≥ k."""
    few, many = sorted((c, k))
    rest = n - np.arange(few)
    return float(np.where(2 * many > rest, np.log((rest - many) / rest), np.log1p(-many / rest)).sum())  # each where it is exact


def _checked(n: int, c: int, k: int, metric: str) -> int:
    """n, if the three make sense together."""
    name = metric.format(k=k)
    if k < 1:
        raise ConfigError(f"{name}: k is {k}; it must be at least 1")
    if n < k:
        raise ConfigError(f"{name} needs at least {k} samples per problem; there are {n}")
    if not 0 <= c <= n:
        raise ConfigError(f"{name}: c, the number of right samples, is {c}; with n = {n} samples it lies between 0 and {n}")
    return n


def _each(estimate: Callable[[int, int, int], float], n: int | Counts, c: int | Counts, k: int) -> float | Rates:
    """The estimate of each problem; of equal counts once."""
    if np.ndim(n) == np.ndim(c) == 0:
        return estimate(_whole("n", n), _whole("c", c), _whole("k", k))
    if _whole("k", k) < 1:
        raise ConfigError(f"k is {k}; it must be at least 1")
    totals, rights = _whole_array("n", n), _whole_array("c", c)
    try:
        pairs = np.stack(np.broadcast_arrays(totals, rights), axis=-1)
    except ValueError as failure:
        raise ConfigError(f"n has the shape {totals.shape} and c {rights.shape}; one entry per problem is needed in both") from failure
    distinct, where = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    rates = np.array([estimate(int(total), int(right), k) for total, right in distinct], dtype=np.float64)
    return rates[where.reshape(-1)].reshape(pairs.shape[:-1])


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ConfigError(f"{name} is {value!r}; a whole number is needed")
    return int(value)


def _whole_array(name: str, values: object) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ConfigError(f"{name} holds {array.dtype} values; whole numbers are needed")
    return array.astype(np.int64)
