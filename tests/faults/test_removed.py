"""Files that are taken away while a command works: it says so and damages nothing else, or ends as if they had been there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_fakes import STAGES, Whole, followed, prints, staged, whole_in

from reasoning_rl.eval.samples import Parts
from reasoning_rl.journal import Journal

STEP_1, STEP_3 = (Journal, "metrics", 2), (Journal, "metrics", 4)
"""When the row of this step is written: behind the rollouts of the step; the checkpoint of step 2 lies between."""
FIRST_PIECE = (Parts, "write", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_in(tmp_path_factory.getbasetemp() / "faults")


def replaced(folder: Path) -> None:
    """By a copy: who has something open in the first one writes where nobody looks."""
    folder.rename(folder.with_name("before"))
    shutil.copytree(folder.with_name("before"), folder)


@pytest.mark.parametrize(
    "act", [shutil.rmtree, lambda run: run.rename(run.with_name("elsewhere")), replaced], ids=["removed", "moved", "copied"]
)
def test_a_run_whose_folder_is_taken_away_stops_and_makes_no_half_of_another(act: Callable[[Path], object], whole: Whole) -> None:
    run = whole.put_back("data")
    with followed(*STEP_1, lambda: act(run)):
        ended = staged(whole.runs, "train")
    assert ended.code == 7
    assert f"Error: {run} was removed or moved while this run wrote there; put it back, or begin anew" in ended.said
    assert not list(run.glob("rollouts/step-00002.parquet"))
    assert whole.after("train") == []


def test_a_run_that_was_moved_is_moved_back_and_goes_on(whole: Whole) -> None:
    run = whole.put_back("data")
    with followed(*STEP_3, lambda: run.rename(run.with_name("elsewhere"))):
        staged(whole.runs, "train")
    assert not run.exists()
    run.with_name("elsewhere").rename(run)
    assert whole.after("train") == []
    assert json.loads((run / "resumed.jsonl").read_text())["step"] == 2


def test_metrics_that_are_removed_or_cut_are_not_written_on_behind_a_gap(whole: Whole) -> None:
    run = whole.put_back("data")
    metrics = run / "metrics.jsonl"
    with followed(*STEP_3, metrics.unlink):
        ended = staged(whole.runs, "train")
    assert ended.code == 7
    assert f"Error: {metrics} is gone, but this run left it with" in ended.said
    assert not metrics.exists()
    assert (run / "checkpoints" / "step-00002").exists()
    with followed(*STEP_1, lambda: metrics.write_bytes(metrics.read_bytes()[:-1])):
        ended = staged(whole.runs, "train", "--fresh")
    assert ended.code == 7
    assert "something else changes its files" in ended.said


@pytest.mark.parametrize("name", ["rollouts", "checkpoints", "data", "base.json", "config.yaml"])
def test_what_training_does_not_read_again_is_not_missed_by_it(name: str, whole: Whole) -> None:
    """The folders are made anew. What was in them is lost, and nothing else."""
    run = whole.put_back("data")

    def take() -> None:
        there = run / name
        shutil.rmtree(there) if there.is_dir() else there.unlink()

    with followed(*STEP_3, take):
        ended = staged(whole.runs, "train")
    assert ended.code == 0, ended.said
    lost = {"rollouts": {f"rollouts/step-0000{step}.parquet" for step in (1, 2, 3)}}
    lost["checkpoints"] = {path for path in prints(whole.kept / "train" / "one") if path.startswith("checkpoints/step-00002/")}
    lost["data"] = {path for path in prints(whole.kept / "train" / "one") if path.startswith("data/")}
    theirs = prints(whole.kept / "train" / "one")
    assert theirs.keys() - prints(run).keys() == lost.get(name, {name})
    assert {path: found for path, found in theirs.items() if path in prints(run)} == prints(run)


@pytest.mark.parametrize(("name", "stage"), [("data", "data"), ("base.json", "train")])
def test_what_was_taken_away_comes_again_with_the_next_command(name: str, stage: str, whole: Whole) -> None:
    there = whole.put_back("train") / name
    shutil.rmtree(there) if there.is_dir() else there.unlink()
    assert whole.after(stage, like="train") == []


def test_a_cold_start_that_is_removed_under_training_is_made_again_for_the_evaluation(whole: Whole) -> None:
    whole.put_back("data")
    with followed(*STEP_1, lambda: shutil.rmtree(whole.runs / "cache")):
        assert staged(whole.runs, "train").code == 0
    assert not (whole.runs / "cache").exists()
    assert whole.after("eval") == []


def test_a_checkpoint_that_is_removed_before_evaluation_is_trained_for_again(whole: Whole) -> None:
    shutil.rmtree(whole.put_back("train") / "checkpoints" / "step-00004")
    assert whole.after("train") == []


def test_without_any_checkpoint_there_is_nothing_to_evaluate(whole: Whole) -> None:
    run = whole.put_back("train")
    shutil.rmtree(run / "checkpoints")
    ended = staged(whole.runs, "eval")
    assert ended.code == 8
    assert f"Error: {run}: training has not reached its first checkpoint; run `reasoning-rl train` with this recipe again" in ended.said
    assert whole.after("train") == []


@pytest.mark.parametrize(
    ("place", "code", "told", "again"),
    [
        ("checkpoints/step-00004", 4, "policy.model: there is no folder {run}/checkpoints/step-00004", ("train", "eval")),
        ("data", 3, "{run}/data/manifest.json: there is none; prepare the data first", ("eval",)),
        (".", 7, "{run}/eval/base/samples.parquet can't be written", STAGES),
    ],
)
def test_an_evaluation_misses_what_is_removed_and_the_next_commands_make_it_whole(
    place: str, code: int, told: str, again: tuple[str, ...], whole: Whole
) -> None:
    """While the base's answers are asked for."""
    run = whole.put_back("train")
    with followed(*FIRST_PIECE, lambda: shutil.rmtree(run / place)):
        ended = staged(whole.runs, "eval")
    assert ended.code == code
    assert f"Error: {told.format(run=run)}" in ended.said
    assert whole.after(*again) == []
