"""Adapters: only they are trained, off they are not there, and what leaves the process has them merged. Needs peft, but for the last."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from conftest import tiny_policy
from torch import Tensor, nn

from reasoning_rl.config import LearnerConfig, LoRAConfig, ObjectiveConfig, PolicyConfig
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.objectives import build
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy, load_policy
from reasoning_rl.records import Prompt, Sample
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine

LORA = LoRAConfig(rank=4, alpha=8)
CPU = PolicyConfig(device="cpu", autocast="off")


def samples() -> list[Sample]:
    """Two groups of two answers, the first of each better than the other."""
    lengths = ((4, 7), (3, 5))
    return [
        Sample((5, 6 + group, 7), tuple(range(20, 20 + length)), (1.0 - 2 * row,) * length, 1 / (4 * length), group=group, row=row)
        for group, rows in enumerate(lengths)
        for row, length in enumerate(rows)
    ]


def logprobs(policy: Policy) -> Tensor:
    logp, _ = token_logprobs(policy, pack(samples()))
    return logp


def moved(policy: Policy) -> Policy:
    """With adapters that change something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return policy


@pytest.fixture
def peft() -> Any:
    return pytest.importorskip("peft")


@pytest.fixture
def adapted(peft: Any, policy: Policy) -> Policy:
    policy.adapt(LORA)
    return policy


def trained_names(model: nn.Module) -> Sequence[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def test_new_adapters_change_nothing_and_are_the_same_in_every_process(adapted: Policy, tokenizer_folder: str) -> None:
    torch.testing.assert_close(logprobs(adapted), logprobs(tiny_policy(tokenizer_folder)), rtol=0, atol=0)
    torch.manual_seed(99)
    other = tiny_policy(tokenizer_folder)
    other.adapt(LORA)
    assert all(torch.equal(mine, other.model.state_dict()[name]) for name, mine in adapted.model.state_dict().items())


def test_only_adapters_are_trained_and_the_head_has_none(adapted: Policy) -> None:
    names = trained_names(adapted.model)
    assert len(names) == 2 * 7 * 2  # A and B of seven linear layers in each of two blocks
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    logprobs(adapted).sum().backward()
    assert adapted.model.get_input_embeddings().weight.grad is None


def test_targets_are_the_named_layers_alone(peft: Any, policy: Policy) -> None:
    policy.adapt(LoRAConfig(rank=2, targets=["q_proj", "down_proj"]))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained_names(policy.model)} == {"q_proj", "down_proj"}


def test_off_they_are_not_there(adapted: Policy, tokenizer_folder: str) -> None:
    before = logprobs(tiny_policy(tokenizer_folder))
    after = logprobs(moved(adapted))
    assert (after - before).abs().max() > 0.01
    with torch.no_grad():
        torch.testing.assert_close(logprobs(adapted.unadapted()), before, rtol=0, atol=0)
    torch.testing.assert_close(logprobs(adapted), after, rtol=0, atol=0)
    assert len(trained_names(adapted.model)) == 28


def test_an_update_moves_the_adapters_alone_away_from_the_reference(adapted: Policy) -> None:
    frozen = {name: tensor.clone() for name, tensor in adapted.model.state_dict().items() if ".lora_" not in name}
    config = LearnerConfig(learning_rate=0.05, warmup_steps=0)
    one = Learner(Models(adapted, adapted.unadapted()), build(ObjectiveConfig(kl=0.04), 64), config, steps=2)
    first, second = (one.update([samples()], step).metrics for step in range(2))
    assert first["kl"] == 0  # both are the run's beginning
    assert second["kl"] > 0
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in adapted.model.state_dict().items() if name in frozen)
    assert len(one.parameters) == 28


