"""Stored completions as a person reads them in a terminal."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from reasoning_rl.errors import RunError
from reasoning_rl.journal import rollout_steps

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ("problem_id", "sample", "reward", "verdict", "gold", "answer", "tokens", "finish_reason", "prompt", "completion")


def run_folder(run: str, runs: Path) -> Path:
    """The folder of a run, given by its path or by its name below `runs`; RunError lists the runs there are."""
    for folder in (runs / run, Path(run)):
        if folder.is_dir():
            return folder
    known = sorted(entry.name for entry in runs.iterdir() if entry.is_dir()) if runs.is_dir() else []
    raise RunError(f"run {run!r}: there is no folder {runs / run}; runs found in {runs}: {', '.join(known) or 'none'}")


def stored_rollouts(folder: Path, step: int | None) -> "tuple[int, pd.DataFrame]":
    """The completions of a step, the last one if none is named; RunError says which steps there are."""
    import pandas as pd

    steps = rollout_steps(folder)
    if not steps:
        raise RunError(f"{folder}: no rollouts here; a run stores its completions from its first step on")
    chosen = max(steps) if step is None else step
    if chosen not in steps:
        raise RunError(f"--step: {folder} has no rollouts of step {chosen}; it has steps {_ranges(list(steps))}")
    try:
        rollouts = pd.read_parquet(steps[chosen])
    except (OSError, ValueError) as failure:  # pyarrow's errors are of these two kinds
        raise RunError(f"{steps[chosen]}: damaged: {failure}") from failure
    if missing := [name for name in _SHOWN if name not in rollouts]:
        raise RunError(f"{steps[chosen]}: damaged: no column {missing[0]!r}")
    return chosen, rollouts


def extremes(rollouts: "pd.DataFrame", worst: int | None, best: int | None) -> "pd.DataFrame":
    """The `worst` completions by reward, then the `best`; five worst when neither is asked for. Equal rewards keep their order."""
    import pandas as pd

    if worst is None and best is None:
        worst = 5
    rising = rollouts.sort_values("reward", kind="stable")
    falling = rollouts.sort_values("reward", kind="stable", ascending=False)
    return pd.concat([rising.head(worst or 0), falling.head(best or 0)])


def completions(rollouts: "pd.DataFrame") -> Iterator[RenderableType]:
    """Each row with its prompt, its completion, and what every verifier said of it."""
    for row in rollouts.to_dict("records"):
        yield _completion({str(name): value for name, value in row.items()})


def _completion(row: Mapping[str, Any]) -> RenderableType:
    title = f"{row['problem_id']}  sample {row['sample']}  reward {row['reward']:.3f}  {row['verdict']}"
    answer = row["answer"] if isinstance(row["answer"], str) else "none"
    facts = f"gold {row['gold']}  answer {answer}  {row['tokens']} tokens, ended by {row['finish_reason']}"
    return Group(
        Rule(Text(title), align="left"),
        Text(str(row["prompt"]).rstrip("\n"), style="dim"),
        Text(str(row["completion"])),
        Text(facts, style="italic"),
        _scores(row),
    )


def _scores(row: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for column, value in row.items():
        name = column.removeprefix("score_")
        if name != column:
            table.add_row(Text(name), Text(f"{value:.3f}"), Text(str(row.get(f"reason_{name}") or "")))
    return table


def _ranges(steps: list[int]) -> str:
    """Whole numbers in short.

    >>> _ranges([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    spans: list[list[int]] = []
    for step in steps:
        if spans and step == spans[-1][1] + 1:
            spans[-1][1] = step
        else:
            spans.append([step, step])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in spans)
