"""A run of 100,000 steps, less the sampling and the learning: what is told of each must not add up in memory or in open files."""

import io
import os
import tempfile
import time
from pathlib import Path

import pytest
from processes import held
from rich.console import Console

from reasoning_rl.config import GuardsConfig, TrainConfig
from reasoning_rl.journal import Journal, read_metrics, rollout_steps
from reasoning_rl.learner.guards import Guards
from reasoning_rl.learner.mismatch import KL, Watch
from reasoning_rl.learner.retention import Retention
from reasoning_rl.progress import Progress
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict

STEPS, SETTLED, EVERY = 100_000, 20_000, 1_000
ROOM_MIB = 8.0
"""For chance. An object of a hundred bytes for each step from SETTLED on would need as much."""
_IN_MEMORY = Path("/dev/shm")  # there, to sync a line takes no time


def row(step: int) -> dict[str, float]:
    """Rewards climb, so that no guard has anything to say."""
    measured = {"reward": step / STEPS, "entropy": 0.5, "completions/clipped_ratio": 0.1, "verifier_failures": 0.0, KL: 1e-4}
    return {"step": step, **measured}


def group() -> Group:
    problem = Problem(id="arithmetic/train/1", source="arithmetic", split="train", question="1+1?", gold="2", task="gsm8k")
    score = Score(1.0, "correct", "2 is 2", answer="2")
    verdict = Verdict(1.0, {"gsm8k": score}, correct=True, strict=True, answer=score)
    return Group(Prompt(problem, "1+1?\n", (1, 2)), (Completion("2", (3,), (-0.5,), "stop", 0),), (verdict,))


class Listeners:
    """All that the loop tells of a step."""

    def __init__(self, folder: Path) -> None:
        self.said = io.StringIO()
        self._progress = Progress(Console(file=self.said), STEPS)
        self._watch, self._guards = Watch(1.0, self._progress.say), Guards(GuardsConfig(), self._progress.say)
        self._retention = Retention(folder / "checkpoints", TrainConfig(steps=STEPS, save_every=EVERY, keep_best="reward"))
        self._journal = Journal(folder)

    def hear(self, step: int) -> None:
        told = row(step)
        told |= self._watch.look(step, told) | self._guards.look(step, told)
        if step % EVERY == 0:
            self._journal.rollouts(step, [group()])
        self._journal.metrics(told)
        self._progress.step(told)
        self._retention.note(told)


@pytest.mark.slow
def test_a_hundred_thousand_steps_leave_no_more_in_memory_than_a_fifth_of_them() -> None:
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None) as made:
        folder, began = Path(made), time.monotonic()
        listeners = Listeners(folder)
        for step in range(1, SETTLED + 1):
            listeners.hear(step)
        settled = held(os.getpid())
        for step in range(SETTLED + 1, STEPS + 1):
            listeners.hear(step)
        in_the_end, written = held(os.getpid()), time.monotonic()

        assert in_the_end.resident_mib < settled.resident_mib + ROOM_MIB
        assert (in_the_end.files, in_the_end.processes) == (settled.files, settled.processes)
        assert "guards." not in listeners.said.getvalue()
        _require_readable(folder)
        print(f"\n{STEPS:,} steps: written in {written - began:.1f} s, read and cut to half in {time.monotonic() - written:.1f} s")
        print(f"{settled.resident_mib:.0f} MiB after {SETTLED:,} steps, {in_the_end.resident_mib:.0f} MiB in the end")


def _require_readable(folder: Path) -> None:
    """Every step is there; a resume from the middle keeps what came before."""
    assert list(read_metrics(folder)["step"]) == list(range(1, STEPS + 1))
    assert len(rollout_steps(folder)) == STEPS // EVERY
    kept = Journal(folder).truncate(STEPS // 2)
    assert len(kept) == len(read_metrics(folder)) == STEPS // 2
    assert max(rollout_steps(folder)) == STEPS // 2
