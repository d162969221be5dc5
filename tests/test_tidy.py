"""`clean`: what can go is listed first, what is needed stays, and nothing but what was listed is removed."""

import shutil
from pathlib import Path

import pytest
from run_fakes import COLD_START, best_at, corrupted, in_use, made_evaluation, made_pieces, made_run, made_weights
from typer.testing import CliRunner, Result

from reasoning_rl import cli, tidy
from reasoning_rl.checkup.checkup import look
from reasoning_rl.errors import StorageError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in a folder of runs where nothing can go."""
    return made_run(tmp_path / "runs")


def clean(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["clean", *map(str, arguments)])


def listed(runs: Path, *also: str) -> list[str]:
    """What can go, by its place in the folder of the runs."""
    return [item.path.relative_to(runs).as_posix() for item in tidy.plan(runs, also=also).items]


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name != ".lock"}


def leftover(folder: Path) -> Path:
    """Of ten bytes."""
    path = folder / ".metrics.jsonl.7.tmp"
    path.write_text("0123456789")
    return path


def test_help_says_that_nothing_goes_without_yes() -> None:
    assert "--yes" in clean("--help").stdout


def test_a_folder_of_runs_that_is_not_there_ends_with_8(tmp_path: Path) -> None:
    result = clean("--runs", tmp_path / "absent")
    assert (result.exit_code, result.stdout) == (8, "")
    assert f"there is no folder {tmp_path / 'absent'}" in result.stderr
    assert clean("--runs", tmp_path).stdout == "Nothing to clean\n"


def test_of_a_run_that_is_done_nothing_can_go(run: Path) -> None:
    before = everything(run.parent)
    result = clean("--runs", run.parent, "--yes")
    assert (result.exit_code, result.stdout) == (0, "Nothing to clean\n")
    assert everything(run.parent) == before


def test_without_yes_it_lists_and_says_what_to_type(run: Path) -> None:
    path = leftover(run)
    result = clean("--runs", run.parent)
    assert result.exit_code == 0
    assert path.exists()
    assert "an interrupted write left it" in result.stdout
    assert "10 bytes" in result.stdout
    assert result.stdout.endswith(f"To remove all of this:\n  reasoning-rl clean --runs {run.parent} --yes\nNothing was removed\n")


def test_with_yes_it_removes_what_it_lists_and_says_how_much_that_was(run: Path) -> None:
    before, path = everything(run.parent), leftover(run)
    result = clean("--runs", run.parent, "--yes")
    assert result.exit_code == 0
    assert result.stdout.endswith("Freed 10 bytes\n")
    assert not path.exists()
    assert everything(run.parent) == before


def test_a_listing_that_nobody_is_asked_about_says_what_goes(run: Path) -> None:
    leftover(run)
    found = tidy.plan(run.parent)
    assert (tidy.listing(found).title, tidy.listing(found, going=True).title) == ("can go: 10 bytes", "goes: 10 bytes")


def test_on_a_terminal_it_asks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = leftover(run)
    monkeypatch.setattr(cli, "_on_a_terminal", lambda: True)
    arguments = ["clean", "--runs", str(run.parent)]
    for no in ("n\n", ""):
        result = CliRunner().invoke(cli.app, arguments, input=no)
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "Nothing was removed")
    assert path.exists()
    assert CliRunner().invoke(cli.app, arguments, input="y\n").stdout.endswith("Freed 10 bytes\n")
    assert not path.exists()


# What can go


def test_cold_starts_that_no_run_began_with_can_go(run: Path) -> None:
    made_weights(run.parent / "cache" / "cold-start-idle")
    (run.parent / "cache" / f".{COLD_START}.7.tmp").mkdir()
    assert listed(run.parent) == [f"cache/.{COLD_START}.7.tmp", "cache/cold-start-idle"]


def test_a_cold_start_stays_as_long_as_any_run_began_with_it(run: Path) -> None:
    other = made_run(run.parent, "two")
    shutil.rmtree(run)
    assert listed(run.parent) == []
    shutil.rmtree(other)
    assert listed(run.parent) == [f"cache/{COLD_START}"]


def test_cold_starts_stay_where_a_base_can_not_be_read(run: Path) -> None:
    made_weights(run.parent / "cache" / "cold-start-idle")
    (run / "base.json").write_text("{")
    found = tidy.plan(run.parent)
    assert found.items == []
    assert found.left == (f"{run.parent / 'cache'} is left alone: {run / 'base.json'} can't be read",)


def test_pieces_of_a_finished_evaluation_can_go_and_of_another_stay(run: Path) -> None:
    evaluation = run / "eval" / "trained"
    made_evaluation(evaluation, "these answers")
    made_pieces(evaluation, "these answers")
    made_pieces(evaluation, "those answers")  # other settings, asked for later, and stopped
    made_pieces(run / "eval" / "base2", "these answers")  # not finished
    assert listed(run.parent) == ["one/eval/trained/.parts-these answers"]


def test_damaged_checkpoints_that_were_set_aside_can_go(run: Path) -> None:
    (run / "checkpoints" / "step-00006.damaged").mkdir()
    assert listed(run.parent) == ["one/checkpoints/step-00006.damaged"]


def test_on_demand_all_checkpoints_but_the_newest_whole_one_go(run: Path) -> None:
    corrupted(made_weights(run / "checkpoints" / "step-00006", "training.pt") / "training.pt")
    assert listed(run.parent, "checkpoints") == ["one/checkpoints/step-00002", "one/checkpoints/step-00006"]
    result = clean("--runs", run.parent, "--also", "checkpoints", "--yes")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00004"]
    assert {finding.state for finding in look(run)} == {"ok"}


def test_the_best_checkpoint_stays_beside_the_newest(run: Path) -> None:
    made_weights(run / "checkpoints" / "step-00003", "training.pt")
    best_at(run, 2)
    assert listed(run.parent, "checkpoints") == ["one/checkpoints/step-00003"]


def test_where_the_best_can_not_be_known_all_stay(run: Path) -> None:
    best_at(run, 2)
    (run / "metrics.jsonl").write_text("{\n")
    assert listed(run.parent, "checkpoints") == []


def test_where_no_checkpoint_is_whole_all_stay(run: Path) -> None:
    for weights in (run / "checkpoints").rglob("model.safetensors"):
        corrupted(weights)
    assert listed(run.parent, "checkpoints") == []


def test_on_demand_rollouts_go_with_what_lies_in_them(run: Path) -> None:
    leftover(run / "rollouts")
    assert listed(run.parent, "rollouts") == ["one/rollouts"]
    result = clean("one", "--runs", run.parent, "--also", "rollouts,checkpoints", "--yes")
    assert "train.rollouts need them" in " ".join(result.stdout.split())
    assert not (run / "rollouts").exists()
    assert {finding.part: finding.state for finding in look(run) if finding.state != "ok"} == {"rollouts": "missing"}


def test_what_else_is_to_go_must_be_known(run: Path) -> None:
    result = clean("--runs", run.parent, "--also", "rolouts")
    assert result.exit_code == 2
    assert "--also: found 'rolouts'; known: checkpoints, rollouts. Did you mean 'rollouts'?" in result.stderr


def test_of_named_runs_alone(run: Path) -> None:
    other = made_run(run.parent, "two")
    kept, going = leftover(run), leftover(other)
    made_weights(run.parent / "cache" / "cold-start-idle")
    assert clean("two", "--runs", run.parent, "--yes").exit_code == 0
    assert kept.exists()
    assert not going.exists()
    assert (run.parent / "cache" / "cold-start-idle").exists()


# What is left alone


def test_a_run_in_use_is_left_alone_and_so_are_cold_starts(run: Path) -> None:
    path, other = leftover(run), leftover(made_run(run.parent, "two"))
    made_weights(run.parent / "cache" / "cold-start-idle")
    with in_use(run) as user:
        result = clean("--runs", run.parent, "--yes")
    assert result.exit_code == 0
    assert f"{run} is left alone: in use by process {user}" in result.stdout
    assert f"{run.parent / 'cache'} is left alone: {run} is in use" in result.stdout
    assert path.exists()
    assert not other.exists()
    assert (run.parent / "cache" / "cold-start-idle").exists()


def test_a_comparison_with_a_run_in_use_is_left_alone(run: Path) -> None:
    """Its folder holds the runs', and its own lock may be free."""
    inner = run.parent / "objectives" / "runs" / "grpo-seed0"
    inner.mkdir(parents=True)
    path = leftover(inner)
    (run.parent / "objectives" / ".lock").touch()
    found = tidy.plan(run.parent)
    with in_use(inner) as user:
        assert f"objectives is left alone: in use by process {user}" in " ".join(tidy.plan(run.parent).left)
        tidy.remove(found, lambda _: None)  # listed before it came into use
        assert path.exists()
    tidy.remove(tidy.plan(run.parent), lambda _: None)
    assert not path.exists()


