"""SIGTERM and Ctrl-C at every stage: what was finished is kept, the same command goes on, and nothing that was started stays behind."""

import signal
from pathlib import Path

import pytest
from faults_commands import Command, Hold, ended, started, until
from faults_runs import command, config, ending, trained

from reasoning_rl.claim import holder
from reasoning_rl.learner.checkpoint import checkpoints

pytestmark = pytest.mark.slow
WAY_ON = "the same command goes on from there:\n  reasoning-rl {} --recipe smoke "


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(runs: Path) -> Path:
    """A run that nobody stopped."""
    trained(config(runs, "name=whole"))
    return runs / "whole"


def names(run: Path) -> list[str]:
    return [path.name for path in checkpoints(run / "checkpoints")]


def left_clean(stopped: Command, run: Path) -> None:
    """Nobody works there any more, and nothing is half written."""
    until(lambda: not stopped.living(), "an end of what the command had started", 20)
    assert holder(run) is None
    assert not list(run.parent.rglob("*.tmp"))


@pytest.mark.parametrize(("stop", "group"), [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGTERM, True)])
def test_training_finishes_its_step_and_the_same_command_goes_on_to_the_same_end(
    whole: Path, tmp_path: Path, stop: signal.Signals, group: bool
) -> None:
    name, hold = f"stopped-{stop.name}-{group}", Hold(tmp_path / "hold")
    call = command("train", whole.parent, f"name={name}")
    stopped, run = started(call, tmp_path / "output", hold.environment), whole.parent / name
    hold.wait()  # at an answer of the third step
    stopped.send(stop, group=group)
    until(lambda: "Stopping when this step is finished and saved; once more stops at once" in stopped.said, "words")
    hold.let_go()
    assert stopped.wait() == 128 + stop
    assert WAY_ON.format("train") in stopped.said
    assert names(run) == ["step-00002", "step-00003"]  # every second one was due
    left_clean(stopped, run)
    code, said = ended(call, tmp_path / "again")
    assert code == 0
    assert "steps 4 to 4" in said
    assert ending(run) == ending(whole)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_preparing_data_is_broken_off(runs: Path, tmp_path: Path, stop: signal.Signals) -> None:
    run, more = runs / f"data-{stop.name}", f"name=data-{stop.name}"
    call = command("data", runs, more, "data.arithmetic.train_problems=2000", "data.arithmetic.steps=[1,4]")
    stopped = started(call, tmp_path / "output")
    until((run / ".lock").exists, "the stage")
    stopped.send(stop, group=True)
    assert stopped.wait() == 128 + stop
    assert WAY_ON.format("data") in stopped.said
    assert not (run / "data" / "manifest.json").exists()
    left_clean(stopped, run)
    assert ended(call, tmp_path / "again")[0] == 0


def test_a_cold_start_is_broken_off(runs: Path, tmp_path: Path) -> None:
    call, run = command("train", runs, "name=cold", "seed=1", "cold_start.steps=200", "train.steps=1"), runs / "cold"
    before = set((runs / "cache").glob("cold-start-*"))
    stopped = started(call, tmp_path / "output")
    until(lambda: list((runs / "cache").glob(".cold-start-*.tmp")), "the cold start")
    stopped.send(signal.SIGTERM, group=True)
    assert stopped.wait() == 143
    assert WAY_ON.format("train") in stopped.said
    assert set((runs / "cache").glob("cold-start-*")) == before
    left_clean(stopped, run)
    code, said = ended(call, tmp_path / "again")
    assert code == 0
    assert "Cold start: 200 supervised steps" in said


def test_an_evaluation_is_broken_off(whole: Path, tmp_path: Path) -> None:
    hold, call = Hold(tmp_path / "hold", "test", 0), command("eval", whole.parent, "name=whole")
    stopped = started(call, tmp_path / "output", hold.environment)
    hold.wait()
    stopped.send(signal.SIGTERM, group=True)
    assert stopped.wait() == 143
    assert WAY_ON.format("eval") in stopped.said
    assert not (whole / "eval" / "base" / "report.json").exists()
    left_clean(stopped, whole)
    assert ended(call, tmp_path / "again")[0] == 0


def test_a_second_signal_ends_a_step_that_takes_long_at_once(whole: Path, tmp_path: Path) -> None:
    """The verifier that is held is ended by the kernel after four deadlines, since nobody is there to do it any more."""
    run, hold = whole.parent / "twice", Hold(tmp_path / "hold", version=0)
    stopped = started(command("train", run.parent, "name=twice", "judge.deadline_s=1"), tmp_path / "output", hold.environment)
    hold.wait()
    stopped.send(signal.SIGTERM, group=True)
    until(lambda: "once more stops at once" in stopped.said, "words")
    stopped.send(signal.SIGINT, group=True)
    assert stopped.wait() == 130
    assert "Stopped at once. The same command, without --fresh, goes on" in stopped.said
    assert not (hold.folder / "go").exists()
    left_clean(stopped, run)
    assert ended(command("train", run.parent, "name=twice"), tmp_path / "again")[0] == 0
    assert ending(run) == ending(whole)
