"""The same command, or one with other settings, on a folder that holds a run already: what goes on, what is refused, and what is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from faults_runs import EVENNESS, config, ending, evaluated, said_by, settings, trained

from reasoning_rl import runfolder
from reasoning_rl.config import Config
from reasoning_rl.errors import RunError, TrainingError
from reasoning_rl.files import discard
from reasoning_rl.journal import Journal, read_metrics
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.recipes import load_config

CONSTANT = ("learner.warmup_steps=0", "learner.final_fraction=1")
"""A learning rate that does not depend on how many steps there will be."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run of four steps, one of six, and one of a single step."""
    runs = tmp_path_factory.mktemp("runs")
    trained(config(runs, "name=whole"))
    trained(config(runs, "name=six", "train.steps=6", *CONSTANT))
    trained(config(runs, "name=single", *SINGLE))
    return runs


SINGLE = ("train.steps=1", "train.eval_every=0")


def copied(runs: Path, original: str, name: str) -> Path:
    """A run that is there already under another name."""
    shutil.copytree(runs / original, runs / name)
    return runs / name


def resumptions(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "resumed.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ("learner.learning_rate=0.001", "learner.learning_rate: 0.0005 there, 0.001 here"),
        ("sampling.group_size=4", "sampling.group_size: 3 there, 4 here"),
        ("seed=1", "seed: 0 there, 1 here"),
        ("train.steps=3", "train.steps: 4 there, 3 here"),
        ("objective.kl=0.1", "objective.kl: 0.0 there, 0.1 here"),
        ("train.off_policy_steps=1", "train.off_policy_steps: 0 there, 1 here"),
    ],
)
def test_other_settings_are_refused_with_both_values_and_nothing_is_changed(runs: Path, changed: str, difference: str) -> None:
    before = ending(runs / "whole")
    more = ("learner.old_logprobs=engine",) if "off_policy" in changed else ()
    _, failure = said_by(config(runs, "name=whole", changed, *more))
    assert isinstance(failure, RunError)
    assert failure.exit_code == 8
    assert f"{runs / 'whole'} was begun with other settings:\n" in str(failure)
    assert f"\n  {difference}" in str(failure)
    assert str(failure).endswith("Give this run a name=… of its own, or start it over with --fresh")
    assert ending(runs / "whole") == before


def test_more_steps_go_on_to_the_end_of_a_run_that_was_to_be_so_long(runs: Path) -> None:
    longer = config(runs, "name=longer", "train.steps=4", *CONSTANT)
    trained(longer)
    longer = config(runs, "name=longer", "train.steps=6", *CONSTANT)
    said = trained(longer)
    assert "Goes on with another train.steps: 4 there, 6 here" in said
    assert "steps 5 to 6" in said
    assert ending(longer.folder) == ending(runs / "six")
    assert load_config(longer.folder / "config.yaml").train.steps == 6
    (noted,) = resumptions(longer.folder)
    assert (noted["step"], noted["settings"], noted["around"]) == (4, ["train.steps: 4 there, 6 here"], [])


def test_what_does_not_decide_what_is_learned_may_change_and_is_noted(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = config(runs, "name=changed")
    stopped_in(own, 3, monkeypatch)
    other = ("train.trackers=[tensorboard]", "train.keep_checkpoints=1", "judge.workers=2", "guards.window=5", "eval.samples=3")
    said = trained(config(runs, "name=changed", *other))
    (noted,) = resumptions(own.folder)
    assert noted["settings"] == [
        "guards.window: 10 there, 5 here",
        "judge.workers: 1 there, 2 here",
        "train.keep_checkpoints: 2 there, 1 here",
        "train.trackers: [] there, ['tensorboard'] here",
    ]
    assert all(f"Goes on with another {line}\n" in said for line in noted["settings"])
    now = load_config(own.folder / "config.yaml")
    assert (now.train.trackers, now.eval.samples) == (["tensorboard"], 3)
    assert list((own.folder / "tensorboard").iterdir())
    assert [path.name for path in checkpoints(own.folder / "checkpoints")] == ["step-00004"]
    ours, theirs = ({name: one for name, one in ending(run).items() if "step-00002/" not in name} for run in (own.folder, runs / "whole"))
    assert ours == theirs


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew_by_the_settings_of_now(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_in(config(runs, "name=early", *CONSTANT), 1, monkeypatch)
    own = config(runs, "name=early", "train.steps=6", *CONSTANT)
    assert "steps 1 to 6" in trained(own)
    assert ending(own.folder) == ending(runs / "six")
    assert load_config(own.folder / "config.yaml") == own


def stopped_in(own: Config, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until Ctrl-C comes behind the metrics of a step, whose checkpoint isn't written."""
    write = Journal.metrics

    def interrupt(journal: Journal, row: dict[str, float]) -> None:
        write(journal, row)
        if row["step"] == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "metrics", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(own)


def test_going_on_where_nothing_was_begun_is_refused_if_insisted_on(runs: Path) -> None:
    _, failure = said_by(config(runs, "name=nothing"), "must")
    assert isinstance(failure, RunError)
    assert f"--resume: there is no run in {runs / 'nothing'} to go on with" in str(failure)
    assert [path.name for path in (runs / "nothing").iterdir()] == [".lock"]


def test_a_fresh_run_leaves_nothing_of_the_one_before(runs: Path) -> None:
    own = config(runs, "name=afresh", *SINGLE)
    copied(runs, "whole", "afresh")
    marked(own.folder)
    assert "steps 1 to 1" in anew(own)
    assert ending(own.folder) == ending(runs / "single")
    assert not marks(own.folder)


MARK = "of the run before"


def marked(run: Path) -> None:
    """Put something into it that no other run has."""
    for folder, like in (
        ("rollouts", "step-00009.parquet"),
        ("faults", "step-00009.parquet"),
        ("eval/base", "note"),
        ("tensorboard", "note"),
    ):
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / like).write_text(MARK)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "words": MARK}) + "\n")
    (run / "resumed.jsonl").write_text(json.dumps({"at": MARK}) + "\n")


