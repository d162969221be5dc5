"""`doctor` of a run: what a kill leaves is healthy, what bit rot and missing files leave is told, and nothing is changed."""

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from run_fakes import COLD_START, STEPS, best_at, corrupted, in_use, made_evaluation, made_pieces, made_run, torn, trained
from test_pipeline import micro
from test_pipeline import trained as micro_trained
from typer.testing import CliRunner, Result

from reasoning_rl import cli, runfolder, tidy
from reasoning_rl.checkup.checkup import look
from reasoning_rl.checkup.finding import Finding
from reasoning_rl.claim import claimed
from reasoning_rl.errors import RunError
from reasoning_rl.evalstage import run_eval
from reasoning_rl.journal import Journal
from reasoning_rl.recipes import dump_config, load_config

Harm = Callable[[Path], object]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run(tmp_path)


def found(folder: Path) -> dict[str, Finding]:
    return {finding.part: finding for finding in look(folder)}


def states(folder: Path) -> dict[str, str]:
    """Of the parts that are not as they should be in the end."""
    return {part: finding.state for part, finding in found(folder).items() if finding.state != "ok"}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["doctor", *map(str, arguments)])


def test_a_run_that_is_done_is_whole_in_every_part(run: Path) -> None:
    assert states(run) == {}
    told = {part: finding.detail for part, finding in found(run).items()}
    assert told["metrics.jsonl"] == f"steps 0 to {STEPS} of {STEPS}"
    assert told["checkpoints"] == "step-00002, step-00004 are whole; training is done"
    assert told["in use"] == "nobody writes here now"


def test_looking_changes_nothing(run: Path) -> None:
    before = snapshot(run.parent)
    doctor("one", "--runs", run.parent)
    assert snapshot(run.parent) == before


@pytest.mark.slow
def test_a_real_run_is_whole_and_nothing_of_it_can_go(tmp_path: Path) -> None:
    config = micro(tmp_path)
    micro_trained(config)
    run_eval(config, model=None, console=Console(file=io.StringIO()))
    assert states(config.folder) == {}
    assert tidy.plan(tmp_path).items == []


# What a kill leaves


def test_a_run_that_has_not_begun_has_nothing_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert set(states(tmp_path / "empty").values()) == {"not yet"}


def test_a_run_that_was_killed_in_its_cold_start_has_nothing_damaged(tmp_path: Path) -> None:
    runfolder.begin(load_config("smoke", [f"runs={tmp_path}", "name=one"]), "auto")
    assert set(states(tmp_path / "one").values()) == {"not yet"}


def test_a_run_that_was_killed_between_answers_and_metrics_has_nothing_damaged(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:10])  # steps 0 to 2, and a torn third
    shutil.rmtree(run / "checkpoints" / "step-00004")
    assert states(run) == {}
    told = found(run)
    assert "its last line is torn, which is harmless" in told["metrics.jsonl"].detail
    assert told["rollouts"].detail.startswith("steps 1 to 4; those beyond step 2 have no row")
    assert told["checkpoints"].detail == f"step-00002 is whole; training goes on from step 2 of {STEPS}"


def test_a_run_that_was_killed_while_it_began_anew_has_nothing_damaged(run: Path) -> None:
    for name in ("checkpoints", "rollouts", "eval"):
        shutil.rmtree(run / name)
    assert states(run) == {"rollouts": "missing", "checkpoints": "not yet", "eval": "not yet"}


def test_an_evaluation_under_way_has_nothing_damaged(run: Path) -> None:
    (run / "eval" / "base" / "report.json").unlink()
    made_pieces(run / "eval" / "trained", "those answers")
    assert states(run) == {"eval/base": "not yet", "eval/trained": "not yet"}
    assert "with 1 piece of its answers stored" in found(run)["eval/trained"].detail


def test_leftovers_are_counted_and_do_no_harm(run: Path) -> None:
    (run / "rollouts" / ".step-00005.parquet.7.tmp").write_text("half")
    (run / "checkpoints" / "step-00006.damaged").mkdir()
    assert states(run) == {}
    assert "1 of interrupted writes, 1 damaged checkpoint set aside; reasoning-rl clean" in found(run)["leftovers"].detail


