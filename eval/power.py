"""What it would take to settle a difference of pass@1: more samples for each problem, or more problems."""

from collections.abc import Sequence
from math import ceil, inf, isnan, nan, sqrt
from typing import TYPE_CHECKING

from reasoning_rl.errors import ConfigError
from reasoning_rl.eval.statistics import detectable

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = (1, 2, 4, 8, 16, 32, 64, 256)


def settle(
    base: "pd.DataFrame", other: "pd.DataFrame", *, difference: float | None = None, samples: Sequence[int] = SAMPLES
) -> "pd.DataFrame":
    """For so many samples per problem on each side: what the pairing would find, and how many problems it would take to find `difference`.

    `base` and `other` are two problems.parquet of two or more samples a problem, `difference` is the observed one if not given. One row for
    each of `samples`, and one for infinitely many, with the columns `samples`, `standard_error` and `detectable` (of pass@1 on the problems
    at hand) and `problems` (at 80 % power; infinite for no difference, unknown where nothing varies).

    The variance of a problem's paired difference is ω² + σ_A²/n + σ_B²/n (Miller 2024, arXiv:2411.00640, eq. 9): ω² is how differently two
    policies take to problems, which no number of samples reduces; σ² = E[p(1−p)] is the luck of a sample, estimated without bias by
    c(n−c)/(n(n−1)). ω² is what is left of the observed variance, at least 0; from few samples of few problems it is uncertain.
    ConfigError for one sample a problem, or fewer than two common problems.
    """
    import pandas as pd

    both = base.merge(other, on="problem_id", suffixes=("", "_other"))
    if len(both) < 2 or (both[["n", "n_other"]] < 2).any(axis=None):
        raise ConfigError(f"settle: two common problems with two samples each are needed; found {len(both)} of {_fewest(both)} samples")
    moved = both["c_other"] / both["n_other"] - both["c"] / both["n"]
    wanted = abs(float(moved.mean()) if difference is None else difference)
    ours, theirs = (_luck(both[f"n{side}"], both[f"c{side}"]) for side in ("", "_other"))
    noise = ours / both["n"] + theirs / both["n_other"]
    omega = max(0.0, float(moved.var() - noise.mean()))
    sigma = float(ours.mean() + theirs.mean())
    rows = [_row(count, omega + sigma / count, len(both), wanted) for count in (*map(float, samples), inf)]
    return pd.DataFrame(rows, columns=["samples", "standard_error", "detectable", "problems"])


def _luck(n: "pd.Series[int]", c: "pd.Series[int]") -> "pd.Series[float]":
    """p(1−p) of each problem, without bias."""
    return c * (n - c) / (n * (n - 1))


def _row(samples: float, variance: float, problems: int, difference: float) -> tuple[float, float, float, float]:
    error = sqrt(variance / problems)
    least = detectable(error, problems)
    known = difference and not isnan(least)
    needed = max(2, ceil(problems * (least / difference) ** 2)) if known else nan if difference else inf
    return samples, error, least, needed


def _fewest(both: "pd.DataFrame") -> int:
    return int(both[["n", "n_other"]].to_numpy().min()) if len(both) else 0
