"""What training has left so far: metrics, rollouts, checkpoints, and where it went on or met numbers that were not finite."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from reasoning_rl.checksums import SUMS, changed
from reasoning_rl.checkup.finding import METRICS, Finding, Run, counted
from reasoning_rl.errors import first_line
from reasoning_rl.journal import rollout_steps
from reasoning_rl.learner.checkpoint import SHARDS, STATE_FILE, step_of
from reasoning_rl.learner.retention import best_of, is_due


def metrics(run: Run) -> Finding:
    """metrics.jsonl: a row for each step from 0 on."""
    rows, torn = run.rows, "; its last line is torn, which is harmless: it is dropped when training goes on" if _torn(run) else ""
    if isinstance(rows, str):
        return Finding(METRICS, "damaged", f"{rows}{torn}", "mend the line; or remove it and all behind it, and ask doctor how to go on")
    if not rows and run.checkpoints:
        return Finding(METRICS, "damaged", f"has no row, but there are checkpoints{torn}", _again(run, rows))
    if not rows:
        return Finding(METRICS, "not yet", f"training has not measured anything{torn}")
    if rows != list(range(len(rows))):
        return Finding(METRICS, "damaged", f"{_irregular(rows)}{torn}", _again(run, rows))
    return Finding(METRICS, "ok", f"steps 0 to {rows[-1]}{_of_all(run)}{torn}")


def _again(run: Run, rows: Sequence[int]) -> str:
    """From the last checkpoint that all rows lead up to, which training goes on from where no later one is."""
    lost = min((min(place, step) for place, step in enumerate(rows) if place != step), default=len(rows))
    start = max((step for step in map(step_of, run.whole) if step < lost), default=None)
    if start is None:
        return f"the rows are lost; {run.command('train', '--fresh')} makes them again, and all else of the run"
    later = next((path for path in run.checkpoints if step_of(path) >= lost), None)
    moved = f"move {later.relative_to(run.folder)} and later away; " if later else ""
    return f"{moved}{run.command('train')} goes on from step {start}, and makes the others again"


def _of_all(run: Run) -> str:
    return f" of {run.config.train.steps}" if run.config else ""


def _torn(run: Run) -> bool:
    path = run.folder / METRICS
    return path.exists() and path.read_bytes()[-1:] not in {b"", b"\n"}


def _irregular(steps: Sequence[int]) -> str:
    """The first row that is not of the step it should be of."""
    place, found = next((place, found) for place, found in enumerate(steps) if place != found)
    return f"line {place + 1} is of step {found}, and should be of {place}"


def rollouts(run: Run) -> Finding:
    """rollouts/: a file for each step that has a row, and whatever came later, which is written again."""
    stored, last = rollout_steps(run.folder), run.last or 0
    if not stored:
        if not last:
            return Finding("rollouts", "not yet", "no step is done")
        return Finding("rollouts", "missing", "were removed; training goes on without them, show, verify and train.rollouts need them")
    told = _unreadable(stored.values())
    told += [f"step {step} has a row in {METRICS} and no file" for step in range(min(stored), last + 1) if step not in stored]
    if told:
        lost = f"these answers are lost, which training does without; {run.command('train', '--fresh')} makes all of the run again"
        return Finding("rollouts", "damaged", "; ".join(told), lost)
    before = "" if min(stored) == 1 else "; those before were removed"
    beyond = "" if max(stored) <= last else f"; those beyond step {last} have no row and are written again when training goes on"
    return Finding("rollouts", "ok", f"steps {min(stored)} to {max(stored)}{before}{beyond}")


def _unreadable(files: Iterable[Path]) -> list[str]:
    """By the footer, which comes last and says where all else lies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = []
    for path in files:
        try:
            pq.read_metadata(path)
        except (OSError, pa.ArrowException) as failure:
            told.append(f"{path.name} can't be read: {first_line(failure)}")
    return told


def policies(run: Run) -> Finding:
    """checkpoints/: each as it was written, none newer than the last row of metrics."""
    there, whole = run.checkpoints, run.whole
    if not there:
        return _none(run)
    told = [f"{path.name}: {found}" for path, found in run.broken.items()]
    told += [f"{', '.join(path.name for path in whole)} {'is' if len(whole) == 1 else 'are'} whole"] if whole else []
    if run.broken:
        return Finding("checkpoints", "damaged", "; ".join(told), _without(run, there, whole))
    newest = step_of(there[-1])
    if run.last and newest > run.last and not isinstance(run.rows, str):
        newer = f"{there[-1].name} is newer than the last row of {METRICS}, of step {run.last}"
        return Finding("checkpoints", "damaged", newer, _again(run, run.rows))
    return Finding("checkpoints", "ok", "; ".join([*told, *_best(run), _goes_on(run, newest)]))


