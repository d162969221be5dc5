"""A comparison of objectives: which arms, how their runs go, what is done again, and how it ends."""

import io
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import pandas as pd
import pytest
import torch
from rich.console import Console
from test_cli import refused
from test_pipeline import MICRO, rewarded
from typer.testing import CliRunner

from reasoning_rl import cli
from reasoning_rl.comparison import runs
from reasoning_rl.comparison.arms import Arm, Plan, chosen_arms, parsed_seeds, saved_plan
from reasoning_rl.comparison.compare import compare_arms
from reasoning_rl.comparison.figures import models_held
from reasoning_rl.comparison.runs import carry_out, runs_of
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.objectives import OBJECTIVES
from reasoning_rl.recipes import load_config

# Which arms


def test_the_package_has_an_arm_for_every_row_of_the_table() -> None:
    arms = chosen_arms("cpu")
    rows = [load_config("cpu", arm.overrides).objective.name for arm in arms]
    assert sorted(rows) == sorted(OBJECTIVES.names())
    Plan(Path("out"), "cpu", (), arms, (0,)).check()


def test_a_name_that_no_list_has_is_that_of_an_objective() -> None:
    assert chosen_arms("smoke", ["grpo", "ppo"]) == (Arm("grpo", ("objective.name=grpo",)), Arm("ppo", ("objective.name=ppo",)))


def test_named_arms_are_taken_from_the_list_with_their_settings(tmp_path: Path) -> None:
    (tmp_path / "arms.yaml").write_text("a: {objective.name: ppo, learner: {epochs: 2}, rewards.x.weight: .inf}\nb: [objective.kl=0]\n")
    ppo = Arm("a", ("objective.name=ppo", 'learner={"epochs": 2}', "rewards.x.weight=.inf"))
    assert chosen_arms("cpu", file=tmp_path / "arms.yaml") == (ppo, Arm("b", ("objective.kl=0",)))
    assert chosen_arms("cpu", ["b"], tmp_path / "arms.yaml") == (Arm("b", ("objective.kl=0",)),)


def test_an_objective_in_a_file_names_folders_without_its_punctuation() -> None:
    plan = Plan(Path("out"), "smoke", (), chosen_arms("smoke", ["lab/mine.py:row"]), (0,))
    assert plan.arms[0].name == "lab/mine.py:row"
    config = plan.config(plan.arms[0], 0)
    assert (config.objective.name, config.folder) == ("lab/mine.py:row", Path("out/runs/lab-mine.py-row-seed0"))


@pytest.mark.parametrize(("names", "said"), [("grpo,ppo,grpo", "'grpo' and 'grpo'"), ("a.py:b,a.py-b", r"'a\.py:b' and 'a\.py-b'")])
def test_arms_that_would_share_a_folder_are_refused(names: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"found the arms {said}, whose runs would both be in .*-seed"):
        Plan(Path("out"), "smoke", (), chosen_arms("smoke", names.split(",")), (0,)).check()


def test_an_arms_settings_win_over_those_that_all_share() -> None:
    plan = Plan(Path("out"), "smoke", ("learner.epochs=3", "train.steps=7"), (Arm("a", ("learner.epochs=2",)),), (5,))
    config = plan.config(plan.arms[0], 5)
    assert (config.learner.epochs, config.train.steps, config.train.seed) == (2, 7, 5)
    assert config.folder == Path("out/runs/a-seed5")


def test_a_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    plan = Plan(tmp_path, "smoke", ("train.steps=2",), (Arm("a", ("objective.kl=0",)),), (0, 2))
    plan.save()
    assert saved_plan(tmp_path) == plan


@pytest.mark.parametrize("listed", ["", "a", "0,,1", "0,0", "-1", "1.5"])
def test_seeds_are_different_whole_numbers(listed: str) -> None:
    with pytest.raises(ConfigError, match="different whole numbers"):
        parsed_seeds(listed)