def test_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(run / "rollouts", outside / "rollouts")
    shutil.move(run / "checkpoints", outside / "checkpoints")
    (run / "rollouts").symlink_to(outside / "rollouts")
    (run / "checkpoints").symlink_to(outside / "checkpoints")
    leftover(outside / "rollouts")
    (run / "eval" / ".x.tmp").symlink_to(outside)
    assert listed(run.parent, "checkpoints", "rollouts") == []
    (run.parent / "linked").symlink_to(run)
    assert tidy.plan(run.parent).left == (f"{run.parent / 'linked'} is left alone: it is a link; name {run} itself",)


def test_a_folder_of_something_else_is_left_alone(run: Path) -> None:
    (run.parent / "comparison").mkdir()
    leftover(run.parent / "comparison")
    assert listed(run.parent) == []
    assert "comparison is left alone: it holds no run\nNothing to clean\n" in clean("comparison", "--runs", run.parent).stdout


def test_the_cache_is_no_run(run: Path) -> None:
    (run.parent / "cache" / f".{COLD_START}.7.tmp").mkdir()
    assert clean("cache", "--runs", run.parent, "--yes").stdout.endswith("cache is left alone: it holds no run\nNothing to clean\n")


def test_what_changed_after_it_was_listed_stays(run: Path) -> None:
    path, going = leftover(run), leftover(run / "eval")
    found = tidy.plan(run.parent)
    said: list[str] = []
    path.write_text("more than there was")
    assert tidy.remove(found, said.append) == 10
    assert said == [f"{path} has changed meanwhile and is left alone"]
    assert path.exists()
    assert not going.exists()