def _none(run: Run) -> Finding:
    if run.config is not None and not run.config.train.steps:
        return Finding("checkpoints", "ok", "train.steps is 0")
    if not run.last:
        return Finding("checkpoints", "not yet", "none so far")
    done = f"none, though training has done {counted(run.last, 'step')}"
    again = f"{run.command('train')} begins anew and makes all steps again"
    return Finding("checkpoints", "damaged", done, again) if _lost(run, run.last) else Finding("checkpoints", "not yet", f"{done}; {again}")


def _lost(run: Run, last: int) -> bool:
    """Whether there was a checkpoint. A kill may come before that of the last row; a --fresh that it stops takes the answers next."""
    begun_anew = not rollout_steps(run.folder) or any(run.folder.glob(".checkpoints.*.tmp"))
    due = run.config is not None and any(is_due(step, run.config.train) for step in range(1, last))
    return not begun_anew and (due or (run.folder / "reward.png").exists())


def _best(run: Run) -> Iterator[str]:
    """The checkpoint that train.keep_best keeps."""
    best = best_of(run.folder) if run.config and not isinstance(run.rows, str) else None
    if run.config and best is not None:
        yield f"step-{best:05d} is the best by {run.config.train.keep_best}"


def _goes_on(run: Run, step: int) -> str:
    if run.config and step >= run.config.train.steps:
        return "training is done"
    return f"training goes on from step {step}{_of_all(run)}"


def _without(run: Run, there: Sequence[Path], whole: Sequence[Path]) -> str:
    newest = there[-1]
    if not whole and not (newest / SUMS).exists():
        vouch = f"cd {newest} && sha256sum $(find * -type f) > {SUMS}"
        return f"an earlier version wrote none; to vouch for the weights as they are: {vouch}"
    if not whole:
        return _weights_alone(run, there)
    if whole[-1] == newest:
        return "training goes on from the newest; remove the damaged, which nothing makes again"
    return f"{run.command('train')} goes on from {whole[-1].name} and makes what came after again, the same; nothing is lost"


def _weights_alone(run: Run, there: Sequence[Path]) -> str:
    """Training goes on from none of the checkpoints `there`; one of which the training state alone is damaged can be evaluated."""
    loadable, anew = next(filter(_loads, reversed(there)), None), f"{run.command('train', '--fresh')} begins anew"
    if loadable is None:
        return f"no weights are left; {anew}"
    evaluated = run.command("eval", "--model", str(loadable), "name=…")
    return f"the weights of {loadable.name} are whole: keep them elsewhere, {evaluated} measures them; {anew}, and deletes what is here"


def _loads(checkpoint: Path) -> bool:
    """Whether all of the model's own is as it was written."""
    if not (checkpoint / SUMS).exists():
        return False
    sums = [line.partition("  ") for line in (checkpoint / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()]
    files = {name: sha256 for sha256, _, name in sums if name.partition("/")[0] not in {STATE_FILE, SHARDS}}
    return any(name.endswith(".safetensors") for name in files) and not any(changed(checkpoint, files))


def resumed(run: Run) -> Finding | None:
    """resumed.jsonl, where there is one. Nothing reads it but people: a line that a kill tore does no harm."""
    path = run.folder / "resumed.jsonl"
    if not path.exists():
        return None
    read = [_step_in(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    steps = [step for step in read if step is not None]
    torn = f"; {read.count(None)} of its lines can't be read" if None in read else ""
    told = f"training went on {counted(len(steps), 'time')}, the last from step {steps[-1]}" if steps else "no line"
    return Finding("resumed.jsonl", "ok", f"{told}{torn}")


def _step_in(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def faults(run: Run) -> Finding | None:
    """faults/, where there is one."""
    files = sorted((run.folder / "faults").glob("step-*.parquet"))
    if not files:
        return None
    broken = _unreadable(files)
    if broken:
        return Finding("faults", "damaged", "; ".join(broken), "remove them; only the record of those steps is lost")
    return Finding("faults", "ok", f"numbers were not finite at {', '.join(path.stem for path in files)}")
