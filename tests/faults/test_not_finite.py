"""A log-probability that is no number, of one answer in one step: it never reaches the weights, and its answer is kept for a look."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from faults_runs import config, ending, said_by, trained
from torch import Tensor

from reasoning_rl.errors import TrainingError
from reasoning_rl.journal import Journal, read_metrics
from reasoning_rl.learner import learner
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy

NAN = float("nan")


@dataclass(frozen=True)
class Answer:
    """Of a run, by its tokens."""

    step: int
    group: int
    sample: int
    tokens: tuple[int, ...]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run of which every number is finite."""
    runs = tmp_path_factory.mktemp("runs")
    trained(config(runs, "name=whole"))
    return runs


def answers(runs: Path, *steps: int) -> list[Answer]:
    """Sample 1 of group 2 of each of these steps: the same of every run, as long as it has learned the same."""
    tokens = {step: pd.read_parquet(runs / "whole" / "rollouts" / f"step-{step:05d}.parquet")["token_ids"].tolist() for step in steps}
    return [Answer(step, 2, 1, tuple(tokens[step][2 * 3 + 1])) for step in steps]


@contextmanager
def broken(*bad: Answer) -> Iterator[None]:
    """The learner finds no number where it meets one of these answers."""

    def logprobs(policy: Policy, packing: Packing, **options: Any) -> tuple[Tensor, Tensor]:
        logp_M, entropy_M = token_logprobs(policy, packing, **options)
        rows = zip(packing.predicted_M[: len(logp_M)].split(list(packing.lengths_R)), logp_M.split(list(packing.lengths_R)), strict=True)
        made = [logp_T * NAN if tuple(tokens_T.tolist()) in known else logp_T for tokens_T, logp_T in rows]
        return torch.cat(made), entropy_M

    known = {answer.tokens for answer in bad}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "token_logprobs", logprobs)
        yield


def faults(run: Path) -> dict[str, list[tuple[int, int, int]]]:
    """Rows of each file of faults."""
    files = {path.name: pd.read_parquet(path) for path in sorted((run / "faults").glob("*"))}
    return {name: list(rows[["step", "group", "sample"]].itertuples(index=False, name=None)) for name, rows in files.items()}


def test_the_run_stops_before_the_step_and_once_the_cause_is_gone_ends_as_if_nothing_had_been(runs: Path) -> None:
    own = config(runs, "name=stops")
    with broken(*answers(runs, 4)):
        for onward in ("steps 1 to 4", "steps 3 to 4"):  # the second time from the checkpoint, to the same end
            said, failure = said_by(own)
            assert onward in said
            assert isinstance(failure, TrainingError)
            assert failure.exit_code == 9
            assert str(failure).startswith("step 4: loss nan, grad_norm nan, tokens with a log-probability that is not finite: 12")
            assert f"the answers are in {own.folder}/faults/step-00004.parquet. Checkpoints are " in str(failure)
            assert faults(own.folder) == {"step-00004.parquet": [(4, 2, 1)]}
            assert [path.name for path in checkpoints(own.folder / "checkpoints")] == ["step-00002"]
            assert read_metrics(own.folder)["step"].tolist() == [0, 1, 2, 3]
    assert "steps 3 to 4" in trained(own)
    assert ending(own.folder) == ending(runs / "whole")


SKIP = "guards.nonfinite=skip"


@pytest.fixture(scope="module")
def skipped(runs: Path) -> tuple[Path, str]:
    """A run that leaves the update of its third step out, and what it says."""
    with broken(*answers(runs, 3)):
        said = trained(config(runs, "name=skipped", SKIP))
    return runs / "skipped", said


def test_an_update_that_is_left_out_is_said_and_counted_and_the_run_goes_on(skipped: tuple[Path, str]) -> None:
    run, said = skipped
    assert "Step 3: loss nan, grad_norm nan, tokens with a log-probability that is not finite: 12; an update was not made" in said
    assert "the run goes on (guards.nonfinite is skip)" in said
    metrics = read_metrics(run).set_index("step").loc[1:]
    assert metrics["guards/skipped_updates"].tolist() == [0, 0, 1, 0]
    assert metrics["loss"].isna().tolist() == [False, False, True, False]
    assert faults(run) == {"step-00003.parquet": [(3, 2, 1)]}
    third, fourth = (pd.read_parquet(run / "rollouts" / f"step-0000{step}.parquet") for step in (3, 4))
    assert pd.read_parquet(run / "faults" / "step-00003.parquet")["completion"].item() == third["completion"][2 * 3 + 1]
    assert set(fourth["policy_version"]) == {3}  # the step counts, though its weights are those from before it


def test_a_run_that_is_stopped_behind_a_skipped_update_ends_like_one_that_is_not(
    runs: Path, skipped: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, write = config(runs, "name=resumed", SKIP, "train.save_every=3"), Journal.rollouts

    def interrupt(journal: Journal, step: int, *rest: Any) -> Path:
        if step == 4:
            raise KeyboardInterrupt
        return write(journal, step, *rest)

    with broken(*answers(runs, 3)):
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "rollouts", interrupt)
            with pytest.raises(KeyboardInterrupt):
                trained(own)
        assert "steps 4 to 4" in trained(own)
    ours, theirs = (
        {name: digest for name, digest in ending(run).items() if "step-00002/" not in name and "step-00003/" not in name}
        for run in (own.folder, skipped[0])
    )
    assert ours == theirs


def test_too_many_such_steps_in_a_row_stop_the_run_all_the_same(runs: Path) -> None:
    own = config(runs, "name=too-many", SKIP, "guards.most_skipped=2")
    (third,) = answers(runs, 3)
    with broken(third):
        trained(own)
    fourth = pd.read_parquet(own.folder / "rollouts" / "step-00004.parquet")["token_ids"]
    again = config(runs, "name=too-many-again", SKIP, "guards.most_skipped=2")
    with broken(third, Answer(4, 0, 0, tuple(fourth[0]))):
        said, failure = said_by(again)
    assert isinstance(failure, TrainingError)
    assert "Step 3: " in said
    assert str(failure).startswith("step 4: ")
    assert "Steps in a row so far: 2 (guards.most_skipped). Checkpoints are " in str(failure)
    assert read_metrics(again.folder)["step"].tolist() == [0, 1, 2, 3]
