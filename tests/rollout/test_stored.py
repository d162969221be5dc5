"""Stored groups come back as they were, or say why they can't."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerBase

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.journal import Journal
from reasoning_rl.objectives import build
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.stored import Stored, refuse_unfit, stored_files


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(tokenizer_folder)


def unheard(phase: str) -> None:
    pass


def prompt(index: int) -> Prompt:
    return Prompt(Problem(f"p{index}", "t", "t", f"q{index}", "7"), f"q{index}", (1, 2))


PROMPTS = {f"p{index}": prompt(index) for index in range(3)}


def answer(text: str, tokenizer: PreTrainedTokenizerBase) -> Completion:
    """With the token that ends it; -0.25 nats a token, which single precision holds exactly."""
    ids = (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)
    return Completion(text, ids, (-0.25,) * len(ids), "stop", policy_version=3)


def group(index: int, tokenizer: PreTrainedTokenizerBase, *texts: str) -> Group:
    return Group(prompt(index), tuple(answer(text, tokenizer) for text in texts), tuple(map(verdict, texts)))


def verdict(text: str) -> Verdict:
    right = text.endswith("7")
    judgement = Score(float(right), "correct" if right else "wrong", "as it is", text, "7")
    return Verdict(right + 0.1, {"math": Score(float(right), reason="as it is"), "format": Score(0.5)}, right, False, judgement)


def stored(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Stored:
    return Stored(stored_files(folder), PROMPTS, tokenizer)


def test_groups_come_back_as_they_were_stored(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    groups = [group(1, tokenizer, "3+4=7", "é 8"), group(0, tokenizer, "7")]
    Journal(tmp_path).rollouts(1, groups)
    assert stored(tmp_path, tokenizer).gather(0, unheard).kept == groups


def test_files_serve_the_steps_in_order_and_over_again(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    for step in (12, 3, 7):
        Journal(tmp_path).rollouts(step, [group(step % 3, tokenizer, f"{step}")])
    source = stored(tmp_path / "rollouts", tokenizer)
    texts = [source.gather(step, unheard).kept[0].completions[0].text for step in range(5)]
    assert texts == ["3", "7", "12", "3", "7"]


def test_answers_without_log_probabilities_have_none(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    whole = group(1, tokenizer, "7")
    bare = replace(whole, completions=(replace(whole.completions[0], logprobs=()),))
    Journal(tmp_path).rollouts(1, [bare])
    assert stored(tmp_path, tokenizer).gather(0, unheard).kept == [bare]


def test_a_folder_without_rollouts_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"train\.rollouts: .* has no rollouts"):
        stored_files(tmp_path)


def changed(folder: Path, columns: dict[str, str | None]) -> None:
    """The first file with other values in some columns, or without those that are None."""
    path = stored_files(folder)[0]
    frame = pd.read_parquet(path)
    for name, value in columns.items():
        frame = frame.drop(columns=[name]) if value is None else frame.assign(**{name: value})
    frame.to_parquet(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"problem_id": "p9"}, r"problem 'p9' is none of this run's training problems; train\.rollouts needs a run with the same data"),
        ({"prompt": "Q1"}, r"problem 'p1' was put in other words, 'Q1' at the end"),
        ({"completion": "8"}, r"the tokens of '8' spell '7<\|endoftext\|>' here: another tokenizer"),
        ({"reward": None, "gold": None}, r"no column reward, gold; rollouts as docs/files\.md has them"),
    ],
)
def test_what_is_not_this_runs_is_refused(
    columns: dict[str, str | None], said: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    Journal(tmp_path).rollouts(1, [group(1, tokenizer, "7")])
    changed(tmp_path, columns)
    with pytest.raises(RunError, match=said):
        stored(tmp_path, tokenizer).gather(0, unheard)


def test_a_damaged_file_is_named(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    Journal(tmp_path).rollouts(1, [group(1, tokenizer, "7")])
    stored_files(tmp_path)[0].write_bytes(b"PAR1 and no more")
    with pytest.raises(RunError, match=r"step-00001\.parquet: damaged"):
        stored(tmp_path, tokenizer).gather(0, unheard)


@pytest.mark.parametrize("name", ["dpo", "simpo", "raft"])
def test_preferences_and_imitation_may_learn_from_stored_answers(name: str) -> None:
    refuse_unfit(build(ObjectiveConfig(name=name), 64), LearnerConfig())


@pytest.mark.parametrize("name", ["grpo", "reinforce"])
def test_policy_gradients_need_the_log_probabilities_that_were_stored(name: str) -> None:
    objective = build(ObjectiveConfig(name=name), 64)
    refuse_unfit(objective, LearnerConfig(old_logprobs="engine"))
    with pytest.raises(ConfigError, match="would not be π_old"):
        refuse_unfit(objective, LearnerConfig())


@pytest.mark.parametrize(("setting", "value"), [("supervision", "process"), ("combine", "normalise_then_sum")])
def test_what_is_not_stored_is_not_asked_for(setting: str, value: str) -> None:
    objective = build(ObjectiveConfig.model_validate({setting: value}), 64)
    with pytest.raises(ConfigError, match=rf"train\.rollouts: .*objective\.{setting} should be"):
        refuse_unfit(objective, LearnerConfig(old_logprobs="engine"))
