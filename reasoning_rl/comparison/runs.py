"""The runs of a comparison: each is `train` and `eval` in processes of their own, so that memory is its own and a crash ends no other.

<out>/  comparison.json  report.md  report.json  table.csv  rewards.png  gains.png
        runs/<arm>-seed<k>/  as any run's;  runs/base/  what all start from;  logs/<run>.log  what a run said
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reasoning_rl import evalstage, runfolder
from reasoning_rl.comparison.arms import Arm, Plan
from reasoning_rl.config import Config
from reasoning_rl.errors import ReasoningRLError
from reasoning_rl.eval.report import read_report
from reasoning_rl.files import discard, whole_folder
from reasoning_rl.recipes import load_config
from reasoning_rl.stages import is_trained

Say = Callable[[str], None]
BASE = "base"
_ALIKE = {"eval", "rewards", "seed", "sampling", "policy", "data", "cold_start"}
"""Sections of the config on which the report of the base policy depends."""


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    plan: Plan
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def config(self) -> Config:
        return self.plan.config(self.arm, self.seed)

    @property
    def log(self) -> Path:
        return self.plan.out / "logs" / f"{self.name}.log"

    def is_done(self) -> bool:
        """Trained to the end and evaluated, under the settings that are asked for."""
        return _is_done(self.config)

    def failure(self) -> str:
        """Why it is not done, in the last words it said."""
        if not self.log.is_file():
            return "not run"
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("Error: ")]
        return (errors or lines or ["ended without a word"])[-1]


def _is_done(config: Config) -> bool:
    try:
        runfolder.refuse_other_settings(config)
        return is_trained(config) and evalstage.evaluated(config)
    except ReasoningRLError:  # it is incomplete, damaged, or another's; the stages will say which
        return False


def runs_of(plan: Plan) -> list[Run]:
    """Seed by seed, so that what is interrupted early has something of every arm."""
    return [Run(plan, arm, seed) for seed in plan.seeds for arm in plan.arms]


def carry_out(plan: Plan, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
    """Do the runs that are not done yet, one line each. A run that fails is said and passed over."""
    todo = [run for run in runs_of(plan) if not run.is_done()]
    there = len(plan.arms) * len(plan.seeds) - len(todo)
    say(
        f"{len(plan.arms)} objectives x {len(plan.seeds)} seeds: {len(todo)} runs to do" + (f", {there} are there already" if there else "")
    )
    if not todo:
        return
    _share_base(plan, say)
    start = clock()
    for number, run in enumerate(todo, start=1):
        began = clock()
        ended_well = _carry_out(run)
        left = (clock() - start) / number * (len(todo) - number)
        found = _reached(run) if ended_well else f"failed: {run.failure()} ({run.log})"
        say(f"[{number}/{len(todo)}] {run.name}: {found}, in {duration(clock() - began)}; {_remaining(left)}")


def duration(seconds: float) -> str:
    """For people.

    >>> duration(42), duration(250), duration(7500)
    ('42 s', '4 min 10 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _remaining(seconds: float) -> str:
    return f"about {duration(seconds)} left" if seconds else "all done"


def _share_base(plan: Plan, say: Say) -> None:
    """Cold start and its evaluation, once, outside the runs: their memory is then that of training alone.

    Where it fails, so will the runs, which then say why.
    """
    settings = [*plan.settings(plan.arms[0], plan.seeds[0]), f"name={BASE}", "train.steps=0"]
    if not _is_done(load_config(plan.recipe, settings)):
        say("First what all of them start from")
        _stages(plan.recipe, settings, plan.out / "logs" / f"{BASE}.log")


def _carry_out(run: Run) -> bool:
    """Whether it ended well."""
    settings = run.plan.settings(run.arm, run.seed)
    return _stages(run.plan.recipe, settings, run.log, between=lambda: _copy_base(run))


def _stages(recipe: str, settings: Sequence[str], log: Path, between: Callable[[], None] = lambda: None) -> bool:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    if not in_a_process("train", recipe, settings, log):
        return False
    between()
    return in_a_process("eval", recipe, settings, log)


def in_a_process(stage: str, recipe: str, settings: Sequence[str], log: Path) -> bool:
    """Whether a stage of the command line ended well. It is told to stop when this process is, by nobody else, and finishes its step."""
    command = [sys.executable, "-m", "reasoning_rl", stage, "--recipe", recipe, *settings]
    with log.open("a", encoding="utf-8") as output, _started(command, output) as process:
        try:
            return process.wait() == 0
        finally:
            if process.poll() is None:  # this process was told to stop
                process.terminate()
                process.wait()


def _started(command: Sequence[str], output: IO[str]) -> "subprocess.Popen[bytes]":
    """In a group of its own: a signal to ours would be its first, and ours to it the second, which ends a run at once."""
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, process_group=0)


def _copy_base(run: Run) -> None:
    """The report of the policy that training starts from, where another run has it: the eval stage sees that it is up to date."""
    target = run.config.folder / "eval" / BASE
    if target.exists():
        return
    for folder in _evaluated_alike(run):
        with whole_folder(target) as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
        if evalstage.is_evaluated(run.config, BASE, runfolder.policies(run.config)[BASE]):
            return
        discard(target)


def _evaluated_alike(run: Run) -> Iterator[Path]:
    """Reports of the base policy in folders whose run has the same settings, as far as they matter to it."""
    wanted = run.config.model_dump(include=_ALIKE)
    for folder in sorted(run.plan.runs.glob(f"*/eval/{BASE}")):
        recorded = folder.parents[1] / "config.yaml"
        whole = recorded.is_file() and (folder / "report.json").is_file()
        if whole and load_config(recorded).model_dump(include=_ALIKE) == wanted:
            yield folder


def _reached(run: Run) -> str:
    """pass@1 before and after."""
    values = []
    for which in (BASE, "trained"):
        measure = read_report(run.config.folder / "eval" / which / "report.json").find("pass@k", 1)
        values.append(f"{measure.value:.3f}" if measure else "?")
    return f"pass@1 {values[0]} to {values[1]}"
