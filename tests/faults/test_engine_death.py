"""An engine that dies is started anew from the last finished step, a few times, and the run ends as if it never had."""

import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from faults_runs import config, ending, evaluated, said_by, trained
from test_pipeline import AHEAD

from reasoning_rl.checksums import SUMS
from reasoning_rl.errors import EngineDied
from reasoning_rl.eval.evaluate import STREAM
from reasoning_rl.files import sha256_of
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import More, OnFinished, Sampling
from reasoning_rl.rollout.local import LocalEngine


class Mortal(LocalEngine):
    """Dies of what it is asked: answers of a stream by weights of a version, or to take such weights. Once for every time it is listed."""

    fatal: ClassVar[list[str]] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        """Some answers are heard of before it dies."""
        self._heard = 0
        asked = f"{sampling.stream} of {self.version}"

        def hear(index: int, row: int, completion: Completion) -> None:
            if on_finished:
                on_finished(index, row, completion)
            self._heard += 1
            if self._heard == 2:
                self._die(asked)

        return super().generate(prompts, sampling, hear, more)

    def load_weights(self, named_tensors, version: int) -> None:  # type: ignore[no-untyped-def]
        self._die(f"weights {version}")
        super().load_weights(named_tensors, version)

    def _die(self, asked: str) -> None:
        if asked in self.fatal:
            self.fatal.remove(asked)
            raise EngineDied(f"the engine died of {asked}")


class Beside(Mortal):
    """Has weights of its own."""

    apart = True

    def __init__(self, policy: Policy, batch_rows: int) -> None:
        super().__init__(replace(policy, model=deepcopy(policy.model)), batch_rows)


Fatal = Callable[..., None]


@pytest.fixture(name="fatal")
def _fatal(monkeypatch: pytest.MonkeyPatch) -> Fatal:
    """Makes engines mortal from now on."""
    monkeypatch.setattr("reasoning_rl.learner.worker.LocalEngine", Mortal)

    def fatal(*asked: str) -> None:
        monkeypatch.setattr(Mortal, "fatal", list(asked))

    return fatal


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run whose engine lives, and one whose sampling is a step ahead."""
    runs = tmp_path_factory.mktemp("runs")
    trained(config(runs, "name=whole"))
    trained(config(runs, "name=ahead", *AHEAD))
    return runs


def plain(asked: str) -> str:
    """Fit for the name of a run."""
    return asked.replace("/", "-").replace(" ", "-")


def again(said: str) -> list[str]:
    return [line for line in said.splitlines() if "Starting anew" in line or line.startswith("Training by")]


ANEW = "the engine died of {}. Starting anew from the last checkpoint ({} of 3 times, train.restarts)"
STEPS = "Training by grpo: steps {} to 4, 4 prompts x 3 answers each"


@pytest.mark.parametrize(
    ("asked", "onward"),
    [
        ("train/0 of 0", 1),  # nothing was done yet
        ("train/1 of 1", 2),  # one step was, and has no checkpoint yet: it is made
        ("train/3 of 3", 4),
        ("held-out of 0", 1),
        ("held-out of 4", 3),  # a step that is not recorded is lost
        ("weights 1", 1),
        ("weights 4", 3),
    ],
)  # fmt: skip
def test_a_run_goes_on_by_itself_from_the_step_it_had_finished_to_the_same_end(asked: str, onward: int, runs: Path, fatal: Fatal) -> None:
    own = config(runs, f"name={plain(asked)}")
    fatal(asked)
    said = trained(own)
    assert again(said) == [STEPS.format(1), ANEW.format(asked, 1), STEPS.format(onward)]
    assert ending(own.folder) == ending(runs / "whole")


@pytest.mark.parametrize(("asked", "onward"), [("train/0 of 0", 1), ("train/2 of 1", 1), ("train/3 of 2", 3)])
def test_one_that_samples_a_step_ahead_is_started_anew_too(asked: str, onward: int, runs: Path, fatal: Fatal) -> None:
    """It is asked for the step to come: dying of the third step's answers, it takes the second with it, and the first has no checkpoint."""
    own = config(runs, f"name=ahead-{plain(asked)}", *AHEAD)
    fatal(asked)
    assert again(trained(own)) == [STEPS.format(1), ANEW.format(asked, 1), STEPS.format(onward)]
    assert untimed(ending(own.folder)) == untimed(ending(runs / "ahead"))


def test_one_that_dies_beside_the_learner_is_started_anew_too(runs: Path, fatal: Fatal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It samples in a thread of its own."""
    own = config(runs, "name=beside", *AHEAD)
    fatal("train/3 of 2")
    monkeypatch.setattr("reasoning_rl.learner.worker.LocalEngine", Beside)
    assert again(trained(own)) == [STEPS.format(1), ANEW.format("train/3 of 2", 1), STEPS.format(3)]
    assert untimed(ending(own.folder)) == untimed(ending(runs / "ahead"))


def untimed(files: dict[str, str]) -> dict[str, str]:
    """But for the state of the second step, where answers wait with the seconds that they took."""
    return {
        name: digest for name, digest in files.items() if name not in {f"checkpoints/step-00002/{one}" for one in ("training.pt", SUMS)}
    }


def test_a_run_whose_engine_dies_too_often_gives_up_and_the_same_command_goes_on(runs: Path, fatal: Fatal) -> None:
    own = config(runs, "name=often", "train.restarts=2")
    fatal("train/0 of 0", "train/2 of 2", "train/2 of 2")
    said, failure = said_by(own)
    assert isinstance(failure, EngineDied)
    assert failure.exit_code == 6
    assert str(failure) == "the engine died of train/2 of 2"
    assert [line.partition(" (")[2][:6] for line in said.splitlines() if "Starting anew" in line] == ["1 of 2", "2 of 2"]
    assert STEPS.format(3) in trained(own)
    assert ending(own.folder) == ending(runs / "whole")


def test_without_restarts_the_first_death_ends_the_run(runs: Path, fatal: Fatal) -> None:
    own = config(runs, "name=once", "train.restarts=0")
    fatal("train/2 of 2")
    said, failure = said_by(own)
    assert isinstance(failure, EngineDied)
    assert "Starting anew" not in said
    assert STEPS.format(3) in trained(own)  # the finished step was saved
    assert ending(own.folder) == ending(runs / "whole")


def test_an_evaluation_whose_engine_dies_ends_and_the_same_command_goes_on(runs: Path, fatal: Fatal) -> None:
    own = config(runs, "name=whole")
    evaluated(own)
    expected = {path: sha256_of(path) for path in own.folder.glob("eval/*/*.parquet")}
    shutil.rmtree(own.folder / "eval")
    fatal(f"{STREAM} of 0")
    with pytest.raises(EngineDied):
        evaluated(own)
    assert not list(own.folder.glob("eval/*/report.json"))
    evaluated(own)
    assert {path: sha256_of(path) for path in own.folder.glob("eval/*/*.parquet")} == expected