def test_a_run_that_is_taken_up_after_the_listing_stays(run: Path) -> None:
    path = leftover(run)
    found = tidy.plan(run.parent)
    said: list[str] = []
    with in_use(run) as user:
        assert tidy.remove(found, said.append) == 0
    assert said[0].startswith(f"{run} is left alone: {run} is in use by process {user}")
    assert path.exists()


def test_what_a_kill_leaves_of_a_removal_is_a_leftover_and_goes_next_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", killed)
        assert clean("--runs", run.parent, "--also", "rollouts", "--yes").exit_code == 130
    assert not (run / "rollouts").exists()  # half of it would look whole
    (rest,) = listed(run.parent)
    assert rest.startswith("one/.rollouts.")
    assert clean("--runs", run.parent, "--yes").exit_code == 0
    assert listed(run.parent) == []


def test_what_can_not_be_removed_ends_with_7(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path = leftover(run)
    monkeypatch.setattr(tidy, "discard", refuse)
    result = clean("--runs", run.parent, "--yes")
    assert result.exit_code == 7
    assert result.stderr == f"Error: {path} can't be removed: Permission denied\n"


def test_what_resists_its_removal_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(StorageError, match=r"\.rollouts\..*\.tmp can't be removed, whole or in part"):
        tidy.remove(tidy.plan(run.parent, also=["rollouts"]), print)
