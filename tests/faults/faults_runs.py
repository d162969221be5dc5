"""Small whole runs, in this process or by commands, and how one of them ended."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from faults_commands import HOLD
from faults_fakes import prints
from rich.console import Console
from test_pipeline import MICRO

from reasoning_rl.config import Config
from reasoning_rl.evalstage import run_eval
from reasoning_rl.recipes import load_config
from reasoning_rl.runfolder import Resume
from reasoning_rl.stages import run_data, run_training

EVENNESS = f"""
import os
import time
from pathlib import Path

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


@verifier("evenness")
def evenness(completion: Completion, problem: Problem) -> Score:
    if told := os.environ.get({HOLD!r}):
        hold(completion, problem, *told.split(" ", 2))
    return Score(sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids))


def hold(completion: Completion, problem: Problem, split: str, version: str, folder: str) -> None:
    here, go = Path(folder, "here"), Path(folder, "go")
    if (problem.split, completion.policy_version) == (split, int(version)) and not here.exists():
        here.touch()
        while not go.exists():
            time.sleep(0.01)
"""
"""A reward that even a policy which solves nothing gets now and then; it can be held up, see faults_commands.Hold."""
_LEARNED = ("data/", "checkpoints/", "rollouts/", "faults/", "metrics.jsonl")


def settings(runs: Path, *overrides: str) -> list[str]:
    """Of a run of four steps, judged by evenness too, whose file is put beside the runs. Held answers are waited for."""
    file = runs / "evenness.py"
    if not file.exists():
        file.write_text(EVENNESS)
    return [*MICRO, f"runs={runs}", f"rewards.{file}:evenness=1", "judge.deadline_s=60", *overrides]


def command(stage: str, runs: Path, *overrides: str) -> list[str]:
    """Arguments of `reasoning-rl`."""
    return [stage, "--recipe", "smoke", *settings(runs, *overrides)]


def config(runs: Path, *overrides: str) -> Config:
    return load_config("smoke", settings(runs, *overrides))


def trained(config: Config, resume: Resume = "auto") -> str:
    """What data and training print."""
    output = io.StringIO()
    console = Console(file=output, width=1000)
    with one_thread():
        run_data(config, console)
        run_training(config, resume=resume, console=console)
    return output.getvalue()


def said_by(config: Config, resume: Resume = "auto") -> tuple[str, Exception | None]:
    """What training prints, and what it raises."""
    output = io.StringIO()
    with one_thread():
        try:
            run_training(config, resume=resume, console=Console(file=output, width=1000))
        except Exception as failure:  # noqa: BLE001  # the test says which it should be
            return output.getvalue(), failure
    return output.getvalue(), None


def evaluated(config: Config) -> str:
    """What the evaluation prints."""
    output = io.StringIO()
    with one_thread():
        run_eval(config, model=None, console=Console(file=output, width=1000))
    return output.getvalue()


@contextmanager
def one_thread() -> Iterator[None]:
    """Results are compared bit by bit, and sums over threads have no fixed order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def ending(run: Path) -> dict[str, str]:
    """A digest of each file that training leaves, timings aside: the same for runs that learned the same."""
    return {name: digest for name, digest in prints(run).items() if name.startswith(_LEARNED)}
