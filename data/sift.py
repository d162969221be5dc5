"""Setting rows aside: findings by problem id, and the rows divided by them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reasoning_rl.data.source import Rejection, Role, Row, Stage


class Finding(NamedTuple):
    """Why a problem can't stay."""

    reason: str
    related: str = ""


Findings = Mapping[str, Finding]
"""By problem id."""


class Sieve:
    """The rows of one split on their way through the stages; what a stage finds against is listed, never lost."""

    def __init__(self, role: Role, rows: Sequence[Row], broken: Iterable[Rejection]) -> None:
        self.role = role
        self.rows = list(rows)
        self.rejections = [rejection for rejection in broken if rejection.split == role]
        self.read = len(self.rows) + len(self.rejections)

    def sift(self, stage: Stage, findings: Findings) -> None:
        kept = []
        for row in self.rows:
            if (finding := findings.get(row.problem.id)) is None:
                kept.append(row)
            else:
                self.rejections.append(Rejection(self.role, row.problem.id, row.where, stage, *finding))
        self.rows = kept

    def counts(self) -> dict[str, object]:
        """Read = kept + the sum over the stages."""
        aside: dict[str, int] = {}
        for rejection in self.rejections:
            aside[rejection.stage] = aside.get(rejection.stage, 0) + 1
        return {"read": self.read, "kept": len(self.rows), "set_aside": aside}
