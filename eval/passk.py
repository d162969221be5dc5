"""pass@k and maj@k of one problem from n samples, exact: integers are counted, nothing is drawn.

Both ask what a subset of k of the n samples would have shown, averaged over all C(n, k) subsets. Drawing samples with replacement is
biased and looking at the first k only is wasteful; fewer than k samples can't tell, so n < k is refused.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from reasoning_rl.errors import ConfigError

Counts = npt.NDArray[np.integer[Any]] | Sequence[int]


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(n: int | Counts, c: Counts, k: int) -> npt.NDArray[np.float64]: ...
def pass_at_k(n: int | Counts, c: int | Counts, k: int) -> float | npt.NDArray[np.float64]:
    """Chance that one of k samples is right when c of n were: 1 − C(n−c, k)/C(n, k). Chen et al. 2021, arXiv:2107.03374 §2.1, eq. 1.

    Unbiased, and correctly rounded: the binomials are exact integers. `n` and `c` may be arrays (one entry per problem) of shapes that
    broadcast; the result then is one. ConfigError when k < 1, n < k, or c is not within [0, n].

    >>> pass_at_k(8, 2, 1), pass_at_k(8, 2, 4)
    (0.25, 0.7857142857142857)
    """
    if np.ndim(n) == np.ndim(c) == 0:
        return _pass_at_k(_whole("n", n), _whole("c", c), _whole("k", k))
    pairs = np.stack(np.broadcast_arrays(_whole_array("n", n), _whole_array("c", c)), axis=-1)
    distinct, where = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    rates = np.array([_pass_at_k(int(total), int(right), _whole("k", k)) for total, right in distinct], dtype=np.float64)
    return rates[where.reshape(-1)].reshape(pairs.shape[:-1])


@lru_cache(maxsize=65_536)
def _pass_at_k(n: int, c: int, k: int) -> float:
    _check(n, c, k, "pass")
    subsets = comb(n, k)
    return (subsets - comb(n - c, k)) / subsets


def _check(n: int, c: int, k: int, metric: str) -> None:
    if k < 1:
        raise ConfigError(f"{metric}@k: k is {k}; it must be at least 1")
    if n < k:
        raise ConfigError(f"{metric}@{k} needs at least {k} samples per problem; there are {n}")
    if not 0 <= c <= n:
        raise ConfigError(f"{metric}@k: c, the number of right samples, is {c}; with n = {n} samples it lies between 0 and {n}")


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ConfigError(f"pass@k: {name} is {value!r}; a whole number is needed")
    return int(value)


def _whole_array(name: str, values: object) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ConfigError(f"pass@k: {name} holds {array.dtype} values; whole numbers are needed")
    return array.astype(np.int64)


def plurality(correct: int, wrong: Sequence[int]) -> float:
    """Credit of a vote: 1 when the right answer has the most votes, 1/(number of leaders) in a tie (a random leader is taken), else 0.

    `wrong` holds the votes of each wrong answer. Without any vote for the right answer the credit is 0.

    >>> plurality(3, [2, 1]), plurality(2, [2, 2]), plurality(1, [2])
    (1.0, 0.3333333333333333, 0.0)
    """
    if correct == 0 or max(wrong, default=0) > correct:
        return 0.0
    return 1 / (1 + sum(votes == correct for votes in wrong))


def maj_at_k(correct: int, wrong: Sequence[int], k: int, *, abstentions: int = 0) -> float:
    """Mean `plurality` over all subsets of k samples, exact: multivariate hypergeometric, by a dynamic programme over the wrong answers.

    `correct` samples gave the right answer, `wrong[i]` samples the i-th wrong one, `abstentions` none at all: they are drawn, cast no vote.
    ConfigError when k < 1 or there are fewer than k samples.

    >>> maj_at_k(2, [1, 1], 3)  # of the 4 subsets two hold both right answers, two are three-way ties
    0.6666666666666666
    """
    n = correct + sum(wrong) + abstentions
    _check(n, correct, k, "maj")
    fewest = max(1, k - (n - correct))
    won = sum(comb(correct, votes) * _credit(votes, wrong, abstentions, k - votes) for votes in range(fewest, min(correct, k) + 1))
    return float(won / comb(n, k))


def _credit(votes: int, wrong: Sequence[int], abstentions: int, others: int) -> float:
    """Over the ways to fill `others` places besides `votes` right ones, the sum of credits: 1/(1 + wrong answers that tie)."""
    ways = {(0, 0): 1}  # (places filled, wrong answers that tie) -> number of ways
    for size in wrong:
        ways = _with_class(ways, size, votes, others)
    return sum(count * comb(abstentions, others - filled) / (1 + tied) for (filled, tied), count in ways.items())


def _with_class(ways: dict[tuple[int, int], int], size: int, votes: int, others: int) -> dict[tuple[int, int], int]:
    """Let one more wrong answer, given by `size` samples, take up to `votes` of the places."""
    extended: dict[tuple[int, int], int] = {}
    for (filled, tied), count in ways.items():
        for taken in range(min(size, votes, others - filled) + 1):
            state = (filled + taken, tied + (taken == votes))
            extended[state] = extended.get(state, 0) + count * comb(size, taken)
    return extended
