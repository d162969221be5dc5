"""By hand, and against the rule said in other words."""

from math import nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.config import TrainConfig
from reasoning_rl.learner.retention import Retention, is_due, kept


def folder_with(tmp_path: Path, *steps: int) -> Path:
    for step in steps:
        (tmp_path / f"step-{step:05d}").mkdir()
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoints_are_due_every_so_many_steps_and_at_the_end() -> None:
    config = TrainConfig(steps=7, save_every=3)
    assert [step for step in range(1, 8) if is_due(step, config)] == [3, 6, 7]
    assert [step for step in range(1, 8) if is_due(step, TrainConfig(steps=7, save_every=0))] == [7]


def test_the_best_stays_beside_the_newest(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 10, 20, 30, 40)
    history = [{"step": step, "eval/pass@1": value} for step, value in ((10, nan), (20, 0.5), (25, 0.9), (30, 0.3), (40, None))]
    Retention(folder, TrainConfig(steps=100, save_every=10, keep_checkpoints=1, keep_best="eval/pass@1"), history).prune()
    assert names(folder) == ["step-00020", "step-00040"]  # 25 was never saved


def test_without_a_metric_the_newest_stay_alone(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 10, 20, 30)
    Retention(folder, TrainConfig(steps=100, save_every=10, keep_checkpoints=2), [{"step": 10, "reward": 1.0}]).prune()
    assert names(folder) == ["step-00020", "step-00030"]


def test_a_checkpoint_that_a_signal_asked_for_goes_when_one_is_due(tmp_path: Path) -> None:
    """So that a run that was stopped and went on ends with the files of one that was not."""
    config = TrainConfig(steps=100, save_every=10, keep_checkpoints=2)
    folder = folder_with(tmp_path, 10, 20, 23)
    Retention(folder, config).prune()
    assert names(folder) == ["step-00010", "step-00020", "step-00023"]
    (folder / "step-00030").mkdir()
    Retention(folder, config).prune()
    assert names(folder) == ["step-00020", "step-00030"]


@pytest.mark.parametrize(("row", "unknown"), [({"step": 5, "eval/pass@1": 0.1}, False), ({"step": 5}, True)])
def test_a_step_that_cannot_be_the_best_is_known(row: dict[str, float], unknown: bool, tmp_path: Path) -> None:
    retention = Retention(tmp_path, TrainConfig(keep_best="eval/pass@1"))
    assert retention.unknown(row) is unknown
    assert not retention.unknown(row)  # once is enough
    assert not Retention(tmp_path, TrainConfig()).unknown(row)


@given(
    steps=st.sets(st.integers(1, 60), min_size=1).map(sorted),
    every=st.integers(1, 10),
    newest=st.integers(1, 3),
    scores=st.dictionaries(st.integers(1, 60), st.floats(0, 1)),
)
def test_what_stays_is_the_last_the_newest_due_and_one_that_no_due_one_beats(
    steps: list[int], every: int, newest: int, scores: dict[int, float]
) -> None:
    due = {step for step in steps if step % every == 0}
    stay = kept(steps, due, newest, scores)
    assert steps[-1] in stay
    assert set(sorted(due)[-newest:]) <= stay <= set(steps)
    assert len(stay) <= newest + 2
    rated = due & scores.keys()
    if rated:
        assert max(scores[step] for step in rated) == max(scores[step] for step in rated & stay)
