from pathlib import Path

import pandas as pd
from cpu_recipe import _reports, broken_promises


def comparison(after: float, low: float, problems: int = 500) -> pd.DataFrame:
    """A policy at 0.4 ± 0.02 before, and `after` down to `low` in both metrics after."""
    rows = [
        {"run": run, "metric": metric, "k": k, "value": value, "low": bottom, "high": value + 0.02, "n": problems}
        for run, value, bottom in (("base", 0.4, 0.38), ("trained", after, low))
        for metric, k in (("pass@k", 1), ("pass@k", 8), ("greedy", None))
    ]
    return pd.DataFrame(rows).astype({"k": "Int64"})


def test_a_clear_gain_keeps_every_promise() -> None:
    assert list(broken_promises(comparison(0.8, 0.78))) == []


def test_a_gain_that_is_too_small_breaks_those_it_misses() -> None:
    assert list(broken_promises(comparison(0.62, 0.6))) == ["pass@1 gained +0.220; promised are +0.25"]


def test_intervals_that_overlap_break_a_promise_whatever_the_gain() -> None:
    assert len(list(broken_promises(comparison(0.8, 0.41)))) == 2


def test_too_few_problems_break_a_promise() -> None:
    assert any("measured on 299 problems" in said for said in broken_promises(comparison(0.8, 0.78, problems=299)))


def test_the_report_beside_the_trained_one_is_the_base(tmp_path: Path) -> None:
    for name in ("cold", "trained"):
        (tmp_path / "eval" / name).mkdir(parents=True)
        (tmp_path / "eval" / name / "report.json").write_text("{}")
    assert _reports(tmp_path) == (tmp_path / "eval" / "cold", tmp_path / "eval" / "trained")
