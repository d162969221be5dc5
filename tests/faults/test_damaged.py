"""Checkpoints that are not as they were written: named, set aside and made again from the one before; never deleted, never loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_fakes import Whole, different, emptied, gone, prints, staged, timeless_lines, whole_in
from run_fakes import corrupted, torn

from reasoning_rl.learner.checkpoint import checkpoints


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_in(tmp_path_factory.getbasetemp() / "faults")


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


HARMS: list[tuple[str, Callable[[Path], None], str]] = [
    ("model.safetensors", corrupted, "model.safetensors is not as it was written"),
    ("training.pt", torn, "training.pt is not as it was written"),
    ("training.pt", gone, "training.pt is missing"),
    ("config.json", emptied, "config.json is not as it was written"),
    ("SHA256SUMS", emptied, "SHA256SUMS is empty"),
    ("SHA256SUMS", gone, "SHA256SUMS is missing"),
]


@pytest.mark.parametrize(("name", "harm", "told"), HARMS)
def test_training_goes_on_from_the_one_before_to_the_same_end(name: str, harm: Callable[[Path], None], told: str, whole: Whole) -> None:
    newest = whole.put_back("train") / "checkpoints" / "step-00004"
    harm(newest / name)
    found = prints(newest)
    ended = staged(whole.runs, "train")
    assert f"{newest} is damaged: {told}. The one before it is used" in ended.said
    assert "steps 3 to 4" in ended.said
    assert names(whole.run) == ["step-00002", "step-00004", "step-00004.damaged"]
    aside = newest.with_name("step-00004.damaged")
    assert prints(aside) == found
    shutil.rmtree(aside)
    assert different(prints(whole.run), prints(whole.kept / "train" / "one")) == []


def test_a_run_that_was_stopped_too_goes_on_from_the_one_before(whole: Whole) -> None:
    """Its newest is of step 3, where a signal asked for it."""
    run = whole.put_back("stopped")
    later = run / "checkpoints" / "step-00003"
    shutil.copytree(run / "checkpoints" / "step-00002", later)
    corrupted(later / "training.pt")
    assert whole.after("train") == [f"checkpoints/step-00003.damaged/{name}" for name in sorted(prints(later.with_name("step-00002")))]


def test_where_all_are_damaged_nothing_is_deleted_and_all_are_named(whole: Whole) -> None:
    run = whole.put_back("train")
    for checkpoint in checkpoints(run / "checkpoints"):
        corrupted(checkpoint / "model.safetensors")
    before = prints(run)
    for stage in ("train", "eval"):
        ended = staged(whole.runs, stage)
        assert ended.code == 8
        assert (
            f"Error: {run / 'checkpoints'}: every checkpoint is damaged, of step-00002, step-00004; --fresh begins the run anew"
            in ended.said
        )
    assert prints(run) == before


def test_evaluation_uses_the_one_before_and_says_so_until_training_has_made_it_again(whole: Whole) -> None:
    newest = whole.put_back("train") / "checkpoints" / "step-00004"
    corrupted(newest / "model.safetensors")
    ended = staged(whole.runs, "eval")
    assert ended.code == 0
    assert f"{newest} is damaged: model.safetensors is not as it was written. The one before it is used" in ended.said
    assert json.loads((whole.run / "eval" / "trained" / "report.json").read_text())["facts"]["policy"] == str(
        newest.with_name("step-00002")
    )
    assert names(whole.run) == ["step-00002", "step-00004"]
    assert all(path.startswith("checkpoints/step-00004.damaged/") for path in whole.after("train", "eval"))


def test_one_that_was_damaged_is_not_counted_among_those_that_are_kept(whole: Whole) -> None:
    """By entropy, which learning lowers, the first is the best."""
    run = whole.put_back("train")
    rows = timeless_lines(run / "metrics.jsonl")
    assert rows[2]["entropy"] > rows[4]["entropy"]
    corrupted(run / "checkpoints" / "step-00004" / "model.safetensors")
    assert staged(whole.runs, "train", "train.keep_checkpoints=1", "train.keep_best=entropy").code == 0
    assert names(run) == ["step-00002", "step-00004", "step-00004.damaged"]
    assert staged(whole.runs, "train", "train.keep_checkpoints=1").code == 0
    assert names(run) == ["step-00004", "step-00004.damaged"]