def test_what_is_wrong_ends_before_any_run_begins(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    command = ("compare-objectives", "--out", tmp_path / "out")
    refused(2, "arm gpro: objective.name: no such objective", *command, "--objectives", "grpo,gpro")
    refused(2, "has no list of arms for the recipe 'smoke'; name some", *command, "-r", "smoke")
    refused(2, "--seeds: found 'x'", *command, "--seeds", "x")
    refused(2, "found the arms 'grpo' and 'grpo'", *command, "--objectives", "grpo,grpo")
    refused(8, "there is no comparison here to report on", *command, "--report-only")
    refused(7, "wrong.yaml can't be read", *command, "--arms", wrong)
    for content, said in (
        ("[]", "found list; it should map names"),
        ("a: 3", "wrong.yaml: a: found 3"),
        ("a: {learner.epoch: 2}", "arm a: "),
    ):
        wrong.write_text(content)
        refused(2, said, *command, "--arms", wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more", [["train.steps=2"], ["--objectives", "grpo"], ["--arms", "mine.yaml"], ["--seeds", "0,1,2"], ["--recipe", "cpu"]]
)
def test_what_a_report_alone_would_leave_aside_is_refused(tmp_path: Path, more: list[str]) -> None:
    found = "OVERRIDES" if more == ["train.steps=2"] else more[0]
    refused(2, f"--report-only: found {found} too", "compare-objectives", "--out", tmp_path, "--report-only", *more)


def test_models_held_follow_from_what_the_objective_needs() -> None:
    def held(*overrides: str) -> tuple[str, ...]:
        return models_held(load_config("smoke", overrides))

    assert held("objective.kl=0") == ("policy",)
    assert held("objective.kl=0.04") == ("policy", "reference")
    assert held("objective.name=ppo") == ("policy", "reference", "value")


# How runs go


def failing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a comparison says whose every run takes ten seconds to fail."""
    now = iter(range(0, 10_000, 10))
    said: list[str] = []

    def fail(_stage: str, _recipe: str, _settings: Sequence[str], log: Path) -> bool:
        log.write_text("Training\nError: no luck\n")
        return False

    monkeypatch.setattr(runs, "in_a_process", fail)
    carry_out(plan, said.append, clock=lambda: next(now))
    return said


def test_runs_go_seed_by_seed_and_one_that_fails_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tmp_path, "smoke", (), chosen_arms("smoke", ["grpo", "ppo"]), (0, 1))
    said = failing(plan, monkeypatch)
    assert said[0] == "2 objectives x 2 seeds: 4 runs to do"
    assert [re.sub(r"\(.*\)", "()", line) for line in said[2:]] == [
        # the clock is read at the start, then at the beginning and the end of each run and once between
        "[1/4] grpo-seed0: failed: Error: no luck (), in 20 s; about 1 min 0 s left",
        "[2/4] ppo-seed0: failed: Error: no luck (), in 20 s; about 50 s left",
        "[3/4] grpo-seed1: failed: Error: no luck (), in 20 s; about 27 s left",
        "[4/4] ppo-seed1: failed: Error: no luck (), in 20 s; all done",
    ]


def test_a_comparison_without_a_finished_run_reports_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tmp_path, "smoke", (), chosen_arms("smoke", ["grpo"]), (0,))
    failing(plan, monkeypatch)
    with pytest.raises(RunError, match=r"not one run is done.*grpo with seed 0: Error: no luck"):
        compare_arms(plan, Console(file=io.StringIO()), report_only=True)


def test_a_stage_is_a_process_whose_words_are_kept(tmp_path: Path) -> None:
    assert not runs.in_a_process("train", "smoek", ["train.steps=1"], tmp_path / "log")
    assert "Error: recipe 'smoek': no such recipe" in (tmp_path / "log").read_text()


def test_who_stops_the_comparison_stops_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is a shell that notes its id and waits."""
    shell = tmp_path / "python"
    shell.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/id.tmp; mv {tmp_path}/id.tmp {tmp_path}/id\nexec sleep 60\n")
    shell.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(shell))

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if (tmp_path / "id").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            runs.in_a_process("train", "smoke", [], tmp_path / "log")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "id").read_text()), 0)


# From nothing to a report, on a recipe of a few steps


def here(stage: str, recipe: str, settings: Sequence[str], log: Path) -> bool:
    """The stage in this process, which has imported what it needs already."""
    result = CliRunner().invoke(cli.app, [stage, "--recipe", recipe, *settings])
    with log.open("a") as file:
        file.write(result.output)
    return result.exit_code == 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The third arm asks for more problems than there are."""
    arms = (*chosen_arms("smoke", ["grpo", "ppo"]), Arm("greedy", ("sampling.prompts_per_step=64",)))
    folder = tmp_path_factory.mktemp("compared")
    return Plan(folder, "smoke", (*MICRO, rewarded(folder), "train.eval_every=0"), arms, (0,))


@pytest.fixture(scope="module")
def said(plan: Plan) -> str:
    """What the comparison prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "in_a_process", here)
        return compared(plan)


def compared(plan: Plan, *, report_only: bool = False) -> str:
    output = io.StringIO()
    with pytest.raises(RunError, match=r"not done: greedy with seed 0; .*report\.md says why"):
        compare_arms(plan, Console(file=output, width=200), report_only=report_only)
    return output.getvalue()


def test_a_comparison_leaves_runs_report_table_and_pictures(plan: Plan, said: str) -> None:
    assert "[1/3] grpo-seed0: pass@1 0." in said
    assert {path.name for path in plan.out.iterdir()} >= {"report.md", "report.json", "table.csv", "gains.png", "rewards.png"}
    table = pd.read_csv(plan.out / "table.csv")
    assert set(table.arm) == {"grpo", "ppo"}
    assert table[(table.metric == "samples")].after.tolist() == [48, 48]  # 4 steps of 4 problems with 3 answers
    report = (plan.out / "report.md").read_text()
    assert "| ppo | 3: policy, reference, value |" in report
    assert "sampling.prompts_per_step: 64, but there are only 40 training problems" in report


def test_the_base_policy_is_made_and_asked_once(plan: Plan, said: str) -> None:
    logs = {run.arm.name: run.log.read_text() for run in runs_of(plan)}
    for arm in ("grpo", "ppo"):
        assert "is there already" in logs[arm]
        assert "eval/base is up to date" in logs[arm]


def test_what_is_done_is_not_done_again(plan: Plan, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def note(stage: str, _recipe: str, settings: Sequence[str], log: Path) -> bool:
        called.append(f"{stage} {[setting for setting in settings if setting.startswith('name=')][-1]}")
        return here(stage, _recipe, settings, log)

    monkeypatch.setattr(runs, "in_a_process", note)
    assert "1 runs to do, 2 are there already" in compared(plan)
    assert called == ["train name=greedy-seed0"]


def test_the_report_is_made_again_from_the_folder_alone(plan: Plan, said: str) -> None:
    before = (plan.out / "report.md").read_text()
    (plan.out / "report.md").unlink()
    assert "Report: " in compared(saved_plan(plan.out), report_only=True)
    assert (plan.out / "report.md").read_text() == before


def test_a_run_under_other_settings_does_not_count(plan: Plan, said: str) -> None:
    longer = Plan(plan.out, plan.recipe, (*plan.overrides, "train.steps=6"), plan.arms[:1], plan.seeds)
    assert [run.is_done() for run in runs_of(plan)[:2]] == [True, True]
    assert not runs_of(longer)[0].is_done()
