"""Where a run's groups come from, on runs of a few steps: dynamic sampling, steps of answers, answers of another run."""

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from test_pipeline import micro, trained
from transformers import AutoModelForCausalLM

from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.journal import Journal, read_metrics, rollout_steps
from reasoning_rl.stages import run_training

EVEN_FIRST = """
from reasoning_rl.records import Completion, Problem, Score, StepScore
from reasoning_rl.rewards.verifier import verifier


@verifier("even_first", judges_answer=True, counts_tokens=True)
def even_first(completion: Completion, problem: Problem) -> Score:
    value = float(completion.token_ids[0] % 2 == 0)
    return Score(value, steps=(StepScore(len(completion.text), value),) * bool(completion.text))
"""
"""An answer is right if its first token is even: half of those of a policy that has learned nothing are. All of it is its one step."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Results are compared bit by bit, and sums over threads have no fixed order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "even_first.py").write_text(EVEN_FIRST)
    return folder


def recipe(runs: Path, name: str, *overrides: str) -> Config:
    return micro(runs, f"name={name}", "rewards.gsm8k=null", f"rewards.{runs}/even_first.py:even_first=1", "train.steps=2", *overrides)


@pytest.fixture(scope="module")
def online(runs: Path) -> Path:
    """Twelve answers a step, stored."""
    torch.set_num_threads(1)
    config = recipe(runs, "online", "learner.old_logprobs=engine")
    trained(config)
    return config.folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "step-00002").state_dict()
    return state


def same(ours: Path, theirs: Path) -> bool:
    other = weights(theirs)
    return all(torch.equal(tensor, other[name]) for name, tensor in weights(ours).items())


def test_learning_from_a_runs_own_answers_repeats_it(runs: Path, online: Path) -> None:
    config = recipe(runs, "repeated", "learner.old_logprobs=engine", f"train.rollouts={online}")
    said = trained(config)
    assert f"answers of {online}" in said
    assert same(config.folder, online)
    pd.testing.assert_frame_equal(
        pd.read_parquet(config.folder / "rollouts").drop(columns=["verdict"]),
        pd.read_parquet(online / "rollouts").drop(columns=["verdict"]),
    )
    assert not [name for name in map(str, read_metrics(config.folder)) if name.startswith(("seconds/sample", "sample/"))]


@pytest.mark.parametrize("name", ["dpo", "simpo", "raft"])
def test_preferences_and_imitation_learn_from_stored_answers(name: str, runs: Path, online: Path) -> None:
    config = recipe(runs, f"offline-{name}", f"objective.name={name}", f"train.rollouts={online}/rollouts", "train.steps=3")
    trained(config)
    metrics = read_metrics(config.folder).set_index("step")
    assert (metrics.grad_norm[1:] > 0).all()
    # the third step takes the first file again
    assert metrics.reward[3] == metrics.reward[1] == read_metrics(online).set_index("step").reward[1]
    assert metrics.reward[1] != metrics.reward[2]
    stored = pd.read_parquet(config.folder / "rollouts" / "step-00001.parquet")
    assert stored.advantage[stored.correct].isin([0, 1]).all()
    if name == "raft":
        assert (stored.advantage == stored.correct).all()
    else:
        assert stored.advantage[~stored.correct].isin([0, -1]).all()
        assert (stored.groupby("group").advantage.sum() == 0).all()


def test_offline_settings_that_contradict_are_refused_before_anything_is_computed(runs: Path, online: Path) -> None:
    refused = {
        "learner.old_logprobs 'learner' would not be π_old": [],
        "no rewards of steps": ["learner.old_logprobs=engine", "objective.name=grpo_process"],
        "what they are made of": ["learner.old_logprobs=engine", "objective.combine=normalise_then_sum"],
    }
    for said, overrides in refused.items():
        config = recipe(runs, "refused", f"train.rollouts={online}", *overrides)
        with pytest.raises(ConfigError, match=said):
            trained(config)
        assert not (config.folder / "config.yaml").exists()
    with pytest.raises(RunError, match=r"has no rollouts/step-\*\.parquet"):
        trained(recipe(runs, "refused", "objective.name=dpo", f"train.rollouts={runs}"))
    with pytest.raises(ConfigError, match="leave one of them out"):
        recipe(runs, "refused", f"train.rollouts={online}", "sampling.dynamic=true")


def test_a_run_that_would_remove_the_answers_it_learns_from_is_refused(runs: Path, online: Path) -> None:
    config = recipe(runs, "online", "objective.name=dpo", f"train.rollouts={online}")
    with pytest.raises(ConfigError, match="belongs to this run"):
        run_training(config, resume="never", console=Console(file=io.StringIO()))
    assert len(rollout_steps(online)) == 2


def test_answers_to_other_problems_are_refused(runs: Path, online: Path) -> None:
    with pytest.raises(RunError, match="was put in other words"):
        trained(recipe(runs, "others", "seed=7", "objective.name=dpo", f"train.rollouts={online}"))


def test_dynamic_sampling_learns_from_mixed_groups_and_records_all(runs: Path) -> None:
    config = recipe(runs, "dynamic", "sampling.dynamic=true", "sampling.group_size=2", "sampling.max_rounds=4")
    trained(config)
    metrics = read_metrics(config.folder).set_index("step")
    rollouts = pd.read_parquet(config.folder / "rollouts")
    mixed = rollouts.groupby(["step", "group"]).correct.nunique() == 2
    assert not mixed.all(), "or there was nothing to leave out"
    asked, usable = mixed.groupby("step").size(), mixed.groupby("step").sum()
    for step in (1, 2):
        assert metrics["dynamic/questions"][step] == asked[step]
        assert min(usable[step], 4) == 4 - metrics["dynamic/missing"][step]
        assert metrics["groups/learned"][step] == 4 - metrics["dynamic/missing"][step]
        assert metrics.pass_rate[step] == pytest.approx(rollouts[rollouts.step == step].correct.mean())
        assert metrics.num_tokens[step] == rollouts[rollouts.step == step].tokens.sum()
        assert rollouts[rollouts.step == step].problem_id.value_counts().max() == 2  # one group of two, so no question twice
    moved = rollouts.groupby(["step", "group"]).advantage.agg(lambda row: bool((row != 0).any()))
    assert not moved[~mixed].any()


def test_an_interrupted_run_with_dynamic_sampling_goes_on_to_the_same_end(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["sampling.dynamic=true", "sampling.group_size=2", "train.save_every=1"]
    whole, broken = recipe(runs, "whole", *settings), recipe(runs, "broken", *settings)
    trained(whole)
    record = Journal.metrics

    def interrupt(self: Journal, row: dict[str, float]) -> None:
        if row["step"] == 2:
            raise KeyboardInterrupt
        record(self, row)

    monkeypatch.setattr(Journal, "metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(broken)
    monkeypatch.undo()
    trained(broken)
    assert same(broken.folder, whole.folder)


def test_a_seed_of_training_moves_sampling_and_leaves_data_cold_start_and_evaluation(runs: Path, online: Path) -> None:
    config = recipe(runs, "seeded", "learner.old_logprobs=engine", "train.seed=5")
    trained(config)
    ours, theirs = (pd.read_parquet(folder / "rollouts") for folder in (config.folder, online))
    assert ours.problem_id.tolist() != theirs.problem_id.tolist()
    assert (config.folder / "base.json").read_text() == (online / "base.json").read_text()
    before = [name for name in map(str, read_metrics(online)) if name.startswith("eval/") and "second" not in name]
    pd.testing.assert_frame_equal(read_metrics(config.folder)[before].iloc[:1], read_metrics(online)[before].iloc[:1])


def test_process_supervision_credits_the_tokens_of_a_step(runs: Path) -> None:
    config = recipe(runs, "process", "objective.name=grpo_process", "objective.kl=0")
    trained(config)
    assert (read_metrics(config.folder).grad_norm[1:] > 0).all()