def test_checkpointed_layers_have_the_same_gradient(adapted: Policy, tokenizer_folder: str) -> None:
    other = tiny_policy(tokenizer_folder)
    other.adapt(LORA)
    other.model.gradient_checkpointing_enable()
    gradients = []
    for policy in (moved(adapted), moved(other)):
        policy.model.train()
        logprobs(policy).sum().backward()
        gradients.append([parameter.grad for parameter in policy.model.parameters() if parameter.requires_grad])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_saved_policy_has_them_merged_and_opens_as_a_plain_one(adapted: Policy, tmp_path: Path) -> None:
    moved(adapted).save(tmp_path)
    loaded = load_policy(str(tmp_path), CPU)
    assert not loaded.adapted
    assert len(trained_names(loaded.model)) == len(list(loaded.model.parameters()))
    torch.testing.assert_close(logprobs(loaded), logprobs(adapted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3_moe", "gpt_neox", "phi3"])
def test_merged_weights_compute_what_the_adapters_do(peft: Any, policy: Policy, architecture: str) -> None:
    """Also beside experts, which are no linear layers and stay as they are."""
    one, plain = (Policy(tiny_model(architecture), policy.tokenizer, None) for _ in range(2))
    one.adapt(LORA)
    weights = dict(moved(one).weights())
    before = logprobs(plain)
    plain.model.load_state_dict(weights)
    assert (logprobs(plain) - before).abs().max() > 0.01
    torch.testing.assert_close(logprobs(one), logprobs(plain), rtol=1e-5, atol=1e-5)


def test_adapters_of_bfloat16_weights_are_float32(peft: Any, policy: Policy) -> None:
    policy.model.to(torch.bfloat16)  # type: ignore[arg-type]  # its stub knows no torch.dtype
    before = logprobs(policy)
    policy.adapt(LORA)
    torch.testing.assert_close(logprobs(policy), before, rtol=0, atol=0)
    logprobs(policy).sum().backward()
    trained = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained} == {parameter.grad.dtype for parameter in trained if parameter.grad is not None}
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    assert {tensor.dtype for _, tensor in policy.weights()} == {torch.bfloat16}


def test_an_engine_gets_the_names_of_a_plain_model_with_merged_values(adapted: Policy, tokenizer_folder: str) -> None:
    plain = tiny_policy(tokenizer_folder)
    weights = dict(moved(adapted).weights())
    assert weights.keys() == plain.model.state_dict().keys()
    plain.model.load_state_dict(weights)
    torch.testing.assert_close(logprobs(plain), logprobs(adapted), rtol=1e-4, atol=1e-4)


def test_the_engine_in_process_samples_with_them(adapted: Policy, prompts: list[Prompt]) -> None:
    engine = LocalEngine(moved(adapted))
    engine.load_weights(adapted.weights(), 3)
    (one, *_), *_ = engine.generate(prompts[:1], Sampling(n=2, max_tokens=8))
    assert one.policy_version == 3
    logp, _ = token_logprobs(adapted, pack([Sample(prompts[0].token_ids, one.token_ids, (), 1.0)]))
    torch.testing.assert_close(torch.tensor(one.logprobs), logp, rtol=1e-4, atol=1e-4)


def test_peft_itself_opens_the_folder_beside_them(peft: Any, adapted: Policy, tokenizer_folder: str, tmp_path: Path) -> None:
    moved(adapted).save(tmp_path)
    base = tiny_policy(tokenizer_folder)
    peft.PeftModel.from_pretrained(base.model, tmp_path / "adapter")
    torch.testing.assert_close(logprobs(base), logprobs(adapted), rtol=0, atol=0)


def test_they_come_back_exactly(adapted: Policy, tokenizer_folder: str, tmp_path: Path) -> None:
    moved(adapted).save(tmp_path)
    again = tiny_policy(tokenizer_folder)
    again.adapt(LORA, tmp_path)
    assert all(torch.equal(mine, again.model.state_dict()[name]) for name, mine in adapted.model.state_dict().items())


def test_adapters_of_another_rank_or_none_are_named(adapted: Policy, tokenizer_folder: str, tmp_path: Path) -> None:
    adapted.save(tmp_path)
    with pytest.raises(RunError, match=r"adapter_model\.safetensors holds adapters of other layers or ranks"):
        tiny_policy(tokenizer_folder).adapt(LoRAConfig(rank=2), tmp_path)
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"garbage")
    with pytest.raises(RunError, match=r"can't be read: .*; remove .* to go on from the one before"):
        tiny_policy(tokenizer_folder).adapt(LORA, tmp_path)


@pytest.mark.parametrize("target", ["queries", "embed_tokens", "mlp"])
def test_a_target_that_is_no_linear_layer_is_named_with_those_there_are(peft: Any, policy: Policy, target: str) -> None:
    with pytest.raises(ConfigError, match=f"'{target}' is no linear layer of the model; known: down_proj, gate_proj, k_proj"):
        policy.adapt(LoRAConfig(targets=[target]))


def test_a_head_that_is_the_input_embedding_too_is_refused(peft: Any, policy: Policy) -> None:
    with pytest.raises(ConfigError, match="'lm_head' shares its weights with the input embedding"):
        policy.adapt(LoRAConfig(targets=["lm_head"]))


def untied(tokenizer_folder: str) -> Policy:
    policy = tiny_policy(tokenizer_folder)
    policy.model.lm_head.weight = nn.Parameter(policy.model.lm_head.weight.detach().clone())
    policy.model.config.tie_word_embeddings = False
    return policy


def test_a_head_of_its_own_can_be_adapted(peft: Any, tokenizer_folder: str) -> None:
    policy, plain = untied(tokenizer_folder), untied(tokenizer_folder)
    policy.adapt(LoRAConfig(rank=2, targets=["lm_head"]))
    plain.model.load_state_dict(dict(moved(policy).weights()))
    torch.testing.assert_close(logprobs(policy), logprobs(plain), rtol=1e-4, atol=1e-4)
    logprobs(policy).sum().backward()
    logprobs(plain).sum().backward()
    head, scale = policy.model.lm_head, 32 / 2
    whole = plain.model.lm_head.weight.grad
    assert whole is not None
    expected = scale * whole @ head.lora_A["default"].weight.T  # W + s·B·A: ∂/∂B = s · ∂/∂W · Aᵀ
    torch.testing.assert_close(head.lora_B["default"].weight.grad, expected, rtol=1e-3, atol=1e-3)


def test_missing_peft_is_said_with_the_way_to_it(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"policy\.lora needs peft; pip install 'reasoning-rl\[peft\]'"):
        policy.adapt(LORA)
