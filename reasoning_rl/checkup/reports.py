"""What evaluations have left, and what interrupted writes did."""

from pathlib import Path

from reasoning_rl.checkup.finding import Finding, Run
from reasoning_rl.errors import RunError
from reasoning_rl.eval import probe_report
from reasoning_rl.eval.report import FILE, TABLES, damaged_tables, read_report
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
        stored = f"{pieces} pieces of its answers" if pieces else "its answers"
        return Finding(part, "not yet", f"under way, {stored} are stored; eval goes on with them")
    again = f"remove {folder}; {_command(run, folder)} makes it again, the same"
    try:
        report = read_report(folder / FILE)
    except RunError as failure:
        return Finding(part, "damaged", str(failure), again)
    broken = [*map(" ".join, damaged_tables(folder, report).items()), *_probe(folder)]
    if broken:
        return Finding(part, "damaged", "; ".join(broken), again)
    another = f"; {pieces} pieces of another evaluation are stored" if pieces else ""
    return Finding(part, "ok", f"of {report.created}{another}")


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
    told += [f"{aside} damaged checkpoints set aside"] if aside else []
    return Finding("leftovers", "ok", f"{', '.join(told)}; reasoning-rl clean removes them" if told else "none")
