"""Two processes that want the same folder: the second is sent away and told of the first, which goes on; a cold start is waited for."""

from pathlib import Path

import pytest
from faults_commands import Hold, ended, started, until
from faults_runs import command, config, ending, evaluated, trained

pytestmark = pytest.mark.slow
LONGER = ("name=one", "train.steps=6")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run that is trained and evaluated."""
    runs = tmp_path_factory.mktemp("runs")
    trained(config(runs, "name=one"))
    evaluated(config(runs, "name=one"))
    return runs


def test_while_one_trains_others_are_sent_away_at_once_but_may_read(runs: Path, tmp_path: Path) -> None:
    hold, run = Hold(tmp_path / "hold", version=4), runs / "one"
    first = started(command("train", runs, *LONGER), tmp_path / "first", hold.environment)
    hold.wait()  # at an answer of the fifth step
    before = stamps(run)
    for arguments in [
        *(command(stage, runs, *LONGER) for stage in ("data", "train", "eval")),
        [*command("train", runs, *LONGER), "--fresh"],
    ]:
        code, said = ended(arguments, tmp_path / "second")
        assert code == 8
        assert f"{run} is in use by process {first.pid} on " in said
        assert "(reasoning-rl train --recipe smoke " in said
        assert "wait for it, or give this run a name=… of its own" in said
    for reader in (
        ["show", str(run)],
        ["doctor", str(run)],
        ["compare", f"{run}/eval/base", f"{run}/eval/trained", f"--out={tmp_path}/out"],
    ):
        code, said = ended(reader, tmp_path / reader[0])
        assert code == 0, said
    assert f"process {first.pid}" in (tmp_path / "doctor").read_text(encoding="utf-8").replace("\n", "")
    assert stamps(run) == before
    hold.let_go()
    assert first.wait() == 0
    assert "steps 5 to 6" in first.said


def stamps(run: Path) -> dict[Path, int]:
    """When each file was last changed."""
    return {path: path.stat().st_mtime_ns for path in run.rglob("*")}


def test_of_two_evaluations_and_of_two_that_prepare_data_the_second_is_sent_away(runs: Path, tmp_path: Path) -> None:
    trained(config(runs, "name=two"))
    hold = Hold(tmp_path / "hold", "test", 0)
    evaluating = started(command("eval", runs, "name=two"), tmp_path / "first", hold.environment)
    hold.wait()
    for stage in ("eval", "train"):
        code, said = ended(command(stage, runs, "name=two"), tmp_path / "second")
        assert (code, f"is in use by process {evaluating.pid} on " in said) == (8, True)
    hold.let_go()
    assert evaluating.wait() == 0

    preparing = started(command("data", runs, "name=three", "data.arithmetic.train_problems=16000"), tmp_path / "data")
    until((runs / "three" / ".lock").exists, "the first")
    until((runs / "three" / ".lock").read_text, "its name")
    code, said = ended(command("train", runs, "name=three"), tmp_path / "train")
    assert (code, f"is in use by process {preparing.pid} on " in said) == (8, True)
    assert preparing.wait() == 0


def test_a_cold_start_that_another_run_makes_is_waited_for_and_used(runs: Path, tmp_path: Path) -> None:
    common, cache = ("seed=3", "cold_start.steps=100", "train.steps=1"), runs / "cache"
    known = set(cache.glob("cold-start-*"))
    first = started(command("train", runs, "name=first", *common), tmp_path / "first")
    until(lambda: list(cache.glob(".cold-start-*.tmp")), "the cold start")
    second = started(command("train", runs, "name=second", *common), tmp_path / "second")
    assert (first.wait(), second.wait()) == (0, 0)
    (made,) = set(cache.glob("cold-start-*")) - known
    assert "Cold start: 100 supervised steps" in first.said
    assert f"Cold start: {made} is there already" in second.said
    assert ending(runs / "first") == ending(runs / "second")
