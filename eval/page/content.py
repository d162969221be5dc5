"""What a page is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.eval.report import Report

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PolicyPage:
    """One policy as the eval stage left it."""

    name: str
    report: Report
    problems: "pd.DataFrame"
    """problems.parquet."""
    samples: Path
    """samples.parquet, which is streamed: it may hold millions of rows."""


@dataclass(frozen=True)
class Page:
    """Policies side by side: the first one is what the others are compared with, the last one what is looked at closely."""

    title: str
    note: str
    """What a reader must know before the figures; "" for nothing."""
    policies: Sequence[PolicyPage]
    """At least one."""
    comparison: "pd.DataFrame | None"
    """Of `compare`, whose runs are the policies in their order; None leaves the differences out."""
    course: "pd.DataFrame | None"
    """metrics.jsonl of the run as `read_metrics` gives it; None where there was no training."""
    settings: Mapping[str, object]
    """The resolved config, nested; empty where there is none."""

    def __post_init__(self) -> None:
        """ValueError when there is no policy, or when the comparison is of other runs."""
        policies, runs = len(self.policies), len(self.runs)
        if not policies or (self.comparison is not None and runs != policies):
            raise ValueError(f"page: found {policies} policies and a comparison of {runs} runs; each run is a policy, of at least one")

    @property
    def runs(self) -> list[str]:
        """What the comparison calls the policies; empty without one."""
        return [] if self.comparison is None else list(dict.fromkeys(self.comparison["run"]))

    def row(self, place: int, metric: str, k: int | None) -> dict[str, Any] | None:
        """What the comparison says of the policy at `place`; None where it has nothing."""
        frame = self.comparison
        if frame is None:
            return None
        same_k = frame["k"].isna() if k is None else (frame["k"] == k).fillna(value=False)
        chosen = frame[(frame["run"] == self.runs[place]) & (frame["metric"] == metric) & same_k]
        return next(({str(name): value for name, value in row.items()} for row in chosen.to_dict("records")), None)

    def contrast(self, place: int, metric: str, k: int | None) -> dict[str, Any] | None:
        """The same where it holds a difference to the first policy."""
        row = self.row(place, metric, k)
        return None if row is None or row["difference"] != row["difference"] else row

    @property
    def first(self) -> PolicyPage:
        return self.policies[0]

    @property
    def last(self) -> PolicyPage:
        return self.policies[-1]

    @property
    def names(self) -> list[str]:
        return [policy.name for policy in self.policies]
