"""All parts of a run's folder in one table, and an error at the end for what is damaged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from reasoning_rl.checkup import course, reports, start
from reasoning_rl.checkup.finding import Finding, Run
from reasoning_rl.errors import RunError, first_line

Look = Callable[[Run], "Finding | Sequence[Finding] | None"]
_LOOKS: Mapping[str, Look] = {
    "config.yaml": start.config,
    "environment.json": start.environment,
    "data": start.data,
    "base.json": start.base,
    "metrics.jsonl": course.metrics,
    "rollouts": course.rollouts,
    "checkpoints": course.policies,
    "resumed.jsonl": course.resumed,
    "faults": course.faults,
    "eval": reports.reports,
    "leftovers": reports.rest,
}
_STYLES = {"ok": "green", "damaged": "bold red"}


def look(folder: Path) -> list[Finding]:
    """Every part of a run, whatever has been interrupted there. RunError for a folder of something else."""
    _refuse_other(folder)
    run = Run(folder)
    writing = Finding("in use", "under way" if run.holder else "ok", run.holder or "nobody writes here now")
    return [writing, *(_lenient(found, run) for part, each in _LOOKS.items() for found in _found(part, each, run))]


def _refuse_other(folder: Path) -> None:
    """A folder that is empty may be of a run that has just begun."""
    there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if there and not any((folder / part).exists() for part in _LOOKS):
        raise RunError(f"{folder} is no run's folder: it has {there[0].name}, and none of {', '.join(list(_LOOKS)[:-1])}")


def _found(part: str, each: Look, run: Run) -> Iterator[Finding]:
    try:
        found = each(run)
    except OSError as failure:
        yield Finding(part, "damaged", f"can't be read: {failure.strerror or first_line(failure)}", "see to the disk, and to permissions")
        return
    yield from [found] if isinstance(found, Finding) else found or ()


def _lenient(finding: Finding, run: Run) -> Finding:
    """What is being written may look damaged for a moment."""
    return replace(finding, state="under way") if run.holder and finding.state == "damaged" else finding


def table(folder: Path, findings: Sequence[Finding]) -> Table:
    drawn = Table("part", "state", "detail", title=Text(str(folder)), title_justify="left")
    for found in findings:
        drawn.add_row(Text(found.part), Text(found.state, style=_STYLES.get(found.state, "")), Text(found.detail))
    return drawn


def refuse_damaged(found: Mapping[Path, Sequence[Finding]]) -> None:
    """RunError with what to do for each part that is damaged."""
    told = [
        f"{folder}, {one.part}: {one.detail}\n    → {one.remedy}"
        for folder, all_ in found.items()
        for one in all_
        if one.state == "damaged"
    ]
    if told:
        raise RunError("\n  ".join([f"{len(told)} damaged; nothing was changed", *told]))
