import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasoning_rl.config import PolicyConfig
from reasoning_rl.errors import ModelError
from reasoning_rl.policy.forward import hidden_states
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy, autocast_dtype, build_policy, load_policy
from reasoning_rl.records import Sample

CPU = PolicyConfig(device="cpu", autocast="off")
PACKING = pack([Sample((5, 6, 7), tuple(range(20, 24 + row)), (), 1.0) for row in range(2)])


def test_a_saved_policy_opens_with_plain_transformers(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("Ann has 3", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    assert model.config._attn_implementation != "grouped"


def test_a_loaded_policy_is_the_saved_one(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    loaded = load_policy(str(tmp_path), CPU)
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, policy.model.state_dict()[name]), name
    assert loaded.context == 128
    assert loaded.end_tokens == {policy.tokenizer.eos_token_id}


def test_equal_seeds_build_equal_policies(policy: Policy, tokenizer_folder: str) -> None:
    from reasoning_rl.data.tokenizer import load_tokenizer

    first, second, other = (build_policy(CPU.architecture, CPU, load_tokenizer(tokenizer_folder), seed) for seed in (1, 1, 2))
    name = "model.embed_tokens.weight"
    assert torch.equal(first.model.state_dict()[name], second.model.state_dict()[name])
    assert not torch.equal(first.model.state_dict()[name], other.model.state_dict()[name])


def test_a_folder_without_weights_is_named(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"policy\.model: '.*' can't be loaded as a causal language model"):
        load_policy(str(tmp_path), CPU)


def test_scaled_logits_are_refused(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "logit_scale": 0.5}))
    with pytest.raises(ModelError, match=r"logit_scale=0\.5, which is not supported"):
        load_policy(str(tmp_path), CPU)


def test_autocast_is_off_where_the_weights_are_bfloat16() -> None:
    assert autocast_dtype(PolicyConfig(device="cpu", dtype="bfloat16", autocast="bfloat16")) is None
    assert autocast_dtype(PolicyConfig(device="cpu", autocast="bfloat16")) is torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said() -> None:
    with pytest.raises(ModelError, match="torch sees no GPU; use 'auto' or 'cpu'"):
        autocast_dtype(PolicyConfig(device="cuda"))


def test_checkpointed_layers_are_computed_again_and_have_the_same_gradient(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    calls, gradients = [], []
    for checkpointed in (False, True):
        loaded = load_policy(str(tmp_path), CPU.model_copy(update={"gradient_checkpointing": checkpointed})).model
        loaded.train()
        loaded.get_submodule("model.layers.0.mlp").register_forward_pre_hook(
            lambda *_, checkpointed=checkpointed: calls.append(checkpointed)
        )
        hidden_states(loaded.base_model, PACKING).sum().backward()
        gradients.append([parameter.grad for parameter in loaded.base_model.parameters()])
    assert calls == [False, True, True]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch says it of itself
def test_a_policy_from_nothing_is_checkpointed_and_compiled_as_a_loaded_one(policy: Policy) -> None:
    config = CPU.model_copy(update={"gradient_checkpointing": True, "compile": True})
    model = build_policy(CPU.architecture, config, policy.tokenizer, seed=0).model
    assert model.is_gradient_checkpointing
    assert all(layer._compiled_call_impl is not None for layer in model.model.layers)
