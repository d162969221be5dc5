"""A policy without weights says what an engine asks of one that has them."""

from pathlib import Path

from conftest import tiny_policy

from reasoning_rl.config import PolicyConfig
from reasoning_rl.policy.blank import blank_policy
from reasoning_rl.policy.policy import load_policy

CPU = PolicyConfig(device="cpu", autocast="off")


def test_a_blank_policy_has_all_but_the_weights(tokenizer_folder: str, tmp_path: Path) -> None:
    policy = tiny_policy(tokenizer_folder)
    assert policy.model.generation_config is not None
    policy.model.generation_config.eos_token_id = [policy.tokenizer.eos_token_id, 7]  # which the model's config does not know of
    policy.save(tmp_path)
    whole, blank = load_policy(str(tmp_path), CPU), blank_policy(str(tmp_path), CPU)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in blank.weights()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in whole.weights()
    }
    assert {tensor.device.type for _, tensor in blank.weights()} == {"meta"}
    assert blank.end_tokens == whole.end_tokens > {7}
    assert (blank.context, blank.model.dtype, blank.autocast) == (whole.context, whole.model.dtype, whole.autocast)


def test_a_folder_without_generation_settings_ends_as_its_model_says(tokenizer_folder: str, tmp_path: Path) -> None:
    tiny_policy(tokenizer_folder).save(tmp_path)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    assert blank_policy(str(tmp_path), CPU).end_tokens == load_policy(str(tmp_path), CPU).end_tokens
