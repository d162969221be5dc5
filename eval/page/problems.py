"""Problems worth reading: those that stay hard, those that were learned, and those that were unlearned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_rl.eval.page.content import Page
from reasoning_rl.eval.page.text import shortened

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 6
QUESTION = 600
"""Characters of a question that are shown."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with what each policy made of it."""

    id: str
    question: str
    gold: str
    counts: Sequence[tuple[str, int, int]]
    """Policy, right answers, answers."""
    change: float | None
    """Of the share of right answers, from the first policy to the last; None for one policy alone."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Some problems under a title."""

    title: str
    empty: str
    """What is said where there is none."""
    problems: Sequence[Problem]


def shelves(page: Page) -> list[Shelf]:
    """Hardest for the last policy, and with several policies its largest gains and losses. Ties stand in the order of their ids."""
    table = _table(page)
    hardest = Shelf("Hardest", "There is no problem.", _some(page, table.sort_values(["p", "first", "problem_id"])))
    if len(page.policies) == 1:
        return [hardest]
    moved = table.assign(change=table["p"] - table["first"])
    gained = moved[moved["change"] > 0].sort_values(["change", "problem_id"], ascending=[False, True])
    lost = moved[moved["change"] < 0].sort_values(["change", "problem_id"])
    name = page.first.name
    return [
        hardest,
        Shelf(f"Gained most against {name}", "None was gained.", _some(page, gained)),
        Shelf(f"Lost most against {name}", "None was lost.", _some(page, lost)),
    ]


def _table(page: Page) -> "pd.DataFrame":
    """The last policy's problems that the first one has too, with that one's share as `first`."""
    theirs = page.first.problems.set_index("problem_id")["p"].rename("first")
    return page.last.problems.merge(theirs, left_on="problem_id", right_index=True)


def _some(page: Page, table: "pd.DataFrame") -> list[Problem]:
    rows = table.head(SHOWN).to_dict("records")
    counted = [_counts(policy.problems, [row["problem_id"] for row in rows]) for policy in page.policies]
    return [_problem(page, row, counted) for row in rows]


def _counts(problems: "pd.DataFrame", ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    chosen = problems[problems["problem_id"].isin(ids)]
    return {key: (int(c), int(n)) for key, c, n in zip(chosen["problem_id"], chosen["c"], chosen["n"], strict=True)}


def _problem(page: Page, row: dict[Any, Any], counted: Sequence[dict[str, tuple[int, int]]]) -> Problem:
    key = row["problem_id"]
    counts = [(name, *found[key]) for name, found in zip(page.names, counted, strict=True) if key in found]
    change = None if len(page.policies) == 1 else row["p"] - row["first"]
    return Problem(key, shortened(row["question"], QUESTION), shortened(row["gold"], QUESTION), counts, change)
