"""A model that would not compute packed samples as it computes rows is refused when it is loaded."""

import math
from pathlib import Path

import pytest
import torch
from architectures import SUPPORTED, tiny_model

from reasoning_rl.config import PolicyConfig
from reasoning_rl.errors import ModelError
from reasoning_rl.policy.attention import GROUPED
from reasoning_rl.policy.policy import Policy, load_policy
from reasoning_rl.policy.trial import require_alike, without_dropout

CPU = PolicyConfig(device="cpu", autocast="off")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_supported_architectures_pass_and_stay_as_they_were(architecture: str, dtype: torch.dtype) -> None:
    model = tiny_model(architecture).to(dtype)
    require_alike(model, architecture)
    assert model.config._attn_implementation == GROUPED
    assert not model.training


@pytest.mark.parametrize(
    "architecture",
    [
        "bloom",  # ALiBi, in the mask
        "mamba",  # a state space: no attention at all
        "recurrent_gemma",  # recurrent layers between those of attention
        "minimax",  # linear attention beside the other
        "cohere",  # logits with a factor
    ],
)
def test_architectures_that_would_be_other_models_are_refused(architecture: str) -> None:
    with pytest.raises(
        ModelError, match=f"'some' gives other logits where samples are packed, off by .*: its architecture, '{architecture}'"
    ):
        require_alike(tiny_model(architecture), "some")


@pytest.mark.parametrize("architecture", ["stablelm", "nemotron", "deepseek_v3"])
def test_architectures_that_can_not_take_our_attention_are_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match="'some' can't compute packed samples, which is needed: "):
        require_alike(tiny_model(architecture), "some")


def test_an_attention_that_is_not_looked_up_is_named_so(policy: Policy, tmp_path: Path) -> None:
    tiny_model("gptj", attention="eager").save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"can't be loaded as a causal language model: its attention can't be replaced"):
        load_policy(str(tmp_path), CPU)


@pytest.mark.parametrize(("architecture", "feature"), [("gemma2", "softcap"), ("gpt_oss", "s_aux")])
def test_features_of_attention_are_named(architecture: str, feature: str) -> None:
    with pytest.raises(ModelError, match=f"its attention uses '{feature}', which is not supported"):
        require_alike(tiny_model(architecture), "some")


def test_loading_is_when_they_are_refused(policy: Policy, tmp_path: Path) -> None:
    tiny_model("bloom").save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"gives other logits where samples are packed"):
        load_policy(str(tmp_path), CPU)


def test_dropout_of_a_loaded_model_is_off_and_in_its_settings_stays(policy: Policy, tmp_path: Path) -> None:
    tiny_model("phi", resid_pdrop=0.5, embd_pdrop=0.5).save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    loaded = load_policy(str(tmp_path), CPU)
    assert {module.p for module in loaded.model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert loaded.model.config.resid_pdrop == 0.5


def test_dropout_that_can_not_be_turned_off_is_refused() -> None:
    model = tiny_model("opt", dropout=0.5)  # calls the function, with no module to set
    without_dropout(model)
    with pytest.raises(ModelError, match="gives other logits"):
        require_alike(model, "some")


def test_weights_that_are_wrecked_are_told_from_an_architecture_that_does_not_fit(policy: Policy, tmp_path: Path) -> None:
    """It could not be sampled from either."""
    with torch.no_grad():
        next(policy.model.parameters())[:] = math.nan
    policy.save(tmp_path / "wrecked")
    with pytest.raises(ModelError, match=r"wrecked: its logits are not finite, .*; begin with an earlier checkpoint"):
        load_policy(str(tmp_path / "wrecked"), CPU)
