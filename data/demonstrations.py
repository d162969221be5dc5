"""What the cold start imitates: a source's own demonstrations, or the worked solutions of its training problems, in the template's form."""

import re
from collections.abc import Sequence

from reasoning_rl.data.source import Row, Worked
from reasoning_rl.records import Problem

_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_GOLD_LINE = re.compile(r"\n?####[^\n]*")


def from_solutions(rows: Sequence[Row]) -> list[Worked]:
    """The problems with the working of their solutions; the answer alone where there is none."""
    return [Worked(row.problem, working_of(row.problem), row.problem.gold) for row in rows]


def working_of(problem: Problem) -> str:
    r"""The solution without calculator annotations and without the line that repeats the gold.

    >>> working_of(Problem("", "", "", "", "24", solution="48/2 = <<48/2=24>>24 clips.\n#### 24"))
    '48/2 = 24 clips.'
    """
    return _GOLD_LINE.sub("", _ANNOTATION.sub("", problem.solution)).strip()
