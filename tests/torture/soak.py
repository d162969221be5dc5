"""Wear the loop out: thousands of steps, watched from outside. Memory stays flat, files and processes as many as they were.

    python tests/torture/soak.py --steps 2000

From step 200 on, when all caches are full, resident memory of the processes together must not grow by more than 5 %, and the numbers of
open files and of processes must not change; else this ends with exit code 1. That memory shrinks is no fault: a system that is short of it
drops pages of libraries.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import Held, held
from stages import BrokenPromiseError, Running, finish

SETTLED, SPAN = 200, 100
TOLERANCE = 0.05
_SHOWN = (100, 200, 500, 1000, 1500, 2000)
_EVERY_S = 0.1


@dataclass(frozen=True)
class Sight:
    """What was held when so many steps were done."""

    step: int
    held: Held


@dataclass(frozen=True)
class Span:
    """Of the steps up to `until`: the most memory, and the least of what comes and goes, such as a file that is being written."""

    until: int
    resident_mib: float
    files: int
    processes: int


def spans(sights: Sequence[Sight], steps: int) -> list[Span]:
    """Each of SPAN steps; those in which nothing was seen are left out, and what follows the last step, which ends the run and draws."""
    found = []
    for until in range(SPAN, steps + 1, SPAN):
        seen = [sight.held for sight in sights if until - SPAN < sight.step <= until and sight.step < steps]
        if seen:
            least = min(one.files for one in seen), min(one.processes for one in seen)
            found.append(Span(until, max(one.resident_mib for one in seen), *least))
    return found


def broken_promises(found: Sequence[Span]) -> Iterator[str]:
    """Each in words. BrokenPromiseError when there is nothing to go by."""
    later = [span for span in found if span.until >= SETTLED]
    if len(later) < 2:
        raise BrokenPromiseError(f"nothing was seen from step {SETTLED} on: take more --steps")
    settled = later[0]
    for span in later[1:]:
        grown = span.resident_mib / settled.resident_mib - 1
        if grown > TOLERANCE:
            yield f"step {span.until}: {span.resident_mib:.0f} MiB, {grown:+.1%} on step {settled.until}; promised are {TOLERANCE:.0%}"
        for what, now, before in (("files", span.files, settled.files), ("processes", span.processes, settled.processes)):
            if now != before:
                yield f"step {span.until}: {now} {what}, {before} at step {settled.until}"


def watched(folder: Path, recipe: str, steps: int) -> list[Sight]:
    """Train for so many steps and look on."""
    often = max(1, steps // 20)
    told = [f"train.steps={steps}", f"train.save_every={often}", f"train.eval_every={often}"]
    finish(folder, recipe, "data", told)
    metrics, sights = folder / "runs" / recipe / "metrics.jsonl", list[Sight]()
    with Running(folder, recipe, "train", told) as running:
        while not running.ends_within(_EVERY_S):
            sights.append(Sight(_last_step(metrics), held(running.pid)))
    return sights


def _last_step(metrics: Path) -> int:
    """0 before the first."""
    lines = metrics.read_text(encoding="utf-8").split("\n")[:-1] if metrics.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def table(found: Sequence[Span]) -> str:
    """The spans that are worth a line."""
    rows = [f"{span.until:>6} {span.resident_mib:>14.0f} {span.files:>6} {span.processes:>10}" for span in found if span.until in _SHOWN]
    return "\n".join([f"{'step':>6} {'resident MiB':>14} {'files':>6} {'processes':>10}", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Thousands of steps: memory, open files and processes stay as they are.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--recipe", default="smoke")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = spans(watched(Path(folder), asked.recipe, asked.steps), asked.steps)
    print(table(found))
    broken = list(broken_promises(found))
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
