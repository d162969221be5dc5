"""Evaluations of different numbers of samples brought to one number, for tests that take both sides to be alike under no difference.

With 16 samples pass@16 is a yes or no, with 64 it is a rate. Both have the same mean, and not the same distribution: signs of their
differences are no fair coins, and a test would find what is not there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Rng = np.random.Generator


def thinned(problems: "pd.DataFrame", n: Sequence[int], seed: int = 0) -> "pd.DataFrame":
    """The counts that `n` samples of each problem would have left, drawn without replacement; fewer than there are, or as many.

    Counts of one problem are drawn each by itself, so that a metric may be computed from any of them, and two not compared. Columns that
    hold what is no count, such as the mean reward, stay as they are.
    """
    rng = np.random.default_rng(seed)
    drawn = [_problem(rng, row, int(size)) for (_, row), size in zip(problems.iterrows(), n, strict=True)]
    columns: dict[str, Any] = {name: [row[name] for row in drawn] for name in drawn[0]} if drawn else {}
    votes = [column for column in problems.columns if str(column).startswith("maj@")]  # of all samples: to be counted anew
    return problems.drop(columns=votes).assign(**columns)


def _problem(rng: Rng, row: "pd.Series[Any]", n: int) -> dict[str, object]:
    right, wrong = int(row["c"]), [int(size) for size in row["votes"]]
    missing = int(row["n"]) - right - sum(wrong)
    votes = rng.multivariate_hypergeometric([right, *wrong, missing], n)
    tiers = [(int(right), int(size) - int(right)) for size, right in zip(row["tiers_n"], row["tiers_c"], strict=True)]
    ranked = rng.multivariate_hypergeometric([part for tier in tiers for part in tier], n).reshape(-1, 2)
    return {
        "n": n,
        "c": int(votes[0]),
        "votes": sorted((int(size) for size in votes[1:-1] if size), reverse=True),
        "c_strict": int(rng.hypergeometric(int(row["c_strict"]), int(row["n"]) - int(row["c_strict"]), n)),
        "tiers_n": ranked.sum(axis=1).tolist(),
        "tiers_c": ranked[:, 0].tolist(),
    }