def marks(run: Path) -> list[str]:
    """Files that have it."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    return [path.relative_to(run).as_posix() for path in files if MARK.encode() in path.read_bytes()]


@pytest.mark.parametrize("removals", range(len(runfolder._RESULTS)))
def test_a_fresh_start_that_is_killed_while_it_clears_the_folder_never_mixes_two_runs(
    removals: int, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command without --fresh finds the run before whole, or begins anew."""
    own, done = config(runs, f"name=killed-{removals}", *SINGLE), list[Path]()
    copied(runs, "single", own.name)
    kept = (own.folder / "config.yaml").read_text().replace("name: single", f"name: {own.name}")
    (own.folder / "config.yaml").write_text(kept)
    marked(own.folder)
    before = ending(own.folder)

    def killed(path: Path) -> None:
        if len(done) == removals:
            raise KeyboardInterrupt
        done.append(path)
        discard(path)

    with monkeypatch.context() as patch:
        patch.setattr(runfolder, "discard", killed)
        with pytest.raises(KeyboardInterrupt):
            anew(own)
    if checkpoints(own.folder / "checkpoints"):
        assert "is trained" in trained(own)
        assert ending(own.folder) == before
    else:
        assert "steps 1 to 1" in trained(own)
        assert ending(own.folder) == ending(runs / "single")
        assert not marks(own.folder)


def test_a_fresh_start_under_other_settings_that_is_killed_is_not_gone_on_with_by_accident(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = config(runs, "name=other", "seed=5", *SINGLE)
    copied(runs, "single", "other")
    with monkeypatch.context() as patch:
        patch.setattr(runfolder, "discard", lambda path: interrupt_at(path, "config.yaml"))
        with pytest.raises(KeyboardInterrupt):
            anew(own)
    _, failure = said_by(own)
    assert isinstance(failure, RunError)
    assert "seed: 0 there, 5 here" in str(failure)
    assert "steps 1 to 1" in anew(own)


def anew(own: Config) -> str:
    """What `train --fresh` prints."""
    said, failure = said_by(own, "never")
    assert failure is None, failure
    return said


def interrupt_at(path: Path, name: str) -> None:
    if path.name == name:
        raise KeyboardInterrupt


def test_a_verifier_that_was_changed_and_other_surroundings_are_said(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = config(tmp_path)
    stopped_in(own, 3, monkeypatch)
    (tmp_path / "evenness.py").write_text(EVENNESS + "\n# another\n")
    there = json.loads((own.folder / "environment.json").read_text())
    there["versions"]["torch"] = "0.1"
    (own.folder / "environment.json").write_text(json.dumps(there))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    said = trained(own)
    assert f"Goes on with another text of {tmp_path}/evenness.py" in said
    assert "Goes on with another versions.torch: '0.1' there, " in said
    assert f"Goes on with another threads: {there['threads']!r} there, '7' here" in said
    (noted,) = resumptions(own.folder)
    assert [line.partition(":")[0] for line in noted["around"]] == [f"text of {tmp_path}/evenness.py", "threads", "versions.torch"]


def test_the_best_checkpoint_stays_beside_the_newest_in_a_run_that_is_stopped_too(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = ("train.keep_best=reward", "train.keep_checkpoints=1", "train.save_every=1")
    own, other = config(runs, "name=best", *best), config(runs, "name=best-stopped", *best)
    trained(own)
    stopped_in(other, 3, monkeypatch)
    trained(other)
    rewards = read_metrics(own.folder).set_index("step")["reward"].loc[1:]
    assert rewards.idxmax() != 4  # or the newest would be the best
    assert [path.name for path in checkpoints(own.folder / "checkpoints")] == [f"step-0000{rewards.idxmax()}", "step-00004"]
    assert ending(other.folder) == ending(own.folder)


def test_a_run_with_nothing_to_learn_from_never_ends_well(runs: Path) -> None:
    """gsm8k and format alone: the policy solves nothing, and the rewards of each group are equal."""
    own = load_config("smoke", [one for one in settings(runs, "name=idle") if not one.startswith("rewards.")])
    for _ in ("trained", "found trained"):
        said, failure = said_by(own)
        assert "rained" not in said
        assert isinstance(failure, TrainingError)
        assert failure.exit_code == 9
        assert "no step of 4 has changed the policy" in str(failure)
    assert (own.folder / "reward.png").exists()
    assert read_metrics(own.folder)["groups/learned"].sum() == 0


def test_an_evaluation_of_nothing_never_ends_well(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = config(runs, "name=unevaluated", "train.save_every=0")
    with pytest.raises(RunError, match="there is no policy here to evaluate") as nothing:
        evaluated(own)
    assert nothing.value.exit_code == 8
    stopped_in(own, 2, monkeypatch)
    with pytest.raises(RunError, match="training has not reached its first checkpoint"):
        evaluated(own)
