"""The stages of a recipe as their own processes, in a folder of their own, to be watched and killed.

Folders of runs are relative to that folder, so that what a file says of another is the same wherever the folder lies.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from processes import descendants, survivors

STAGES = ("data", "train", "eval")
_THREADS = {"OMP_NUM_THREADS": "1"}
"""Unless the environment says otherwise: results are promised for a fixed number, and where other programs take a core, two threads wait
for one another, so that a step of 0.1 s took 14 s."""
ORPHANS_S = 10.0
"""That the processes of a killed one may need to notice: a verifier's worker may be in the middle of an answer."""
_LOOK_EVERY_S = 0.02


class BrokenPromiseError(Exception):
    """A stage failed, or left what it must not leave; in words."""


@dataclass(frozen=True)
class Phase:
    """A part of a stage, from a text of its output on; from the start of the process where that is empty."""

    name: str
    stage: str
    begins: str = ""


PHASES = (
    Phase("data", "data"),
    Phase("cold start", "train"),
    Phase("train", "train", "Training by "),
    Phase("eval base", "eval"),
    Phase("eval trained", "eval", "eval/base"),
)


class Running:
    """A stage at work. Leave the context when it has ended; it is killed otherwise."""

    def __init__(self, folder: Path, recipe: str, stage: str, overrides: Sequence[str] = ()) -> None:
        self._output = folder / f"{len(list(folder.glob('*.out'))):02d}-{stage}.out"
        self.stage, self.began = stage, time.monotonic()
        command = [sys.executable, "-P", "-m", "reasoning_rl", stage, "--recipe", recipe, *overrides]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=_THREADS | os.environ)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def phase(self) -> Phase:
        """The last one that it has begun."""
        return [phase for phase in PHASES if phase.stage == self.stage and phase.begins in self._said()][-1]

    def reaches(self, text: str) -> bool:
        """Wait until its output has this in it; False when it ended before. BrokenPromiseError when it failed."""
        while text not in self._said():
            if self.ends_within(_LOOK_EVERY_S):
                return False
        return True

    def ends_within(self, seconds: float | None) -> bool:
        """Whether it does, with exit code 0: BrokenPromiseError with what it said otherwise. None: whenever it does."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code:
            raise BrokenPromiseError(f"{self.stage} ended with exit code {code} in {self._output.parent}; it said:\n{self._said()}")
        return True

    def kill(self) -> bool:
        """SIGKILL to this process alone, as the kernel does when memory runs out; whether that is what it died of.

        BrokenPromiseError when others live on without it.
        """
        others = descendants(self.pid)
        self._process.kill()
        code = self._process.wait()
        if alive := survivors(others, ORPHANS_S):
            raise BrokenPromiseError(f"{self.stage} was killed, and {ORPHANS_S:g} s later its processes were still there: {alive}")
        return code == -signal.SIGKILL

    def _said(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.kill()
        self._process.wait()


def run_all(folder: Path, recipe: str, overrides: Sequence[str] = ()) -> dict[Phase, float]:
    """All stages, undisturbed; seconds that each phase took."""
    took: dict[Phase, float] = {}
    for stage in STAGES:
        phases = [phase for phase in PHASES if phase.stage == stage]
        with Running(folder, recipe, stage, overrides) as running:
            begun = [running.began, *(_reached(running, phase) for phase in phases[1:])]
            running.ends_within(None)
        ends = [*begun[1:], time.monotonic()]
        took.update({phase: end - start for phase, start, end in zip(phases, begun, ends, strict=True)})
    return took


def _reached(running: Running, phase: Phase) -> float:
    if not running.reaches(phase.begins):
        raise BrokenPromiseError(f"{running.stage} never came to its phase {phase.name!r}: no {phase.begins!r} in its output")
    return time.monotonic()


def killed_in(phase: Phase, after_s: float, folder: Path, recipe: str) -> Phase | None:
    """Run the stage of a phase and kill it so many seconds into that. In which phase it was by then; None when it had ended."""
    with Running(folder, recipe, phase.stage) as running:
        if running.reaches(phase.begins) and not running.ends_within(after_s) and running.kill():
            return running.phase
    return None


def finish(folder: Path, recipe: str, stage: str, overrides: Sequence[str] = ()) -> None:
    """Run a stage to its end."""
    with Running(folder, recipe, stage, overrides) as running:
        running.ends_within(None)


def by_name(counts: Mapping[Phase, int]) -> str:
    """How often each phase counts, in order."""
    return ", ".join(f"{phase.name} {counts.get(phase, 0)}" for phase in PHASES)
