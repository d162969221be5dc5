"""Two worker processes, by the command line: what signals do to all of them, and the death of one."""

import os
import signal
from pathlib import Path

import pytest
from faults_commands import Hold, ended, started, until
from faults_runs import command, ending

from reasoning_rl.learner.checkpoint import checkpoints

pytestmark = pytest.mark.slow
WORKER = "multiprocessing.spawn"
"""In the command line of a process of the crew."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happens to."""
    runs = tmp_path_factory.mktemp("runs")
    code, said = ended(command("train", runs, "name=whole", "learner.processes=2"), runs / "output")
    assert code == 0, said
    return runs / "whole"


def test_a_signal_to_all_then_a_worker_that_is_killed_end_like_the_run_that_nothing_happened_to(whole: Path, tmp_path: Path) -> None:
    run, call = whole.parent / "two", command("train", whole.parent, "name=two", "learner.processes=2")
    hold = Hold(tmp_path / "first", version=0)
    stopped = started(call, tmp_path / "output", hold.environment)
    hold.wait()  # at an answer of the first step
    stopped.send(signal.SIGTERM, group=True)
    until(lambda: "once more stops at once" in stopped.said, "words")
    hold.let_go()
    assert stopped.wait() == 143, stopped.said
    assert [path.name for path in checkpoints(run / "checkpoints")] == ["step-00001"]
    until(lambda: not stopped.living(), "an end of what the command had started", 20)

    hold = Hold(tmp_path / "second", version=2)
    bereft = started(call, tmp_path / "again", hold.environment)
    hold.wait()
    (worker,) = bereft.children(WORKER)
    os.kill(worker, signal.SIGKILL)
    hold.let_go()
    assert bereft.wait() == 0, bereft.said
    assert "steps 2 to 4" in bereft.said
    assert "worker process 1 was killed by SIGKILL" in bereft.said
    assert "Starting anew from the last checkpoint (1 of 3 times, train.restarts)" in bereft.said
    assert "steps 3 to 4" in bereft.said
    assert ending(run) == ending(whole)
    until(lambda: not bereft.living(), "an end of what the command had started", 20)


def test_a_second_signal_ends_a_worker_in_the_middle_of_its_work(whole: Path, tmp_path: Path) -> None:
    """Its share is 2,000 answers of 100 tokens, of which one is finished."""
    long, hold = ("sampling.prompts_per_step=40", "sampling.group_size=100", "sampling.max_tokens=100"), Hold(tmp_path / "hold", version=0)
    stopped = started(command("train", whole.parent, "name=long", "learner.processes=2", *long), tmp_path / "output", hold.environment)
    hold.wait()
    stopped.send(signal.SIGTERM)
    until(lambda: "once more stops at once" in stopped.said, "words")
    stopped.send(signal.SIGTERM)
    assert stopped.wait() == 143
    until(lambda: not stopped.children(WORKER), "an end of the worker", 2)
    hold.let_go()
    until(lambda: not stopped.living(), "an end of what the command had started", 20)
