"""A sequence classifier as a verifier: a tiny random one, nothing downloaded."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge import Judge

PROBLEM = Problem(id="t/0", source="t", split="test", question="a b", gold="5")
WORDS = {"<unk>": 0, "a": 1, "b": 2, "<pad>": 3, "user": 4, "assistant": 5}


def saved(folder: Path, *, labels: int = 1, chat: bool = False, kind: type = LlamaForSequenceClassification) -> tuple[str, torch.nn.Module]:
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    settings = {"vocab_size": 8, "num_labels": labels, "pad_token_id": 3, "max_position_embeddings": 16, "initializer_range": 1.0}
    model = kind(LlamaConfig.from_dict({**size, **settings}))
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    if chat:
        tokenizer.chat_template = "{% for turn in messages %}{{ turn.role }} {{ turn.content }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    return str(folder), model.eval()


def judged(text: str, **options: str | int) -> Verdict:
    reward = Reward({"reward_model": VerifierConfig(options=dict(options))})
    reward.prepare()
    return reward.verdict(Completion(text, (1,)), PROBLEM)


def logits(model: torch.nn.Module, *ids: int) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return found


def test_one_logit_goes_through_the_sigmoid(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    # question and completion as a pair: a b, then b a
    assert judged("b a", model=folder).reward == pytest.approx(torch.sigmoid(logits(model, 1, 2, 2, 1)).item(), abs=1e-6)


def test_of_several_classes_the_named_one_is_the_value(tmp_path: Path) -> None:
    folder, model = saved(tmp_path, labels=3)
    wanted = torch.softmax(logits(model, 1, 2, 2), 0)
    assert judged("b", model=folder, label="LABEL_1").reward == pytest.approx(wanted[1].item(), abs=1e-6)


def test_a_chat_template_is_used_where_there_is_one(tmp_path: Path) -> None:
    folder, model = saved(tmp_path, chat=True)
    assert judged("b", model=folder).reward == pytest.approx(torch.sigmoid(logits(model, 4, 1, 2, 5, 2)).item(), abs=1e-6)


def test_a_process_model_reads_the_answer_up_to_the_end_of_each_line(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    reward = Reward({"process_model": VerifierConfig(options={"model": folder})})
    reward.prepare()
    score = reward.verdict(Completion("b \n\n a b", (1,)), PROBLEM).scores["process_model"]
    first, second = (torch.sigmoid(logits(model, 1, 2, *ids)).item() for ids in ((2,), (2, 1, 2)))
    assert [step.end for step in score.steps] == [1, 8]
    assert [step.value for step in score.steps] == pytest.approx([first, second], abs=1e-6)
    assert score.value == pytest.approx(min(first, second), abs=1e-6)


def test_an_empty_answer_has_no_step_and_no_value(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    score = (
        Reward({"process_model": VerifierConfig(options={"model": folder})})
        .verdict(Completion(" \n", (1,)), PROBLEM)
        .scores["process_model"]
    )
    assert (score.value, score.steps) == (0.0, ())


@pytest.mark.parametrize("options", [{"max_tokens": 3}, {}])
def test_what_is_too_long_loses_its_beginning(tmp_path: Path, options: dict[str, int]) -> None:
    folder, model = saved(tmp_path, chat=True)
    long = [1] * 30 + [2, 1, 2]
    kept = long[-options.get("max_tokens", 16) :]  # the model has 16 positions
    text = " ".join("a" if token == 1 else "b" for token in long)
    assert judged(text, model=folder, **options).reward == pytest.approx(torch.sigmoid(logits(model, *kept)).item(), abs=1e-6)


@pytest.mark.parametrize("label", ["", "right"])
def test_a_class_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, label: str) -> None:
    folder, _ = saved(tmp_path, labels=2)
    with pytest.raises(
        VerifierError, match=rf"rewards\.reward_model: options\.label: found '{label}'; it should be one of LABEL_0, LABEL_1"
    ):
        judged("b", model=folder, label=label)


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, kind=LlamaForCausalLM)
    with pytest.raises(VerifierError, match=r"no trained classifier: it has no score\.weight"):
        judged("b", model=folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match=r"rewards\.reward_model: can't be prepared: OSError: .*nothing"):
        judged("b", model=str(tmp_path / "nothing"))


def test_the_model_is_required() -> None:
    with pytest.raises(VerifierError, match=r"rewards\.reward_model\.options\.model: required"):
        Reward({"reward_model": VerifierConfig()})


@pytest.mark.slow
def test_a_worker_loads_it_before_the_deadline_of_the_first_answer_runs(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    rewards = {"reward_model": VerifierConfig(options={"model": folder})}
    with Judge(rewards, JudgeConfig(deadline_s=1.0)) as judge:  # importing transformers alone takes longer
        (verdict,) = judge.judge([(Completion("b a", (1,)), PROBLEM)])
    assert verdict.scores["reward_model"].reason == f"logit of {folder}"
    assert verdict.reward == pytest.approx(torch.sigmoid(logits(model, 1, 2, 2, 1)).item(), abs=1e-6)


@pytest.mark.slow
def test_a_worker_that_cannot_load_it_says_why(tmp_path: Path) -> None:
    rewards = {"reward_model": VerifierConfig(options={"model": str(tmp_path / "nothing")})}
    with Judge(rewards, JudgeConfig()) as judge, pytest.raises(VerifierError, match=r"rewards\.reward_model: can't be prepared: OSError"):
        judge.judge([(Completion("b", (1,)), PROBLEM)])
