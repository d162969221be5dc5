"""Settings and hashes under dotted names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasoning_rl.eval.page.content import Page


@dataclass(frozen=True, slots=True)
class Fact:
    """What the reports say of themselves under a name: once where they agree."""

    name: str
    values: Sequence[str]
    shared: bool


def facts(page: Page) -> list[Fact]:
    """Everything that the reports know of where they come from; the note stands elsewhere."""
    known = [dict(flat({**policy.report.facts, "created": policy.report.created})) for policy in page.policies]
    names = [name for name in dict.fromkeys(name for table in known for name in table) if name != "note"]
    rows = ((name, [table.get(name, "") for table in known]) for name in names)
    return [Fact(name, values, shared=len(set(values)) == 1 and name != "created") for name, values in rows]  # seconds agree by chance


def flat(nested: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings, one a line.

    >>> flat({"train": {"steps": 3, "stop": ["#"]}, "note": "seen", "limit": None})
    [('train.steps', '3'), ('train.stop', '["#"]'), ('note', 'seen'), ('limit', 'null')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)))
    return rows
