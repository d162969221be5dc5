"""All stages in a row, on a recipe of a few steps: what they leave, how they go on, how they stop."""

import io
import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, ModelError, RunError
from reasoning_rl.eval import compare
from reasoning_rl.evalstage import run_eval
from reasoning_rl.journal import Journal, read_metrics
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.policy.policy import Policy
from reasoning_rl.recipes import load_config
from reasoning_rl.rollout.local import LocalEngine
from reasoning_rl.stages import run_data, run_training

MICRO = (
    "data.arithmetic.train_problems=40", "data.arithmetic.eval_problems=12", "data.arithmetic.demonstrations=40",
    "data.arithmetic.steps=[1,2]", "policy.autocast=off", "policy.device=cpu", "policy.architecture.layers=1",
    "policy.architecture.width=32", "policy.architecture.heads=2", "policy.architecture.kv_heads=1", "policy.architecture.head_width=16",
    "policy.architecture.mlp_width=32", "cold_start.steps=4", "cold_start.batch_size=8", "sampling.prompts_per_step=4",
    "sampling.group_size=3", "sampling.max_tokens=12", "train.steps=4", "train.save_every=2", "train.eval_every=2",
    "train.eval_problems=4", "eval.samples=2", "eval.k=[1,2]", "eval.bootstrap=100",
)  # fmt: skip


EVENNESS = """
from reasoning_rl.rewards.verifier import verifier
from reasoning_rl.records import Completion, Problem, Score


@verifier("evenness")
def evenness(completion: Completion, problem: Problem) -> Score:
    return Score(sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids))
"""
"""A reward that even a policy which solves nothing gets now and then, so that every step has a gradient."""


def rewarded(folder: Path) -> str:
    """The setting that has a recipe judged by it too; its file is put into the folder."""
    (folder / "evenness.py").write_text(EVENNESS)
    return f"rewards.{folder}/evenness.py:evenness=1"


def micro(runs: Path, *overrides: str) -> Config:
    return load_config("smoke", [f"runs={runs}", rewarded(runs), *MICRO, *overrides])


def trained(config: Config) -> str:
    """What data and training print."""
    output = io.StringIO()
    run_data(config, Console(file=output))
    run_training(config, resume="auto", console=Console(file=output, width=200))
    return output.getvalue()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Results are compared bit by bit, and sums over threads have no fixed order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    """A whole run, evaluated."""
    torch.set_num_threads(1)
    config = micro(runs)
    trained(config)
    run_eval(config, model=None, console=Console(file=io.StringIO()))
    return config.folder


