"""What evaluations have left, and what interrupted writes did."""

from pathlib import Path

from reasoning_rl.checkup.finding import Finding, Run, counted
from reasoning_rl.errors import RunError
from reasoning_rl.eval import probe_report
from reasoning_rl.eval.report import FILE, TABLES, Report, damaged_tables, read_report
from reasoning_rl.files import leftovers

_MARKS = (FILE, TABLES[0], ".parts-*")


def reports(run: Run) -> list[Finding]:
    """A line for each policy and set of problems below eval/."""
    place = run.folder / "eval"
    folders = sorted({mark.parent for name in _MARKS for mark in place.rglob(name)})
    if not folders:
        return [Finding("eval", "not yet", f"nothing is evaluated; {run.command('eval')} does it")]
    return [_report(run, folder) for folder in folders]


def _report(run: Run, folder: Path) -> Finding:
    part, pieces = folder.relative_to(run.folder).as_posix(), sum(1 for _ in folder.glob(".parts-*/*.parquet"))
    if not (folder / FILE).exists():
        stored = f"{counted(pieces, 'piece')} of its answers" if pieces else "its answers"
        return Finding(part, "not yet", f"under way, with {stored} stored; eval goes on from there")
    again = f"{_command(run, folder)} makes it again, the same"
    try:
        report = read_report(folder / FILE)
    except RunError as failure:
        return Finding(part, "damaged", str(failure), again)
    broken = [*map(" ".join, damaged_tables(folder, report).items()), *_probe(folder)]
    if broken:
        return Finding(part, "damaged", "; ".join(broken), again)
    if folder.name == "trained" and (other := _other(run, report)):
        return Finding(part, "not yet", f"of {other}; {_command(run, folder)} makes it anew for {run.whole[-1].name}")
    another = f"; beside it {counted(pieces, 'piece')} of another evaluation" if pieces else ""
    return Finding(part, "ok", f"of {report.created}{another}")


def _other(run: Run, report: Report) -> str | None:
    """The checkpoint that a report is of, where that isn't the one that would be evaluated now."""
    name = Path(str(report.facts.get("policy", ""))).name
    return name if name.startswith("step-") and run.whole and name != run.whole[-1].name else None


def _command(run: Run, folder: Path) -> str:
    below = folder.relative_to(run.folder / "eval").parts
    return run.command("eval", *(["--suite", below[0]] if len(below) > 1 else []))


def _probe(folder: Path) -> list[str]:
    there = (folder / probe_report.FILE).exists()
    return [f"{probe_report.FILE} can't be read"] if there and probe_report.read_probe(folder) is None else []


def rest(run: Run) -> Finding:
    """What interrupted writes left, and damaged checkpoints that training has set aside."""
    torn = len(leftovers(run.folder))
    aside = sum(1 for _ in (run.folder / "checkpoints").glob("step-*.damaged"))
    told = [f"{torn} of interrupted writes"] if torn else []
    told += [f"{counted(aside, 'damaged checkpoint')} set aside"] if aside else []
    return Finding("leftovers", "ok", f"{', '.join(told)}; reasoning-rl clean removes them" if told else "none")