# What has been taken away on purpose


def test_rollouts_that_were_removed_are_missing_and_no_damage(run: Path) -> None:
    shutil.rmtree(run / "rollouts")
    assert states(run) == {"rollouts": "missing"}
    assert doctor(run).exit_code == 0


def test_the_first_rollouts_may_have_been_removed(run: Path) -> None:
    (run / "rollouts" / "step-00001.parquet").unlink()
    assert found(run)["rollouts"].detail == "steps 2 to 4; those before were removed"
    assert states(run) == {}


def test_a_cold_start_that_was_removed_can_be_made_again(run: Path) -> None:
    shutil.rmtree(run.parent / "cache")
    assert states(run) == {"base.json": "missing"}


# What is damaged


def rewritten(name: str, edit: Callable[[list[str]], list[str]]) -> Harm:
    """Lines of a file of the run, changed."""

    def harm(run: Path) -> None:
        (run / name).write_text("".join(edit((run / name).read_text().splitlines(keepends=True))))

    return harm


HARMS: dict[str, tuple[str, Harm, str]] = {
    "a setting nobody knows": ("config.yaml", rewritten("config.yaml", lambda lines: [*lines, "sed: 1\n"]), "sed"),
    "no settings": ("config.yaml", lambda run: (run / "config.yaml").unlink(), "it isn't there, but metrics.jsonl is"),
    "a torn record of the machine": ("environment.json", lambda run: torn(run / "environment.json"), "no JSON object"),
    "another bit in the data": ("data", lambda run: corrupted(run / "data" / "train.parquet"), "train.parquet is not as it was written"),
    "no data": ("data", lambda run: (run / "data" / "train.parquet").unlink(), "train.parquet is missing"),
    "a torn manifest": ("data", lambda run: torn(run / "data" / "manifest.json"), "manifest.json is damaged"),
    "no base": ("base.json", lambda run: (run / "base.json").unlink(), "it isn't there, but checkpoints are"),
    "a base of nothing": ("base.json", lambda run: (run / "base.json").write_text("[]"), "no JSON object"),
    "another bit in the cold start": (
        "base.json", lambda run: corrupted(run.parent / "cache" / COLD_START / "model.safetensors"), "model.safetensors is not as it was",
    ),
    "no metrics": ("metrics.jsonl", lambda run: (run / "metrics.jsonl").unlink(), "has no row, but there are checkpoints"),
    "a broken row": ("metrics.jsonl", rewritten("metrics.jsonl", lambda rows: [*rows[:2], "{\n", *rows[2:]]), "metrics.jsonl:3: damaged"),
    "a step of no number": ("metrics.jsonl", rewritten("metrics.jsonl", lambda rows: [*rows, '{"step": null}\n']), "damaged: step is None"),
    "a step twice": ("metrics.jsonl", rewritten("metrics.jsonl", lambda rows: [*rows[:3], *rows[2:]]), "line 4 is of step 2, and should"),
    "a step lost": ("metrics.jsonl", rewritten("metrics.jsonl", lambda rows: [*rows[:2], *rows[3:]]), "line 3 is of step 3, and should"),
    "a torn rollout": ("rollouts", lambda run: torn(run / "rollouts" / "step-00002.parquet"), "step-00002.parquet can't be read"),
    "a lost rollout": ("rollouts", lambda run: (run / "rollouts" / "step-00003.parquet").unlink(), "step 3 has a row in metrics.jsonl"),
    "another bit in the weights": (
        "checkpoints", lambda run: corrupted(run / "checkpoints" / "step-00004" / "model.safetensors"),
        "step-00004: model.safetensors is not as it was written; step-00002 is whole",
    ),
    "no optimiser": (
        "checkpoints", lambda run: (run / "checkpoints" / "step-00002" / "training.pt").unlink(), "step-00002: training.pt is missing",
    ),
    "rows lost": ("checkpoints", rewritten("metrics.jsonl", lambda rows: rows[:3]), "step-00004 is newer than the last row"),
    "a torn report": ("eval/base", lambda run: torn(run / "eval" / "base" / "report.json"), "is damaged or of another version"),
    "another bit in the answers": (
        "eval/base", lambda run: corrupted(run / "eval" / "base" / "samples.parquet"), "samples.parquet is not as it was written",
    ),
    "no problems": ("eval/base", lambda run: (run / "eval" / "base" / "problems.parquet").unlink(), "problems.parquet is missing"),
    "a torn probe": ("eval/base", lambda run: (run / "eval" / "base" / "contamination.json").write_text("{"), "contamination.json can't"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_named_with_its_part_and_a_way_out(harm: str, run: Path) -> None:
    part, do, said = HARMS[harm]
    do(run)
    assert states(run) == {part: "damaged"}
    assert said in found(run)[part].detail
    result = doctor(run)
    assert result.exit_code == 8
    assert f"{run}, {part}: " in result.stderr
    assert f"→ {found(run)[part].remedy}" in result.stderr
    assert found(run)[part].remedy


@pytest.mark.parametrize("harm", [name for name, (part, _, _) in HARMS.items() if part.startswith(("data", "eval"))])
def test_nothing_is_to_be_removed_that_its_stage_replaces(harm: str, run: Path) -> None:
    part, do, _ = HARMS[harm]
    do(run)
    command = f"reasoning-rl {part.partition('/')[0]} --recipe {run / 'config.yaml'} makes "
    assert found(run)[part].remedy.startswith(command)


def test_a_damaged_cold_start_is_made_again_by_the_stage_that_needs_it(run: Path) -> None:
    corrupted(run.parent / "cache" / COLD_START / "model.safetensors")
    assert found(run)["base.json"].remedy.startswith("reasoning-rl eval --recipe ")  # train has nothing left to do
    shutil.rmtree(run / "checkpoints")
    assert found(run)["base.json"].remedy.startswith("reasoning-rl train --recipe ")


def test_a_damaged_last_checkpoint_costs_nothing_and_the_only_one_all(run: Path) -> None:
    corrupted(run / "checkpoints" / "step-00004" / "training.pt")
    assert "train --recipe" in found(run)["checkpoints"].remedy
    assert "goes on from step-00002 and makes what came after again" in found(run)["checkpoints"].remedy
    corrupted(run / "checkpoints" / "step-00002" / "training.pt")
    remedy = found(run)["checkpoints"].remedy
    assert remedy.startswith("the weights of step-00004 are whole: keep them elsewhere, reasoning-rl eval --recipe")
    assert f"--model {run / 'checkpoints' / 'step-00004'} name=… measures them" in remedy
    corrupted(run / "checkpoints" / "step-00004" / "model.safetensors")
    assert found(run)["checkpoints"].remedy.startswith("the weights of step-00002 are whole")
    corrupted(run / "checkpoints" / "step-00002" / "config.json")
    assert found(run)["checkpoints"].remedy.startswith("no weights are left; reasoning-rl train --recipe")


@pytest.mark.parametrize(
    ("edit", "moved", "start"),
    [
        (lambda rows: rows[:-1], "move checkpoints/step-00004 and later away; ", 2),
        (lambda rows: [*rows[:3], *rows[4:]], "move checkpoints/step-00004 and later away; ", 2),
        (lambda rows: [*rows[:4], *rows[3:]], "move checkpoints/step-00004 and later away; ", 2),
        (lambda rows: [*rows, '{"step": 6}\n'], "", 4),
    ],
)
def test_rows_that_are_lost_are_made_again_from_a_checkpoint_before_them(
    edit: Callable[[list[str]], list[str]], moved: str, start: int, run: Path
) -> None:
    rewritten("metrics.jsonl", edit)(run)
    damaged = next(finding for finding in look(run) if finding.state == "damaged" and finding.part != "rollouts")
    train = f"reasoning-rl train --recipe {run / 'config.yaml'}"
    assert damaged.remedy == f"{moved}{train} goes on from step {start}, and makes the others again"


def test_rows_that_are_lost_before_every_checkpoint_cost_all(run: Path) -> None:
    for kept in ([0, 1, 2, 2, 3, 4], [1, 2, 3, 4], []):  # of step 2 twice, who goes on from it keeps both rows
        (run / "metrics.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in kept))
        assert "train --recipe" in found(run)["metrics.jsonl"].remedy
        assert "--fresh makes them again, and all else of the run" in found(run)["metrics.jsonl"].remedy


def test_the_way_out_of_lost_rows_leads_out(run: Path) -> None:
    rewritten("metrics.jsonl", lambda rows: [*rows[:4], *rows[3:]])(run)
    (run / "checkpoints" / "step-00004").rename(run / "away")
    with Journal(run) as book:
        book.truncate(2)  # as training does that goes on from there
    trained(run, (3, 4))
    assert states(run) == {}


def test_the_checkpoint_that_keep_best_keeps_is_told(run: Path) -> None:
    best_at(run, 2)
    told = found(run)["checkpoints"].detail
    assert told == "step-00002, step-00004 are whole; step-00002 is the best by eval/pass@1; training is done"


def test_checkpoints_that_were_there_are_missed(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert states(run) == {"checkpoints": "damaged"}
    assert found(run)["checkpoints"].detail == "none, though training has done 4 steps"
    assert found(run)["checkpoints"].remedy.endswith("begins anew and makes all steps again")


def test_a_run_that_was_killed_before_its_first_checkpoint_has_nothing_damaged(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    rewritten("metrics.jsonl", lambda rows: rows[:3])(run)  # steps 0 to 2, behind which the first is due
    assert states(run) == {"checkpoints": "not yet"}
    assert "none, though training has done 2 steps; reasoning-rl train" in found(run)["checkpoints"].detail
    (run / "reward.png").touch()  # comes when training has come to its end
    assert states(run) == {"checkpoints": "damaged"}


@pytest.mark.parametrize(
    ("setting", "said"), [("objective.name=grqo", "no such objective"), ("rewards.gone/mine.py:verify=1", "gone/mine.py")]
)
def test_an_objective_and_a_verifier_that_are_not_there_are_damage(setting: str, said: str, run: Path) -> None:
    config = load_config(str(run / "config.yaml"), [setting])
    (run / "config.yaml").write_text(dump_config(config))
    assert states(run) == {"config.yaml": "damaged"}
    assert said in found(run)["config.yaml"].detail


def test_data_without_their_manifest_can_be_made_again(run: Path) -> None:
    (run / "data" / "manifest.json").unlink()
    assert states(run) == {"data": "missing"}
    shutil.rmtree(run / "checkpoints")
    assert states(run)["data"] == "missing"  # a report is left
    shutil.rmtree(run / "eval")
    assert states(run)["data"] == "not yet"


def test_a_report_of_an_earlier_checkpoint_is_not_yet_that_of_the_run(run: Path) -> None:
    for place in ("eval/trained", "eval/suite/trained"):
        made_evaluation(run / place)
        path = run / place / "report.json"
        report = json.loads(path.read_text())
        path.write_text(json.dumps(report | {"facts": report["facts"] | {"policy": str(run / "checkpoints" / "step-00002")}}))
    assert states(run) == {"eval/trained": "not yet", "eval/suite/trained": "not yet"}
    command = f"reasoning-rl eval --recipe {run / 'config.yaml'}"
    assert found(run)["eval/suite/trained"].detail == f"of step-00002; {command} --suite suite makes it anew for step-00004"
    shutil.rmtree(run / "checkpoints" / "step-00004")
    rewritten("metrics.jsonl", lambda rows: rows[:3])(run)
    assert states(run) == {}


def test_checkpoints_of_an_earlier_version_can_be_vouched_for(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "step-00002")
    (run / "checkpoints" / "step-00004" / "SHA256SUMS").unlink()
    remedy = found(run)["checkpoints"].remedy
    subprocess.run(["sh", "-c", remedy.partition("as they are: ")[2]], check=True)
    assert found(run)["checkpoints"].detail == "step-00004 is whole; training is done"


def test_a_file_that_nobody_may_read_is_damage_and_no_crash(run: Path) -> None:
    (run / "environment.json").unlink()
    (run / "environment.json").mkdir()
    assert states(run) == {"environment.json": "damaged"}


def test_other_versions_here_are_told_and_are_no_damage(run: Path) -> None:
    there = json.loads((run / "environment.json").read_text())
    there["versions"]["torch"] = "1.0"
    (run / "environment.json").write_text(json.dumps(there))
    assert found(run)["environment.json"].detail.startswith("other here: torch 1.0 there, ")
    assert states(run) == {}


def test_where_training_went_on_and_what_was_not_finite_is_told(run: Path) -> None:
    (run / "resumed.jsonl").write_text('{"step": 2}\n{"step": 3}\n{"st')
    (run / "faults").mkdir()
    shutil.copy(run / "rollouts" / "step-00003.parquet", run / "faults")
    told = found(run)
    assert told["resumed.jsonl"].detail == "training went on 2 times, the last from step 3; 1 of its lines can't be read"
    assert told["faults"].detail == "numbers were not finite at step-00003"
    torn(run / "faults" / "step-00003.parquet")
    assert states(run) == {"faults": "damaged"}
    (run / "resumed.jsonl").write_text('{"step": 2}\n')
    assert found(run)["resumed.jsonl"].detail == "training went on 1 time, the last from step 2"


# Runs in use, and folders of something else


def test_a_run_that_is_written_to_is_judged_leniently(run: Path) -> None:
    torn(run / "eval" / "base" / "report.json")
    with in_use(run) as user:
        assert states(run) == {"in use": "under way", "eval/base": "under way"}
        assert f"process {user}" in found(run)["in use"].detail
        assert doctor(run).exit_code == 0
    assert doctor(run).exit_code == 8


def test_a_lock_that_nobody_holds_says_nothing(run: Path) -> None:
    with claimed(run):
        pass
    assert states(run) == {}


def test_a_moved_run_is_gone_on_with_where_it_lies(run: Path) -> None:
    moved = run.rename(run.parent / "else where")
    assert states(moved) == {}
    (moved / "data" / "train.parquet").unlink()
    command = f"reasoning-rl data --recipe '{moved}/config.yaml' runs={moved.parent} 'name=else where' makes the same again"
    assert found(moved)["data"].remedy.startswith(command)


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "comparison.md").write_text("")
    with pytest.raises(RunError, match=r"comparison is no run's folder: it has comparison\.md, and none of config\.yaml"):
        look(tmp_path / "comparison")


def test_several_runs_are_printed_before_the_damage_is_told(tmp_path: Path) -> None:
    one, two = made_run(tmp_path, "one"), made_run(tmp_path, "two")
    corrupted(one / "data" / "train.parquet")
    result = doctor("one", two, "--runs", tmp_path)
    assert result.exit_code == 8
    assert result.stdout.count("config.yaml") == 2
    assert "damaged" in result.stdout
    assert result.stderr.startswith("Error: 1 damaged; nothing was changed\n")


def test_a_run_that_is_not_there_ends_with_8_and_the_runs_there_are(run: Path) -> None:
    result = doctor("two", "--runs", run.parent)
    assert result.exit_code == 8
    assert "one" in result.stderr


def test_a_run_that_trains_nothing_misses_no_checkpoint(tmp_path: Path) -> None:
    config = load_config("smoke", [f"runs={tmp_path}", "name=one", "train.steps=0"])
    runfolder.begin(config, "auto")
    assert found(config.folder)["checkpoints"] == Finding("checkpoints", "ok", "train.steps is 0")


def test_a_model_of_the_hub_or_of_a_folder_is_a_base_too(run: Path, tmp_path: Path) -> None:
    def based(model: str) -> Finding:
        (run / "base.json").write_text(json.dumps({"model": model, "cold_started": False}))
        return found(run)["base.json"]

    assert based("Qwen/Qwen2.5-0.5B").detail == "Qwen/Qwen2.5-0.5B on the hub"
    assert based(str(tmp_path / "cache" / COLD_START)).state == "ok"
    assert based(str(tmp_path / "gone")).state == "damaged"


def test_a_run_that_goes_on_behind_its_checkpoint_is_whole(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    trained(run, range(6))
    assert found(run)["metrics.jsonl"].detail == f"steps 0 to 5 of {STEPS}"
    assert states(run) == {}