def test_a_run_leaves_what_the_documents_promise(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    expected = {"config.yaml", "environment.json", "base.json", "metrics.jsonl", "reward.png", "data/manifest.json"}
    expected |= {"rollouts/step-00004.parquet", "eval/comparison.md", "eval/passk.png", "eval/report.html"}
    for which in ("base", "trained"):
        expected |= {f"eval/{which}/{name}" for name in ("samples.parquet", "problems.parquet", "report.json", "report.md")}
    assert expected <= names
    assert not [name for name in names if ".tmp" in name]


def test_every_step_has_a_row_and_every_answer_too(run: Path) -> None:
    metrics = read_metrics(run)
    assert metrics.step.tolist() == [0, 1, 2, 3, 4]
    assert metrics["eval/pass@1"].notna().tolist() == [True, False, True, False, True]
    rollouts = pd.read_parquet(run / "rollouts")
    assert rollouts.groupby("step").size().tolist() == [12] * 4
    assert rollouts.groupby("step").policy_version.unique().map(list).tolist() == [[0], [1], [2], [3]]
    assert (rollouts.groupby(["step", "group"]).advantage.sum().abs() < 1e-6).all()


def test_checkpoints_open_with_plain_transformers(run: Path) -> None:
    kept = checkpoints(run / "checkpoints")
    assert [path.name for path in kept] == ["step-00002", "step-00004"]
    for path in kept:
        assert AutoModelForCausalLM.from_pretrained(path).config.num_hidden_layers == 1


def test_both_policies_were_asked_the_same_problems(run: Path) -> None:
    frame = compare(run / "eval" / "base", run / "eval" / "trained")
    assert set(frame.run) == {"base", "trained"}
    assert set(frame.n) == {12}


def test_what_is_done_is_not_done_again(run: Path, runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    said = trained(micro(runs))
    assert "is trained, all 4 steps" in said
    run_eval(micro(runs), model=None, console=Console(file=io.StringIO()))
    changed = [path.name for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    compared = ["comparison.csv", "comparison.md", "differences.png", "passk.png", "report.html"]
    assert sorted(changed) == [".lock", "base.json", *compared, "reward.png"]  # drawn again from what was kept


def test_a_probe_is_made_beside_the_reports_and_once(run: Path, runs: Path) -> None:
    reports = {path: path.read_bytes() for path in run.glob("eval/*/report.json")}
    said = io.StringIO()
    run_eval(micro(runs, "eval.probe=0.6"), model=None, console=Console(file=said, width=200))
    assert said.getvalue().count("contamination.md") == 2
    assert {path: path.read_bytes() for path in reports} == reports
    found = pd.read_parquet(run / "eval" / "trained" / "contamination.parquet")
    assert len(found) == 12
    assert not found["repeated"].any()  # the generator keeps held-out questions out of training
    assert json.loads((run / "eval" / "trained" / "contamination.json").read_text())["share"] == 0.6
    again = io.StringIO()
    run_eval(micro(runs, "eval.probe=0.6"), model=None, console=Console(file=again, width=200))
    assert again.getvalue().count("is up to date") == 3  # data, base, trained


@pytest.fixture(scope="module")
def stale(runs: Path) -> Path:
    """A whole run whose sampling is a step ahead of the learner."""
    torch.set_num_threads(1)
    config = micro(runs, "name=stale", *AHEAD)
    trained(config)
    return config.folder


AHEAD = ("train.off_policy_steps=1", "learner.old_logprobs=engine")


def test_one_step_off_policy_answers_are_of_the_weights_before_the_last_update(stale: Path) -> None:
    rollouts = pd.read_parquet(stale / "rollouts")
    assert rollouts.groupby("step").policy_version.unique().map(list).tolist() == [[0], [0], [1], [2]]
    assert read_metrics(stale)["sampling/staleness"].tolist()[1:] == [0, 1, 1, 1]


def test_metrics_say_that_sampler_and_learner_are_one_policy(run: Path) -> None:
    metrics = read_metrics(run)[1:]
    assert metrics["sampling/staleness"].tolist() == [0] * 4
    assert (metrics["sampling/mismatch_kl"] < 1e-9).all()


def test_off_policy_with_an_engine_that_has_to_wait_for_the_learner_is_said_to_save_nothing(runs: Path) -> None:
    said = trained(micro(runs, "name=waits", "train.steps=1", "train.eval_every=0", *AHEAD))
    assert "train.off_policy_steps: this engine can't sample while the learner works" in said


def test_a_mismatch_of_weights_an_update_apart_is_said_once_with_what_the_recipe_does_about_it(runs: Path) -> None:
    said = trained(micro(runs, "name=warned", "train.steps=3", "train.eval_every=0", "train.warn_mismatch_kl=1e-10", *AHEAD))
    (line,) = (line for line in said.splitlines() if "disagree" in line)
    assert line.startswith("Step 2: ")  # the first step's are of the same weights
    assert "The answers are an update old, which the objective allows for" in line


def test_off_policy_answers_that_nothing_corrects_are_refused_before_anything_is_computed(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.off_policy_steps: 1 gives answers of an earlier policy"):
        run_training(micro(runs, "name=uncorrected", AHEAD[0]), resume="auto", console=Console(file=io.StringIO()))
    assert not (runs / "uncorrected").exists()


class Beside(LocalEngine):
    """Has weights of its own, so that it samples in a thread while the learner works."""

    apart = True

    def __init__(self, policy: Policy, batch_rows: int) -> None:
        super().__init__(replace(policy, model=deepcopy(policy.model)), batch_rows)


@pytest.mark.parametrize(
    ("whole", "settings", "engine"),
    [("run", (), LocalEngine), ("stale", AHEAD, LocalEngine), ("stale", AHEAD, Beside)],
    ids=["on policy", "off policy", "off policy beside the learner"],
)
def test_an_interrupted_run_goes_on_to_the_same_end(
    whole: str,
    settings: tuple[str, ...],
    engine: type[LocalEngine],
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    run: Path = request.getfixturevalue(whole)
    config = micro(runs, f"name=interrupted-{whole}-{engine.apart}", *settings)
    monkeypatch.setattr("reasoning_rl.learner.worker.LocalEngine", engine)
    journal = Journal.metrics

    def interrupt(self: Journal, row: dict[str, float]) -> None:
        journal(self, row)
        if row["step"] == 3:  # after the checkpoint of step 2, so that step 3 is done twice
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "metrics", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(config)
    assert "steps 3 to 4" in trained(config)
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "step-00004").state_dict() for folder in (config.folder, run)
    )
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    timeless = [name for name in map(str, read_metrics(run)) if not any(word in name for word in ("second", "memory", "step_time"))]
    pd.testing.assert_frame_equal(read_metrics(config.folder)[timeless], read_metrics(run)[timeless])


def test_a_model_folder_can_be_evaluated_without_training(run: Path, runs: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    config = micro(runs, f"runs={tmp_path}", "name=alone")
    run_eval(config, model=str(run / "checkpoints" / "step-00004"), console=Console(file=output, width=200))
    assert (tmp_path / "alone" / "eval" / "step-00004" / "report.json").exists()
    assert "pass@1" in output.getvalue()


def test_a_model_with_another_tokenizer_is_refused(run: Path, runs: Path, policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "stranger")
    with pytest.raises(ModelError, match="the prompts of arithmetic were made with another tokenizer than its own"):
        run_eval(micro(runs), model=str(tmp_path / "stranger"), console=Console(file=io.StringIO()))


def test_results_are_not_mixed_with_other_settings(run: Path, runs: Path) -> None:
    for stage in (run_data, lambda config, console: run_eval(config, model=None, console=console)):
        with pytest.raises(RunError, match=r"was begun with other settings:\n  seed: 0 there, 9 here"):
            stage(micro(runs, "seed=9"), Console(file=io.StringIO()))


def test_what_only_bounds_memory_leaves_cold_start_and_reports_as_they_are(run: Path, runs: Path) -> None:
    """Their rounding would make another policy of the same recipe."""
    lean = micro(runs, "policy.logits_mib=8", "policy.gradient_checkpointing=true", "sampling.batch_rows=8", "sampling.vllm.memory=0.2")
    base, output = (run / "base.json").read_text(encoding="utf-8"), io.StringIO()
    assert "Cold start: 30" not in trained(lean)
    run_eval(lean, model=None, console=Console(file=output, width=200))
    assert (run / "base.json").read_text(encoding="utf-8") == base
    assert "eval/base is up to date" in output.getvalue()


def test_a_run_keeps_the_policy_it_began_with_when_another_version_would_make_another(
    run: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = (run / "base.json").read_text(), sorted((runs / "cache").glob("cold-start-*"))
    monkeypatch.setattr("reasoning_rl.stages.__version__", "99.0")
    run_eval(micro(runs), model=None, console=Console(file=io.StringIO()))
    assert (run / "base.json").read_text() == before
    assert sorted((runs / "cache").glob("cold-start-*")) == there


def test_an_emptied_cache_is_filled_again(run: Path, runs: Path) -> None:
    shutil.rmtree(runs / "cache")
    output = io.StringIO()
    run_eval(micro(runs), model=None, console=Console(file=output, width=200))
    assert "eval/base is up to date" in output.getvalue()


def test_too_few_problems_for_a_step_are_said_before_anything_is_learned(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.prompts_per_step: 64, but there are only \d+ training problems"):
        trained(micro(runs, "name=few", "sampling.prompts_per_step=64"))
    assert not (runs / "few" / "base.json").exists()


def test_a_reference_model_is_held_where_the_objective_needs_one(runs: Path) -> None:
    config = micro(runs, "name=reference", "objective.kl=0.04", "train.steps=2")
    trained(config)
    kl = read_metrics(config.folder).kl
    assert kl[1] == pytest.approx(0, abs=1e-9)  # the reference is where training starts from
    assert kl[2] > 0
