import json
from pathlib import Path

import pytest

from reasoning_rl import runfolder
from reasoning_rl.config import Config
from reasoning_rl.errors import RunError
from reasoning_rl.recipes import load_config


def config(tmp_path: Path, *overrides: str) -> Config:
    return load_config("smoke", [f"runs={tmp_path}", "name=one", *overrides])


def test_a_run_notes_its_settings_so_that_they_load_again(tmp_path: Path) -> None:
    runfolder.begin(config(tmp_path), "auto")
    assert load_config(tmp_path / "one" / "config.yaml") == config(tmp_path)
    assert json.loads((tmp_path / "one" / "environment.json").read_text())["seed"] == 0


def begun(tmp_path: Path, *overrides: str) -> None:
    """A run with something learned in it."""
    runfolder.begin(config(tmp_path, *overrides), "auto")
    runfolder.note_base(config(tmp_path, *overrides), "somewhere", "of it")


def test_settings_under_which_nothing_was_learned_bind_nobody(tmp_path: Path) -> None:
    runfolder.begin(config(tmp_path, "data.path=mistyped"), "auto")
    runfolder.begin(config(tmp_path), "auto")
    assert load_config(tmp_path / "one" / "config.yaml").data.path is None


def test_the_same_settings_go_on_and_others_are_refused_with_the_difference(tmp_path: Path) -> None:
    begun(tmp_path)
    runfolder.begin(config(tmp_path), "auto")
    with pytest.raises(RunError, match=r"learner\.learning_rate: 0\.0005 there, 0\.001 here\nGive this run a name"):
        runfolder.begin(config(tmp_path, "learner.learning_rate=0.001"), "auto")


@pytest.mark.parametrize("override", ["eval.samples=8", "learner.tokens_per_microbatch=99", "train.save_every=7", "judge.workers=2"])
def test_what_does_not_change_the_weights_may_change(tmp_path: Path, override: str) -> None:
    begun(tmp_path)
    runfolder.begin(config(tmp_path, override), "must")


def test_resuming_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"--resume: there is no run in .* to go on with; leave --resume out to begin one"):
        runfolder.begin(config(tmp_path), "must")


def test_starting_afresh_removes_results_and_keeps_the_data(tmp_path: Path) -> None:
    begun(tmp_path)
    for name in ("data", "checkpoints", "eval"):
        (tmp_path / "one" / name).mkdir()
    runfolder.begin(config(tmp_path, "seed=3"), "never")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["config.yaml", "data", "environment.json"]
    assert load_config(tmp_path / "one" / "config.yaml").seed == 3


def test_a_run_without_a_policy_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no policy here to evaluate; run `reasoning-rl train` with this recipe first"):
        runfolder.policies(config(tmp_path))
    runfolder.note_base(config(tmp_path), "somewhere", "of it")
    with pytest.raises(RunError, match="training has not reached its first checkpoint"):
        runfolder.policies(config(tmp_path))
    assert runfolder.policies(config(tmp_path, "train.steps=0")) == {"base": "somewhere"}


def test_built_in_head_room_is_said_and_only_there(tmp_path: Path) -> None:
    assert "65% of the cold start's demonstrations answer at once" in runfolder.note(config(tmp_path))
    clean = ("data.arithmetic.direct_fraction=0", "data.arithmetic.slip_rate=0")
    assert not runfolder.note(config(tmp_path, *clean))
    assert not runfolder.note(config(tmp_path, "policy.model=some/model"))


def test_more_steps_go_on_and_fewer_are_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    runfolder.begin(config(tmp_path, "train.steps=9"), "must")
    with pytest.raises(RunError, match=r"train\.steps: 9 there, 2 here; it may only grow"):
        runfolder.begin(config(tmp_path, "train.steps=2"), "must")


def test_what_changed_is_said_and_noted_where_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "mine.py").write_text("# as it was")
    mine = f"rewards.{tmp_path}/mine.py:mine=1"
    begun(tmp_path, mine)
    (tmp_path / "mine.py").write_text("# as it is")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    longer, said = config(tmp_path, mine, "train.steps=9", "train.keep_checkpoints=5", "eval.samples=9"), list[str]()
    runfolder.go_on(longer, 2, said.append)
    assert [line.partition(":")[0] for line in said] == [
        "Goes on with another train.keep_checkpoints",
        "Goes on with another train.steps",
        f"Goes on with another text of {tmp_path}/mine.py",
        "Goes on with another threads",
    ]
    assert said[-1].endswith("threads: '1' there, '2' here")
    (noted,) = (json.loads(line) for line in (tmp_path / "one" / "resumed.jsonl").read_text().splitlines())
    assert noted["step"] == 2
    assert noted["settings"] == ["train.keep_checkpoints: 2 there, 5 here", "train.steps: 4 there, 9 here"]
    assert load_config(tmp_path / "one" / "config.yaml") == longer


def test_where_nothing_changed_nothing_is_said(tmp_path: Path) -> None:
    begun(tmp_path)
    said: list[str] = []
    runfolder.go_on(config(tmp_path), 2, said.append)
    assert said == []


def test_a_damaged_environment_is_no_obstacle_but_said(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "one" / "environment.json").write_text("{")
    said: list[str] = []
    runfolder.go_on(config(tmp_path), 2, said.append)
    assert said == ["Goes on with another environment: environment.json is missing or damaged"]


def test_checkpoints_of_nobody_knows_which_run_are_not_gone_on_from(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "one" / "checkpoints" / "step-00002").mkdir(parents=True)
    (tmp_path / "one" / "base.json").unlink()
    runfolder.begin(config(tmp_path), "must")  # it is written again
    (tmp_path / "one" / "config.yaml").unlink()
    with pytest.raises(
        RunError, match=r"one has checkpoints, but no config\.yaml to say of which run; put it back, or begin anew by --fresh"
    ):
        runfolder.begin(config(tmp_path), "auto")


def test_who_has_the_folder_alone_finds_it_cleared_of_what_kills_left(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "one" / "checkpoints" / ".step-00002.7.tmp").mkdir(parents=True)
    with runfolder.alone(config(tmp_path)):
        assert not (tmp_path / "one" / "checkpoints" / ".step-00002.7.tmp").exists()


def test_a_model_that_was_replaced_under_a_run_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    runfolder.note_base(config(tmp_path), "somewhere", "others")  # nothing was learned from the first
    (tmp_path / "one" / "checkpoints" / "step-00002").mkdir(parents=True)
    with pytest.raises(RunError, match=r"somewhere: its weights are not those that .* began with; put them back"):
        runfolder.note_base(config(tmp_path), "somewhere", "of it")
    runfolder.note_base(config(tmp_path), "elsewhere", "others")  # the same, moved


def test_a_damaged_config_is_named_with_the_way_out(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "one" / "config.yaml").write_text("train: {steps: ")
    with pytest.raises(RunError, match=r"one/config\.yaml is damaged, or of another version; write it again by .* --fresh"):
        runfolder.begin(config(tmp_path), "auto")
