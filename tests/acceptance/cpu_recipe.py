"""Whether a run of the `cpu` recipe kept its promise: `python tests/acceptance/cpu_recipe.py runs/cpu`, after `make data train eval`.

The trained policy stands above the cold-started one on the same held-out problems, by more than noise; else this ends with exit code 1.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from reasoning_rl.eval.compare import compare

LEAST_GAIN = {"pass@1": 0.25, "greedy": 0.20}
LEAST_PROBLEMS = 300


def broken_promises(frame: pd.DataFrame) -> Iterator[str]:
    """Each in words; `frame` is what `compare(base, trained)` returns."""
    base, trained = frame["run"].drop_duplicates()
    for metric, least in LEAST_GAIN.items():
        before, after = (_figures(frame, run, metric) for run in (base, trained))
        gain = after["value"] - before["value"]
        print(f"{metric}: {before['value']:.3f} → {after['value']:.3f}, {gain:+.3f} on {int(after['n'])} problems")
        if gain < least:
            yield f"{metric} gained {gain:+.3f}; promised are {least:+.2f}"
        if after["low"] <= before["high"]:
            yield f"{metric}: the intervals overlap, {before['high']:.3f} before and {after['low']:.3f} after"
        if after["n"] < LEAST_PROBLEMS:
            yield f"{metric} was measured on {int(after['n'])} problems; promised are {LEAST_PROBLEMS}"


def _figures(frame: pd.DataFrame, run: str, metric: str) -> pd.Series:
    name, k = ("pass@k", 1) if metric == "pass@1" else (metric, None)
    rows = frame[(frame["run"] == run) & (frame["metric"] == name)]
    return (rows if k is None else rows[rows["k"] == k]).iloc[0]


def _reports(run: Path) -> tuple[Path, Path]:
    """The folder of the report before training and that after it."""
    (base,) = (report.parent for report in (run / "eval").glob("*/report.json") if report.parent.name != "trained")
    return base, run / "eval" / "trained"


if __name__ == "__main__":
    broken = list(broken_promises(compare(*_reports(Path(sys.argv[1])))))
    sys.exit("\n".join(broken) if broken else 0)
