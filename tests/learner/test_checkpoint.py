from pathlib import Path

import pytest
import torch

from reasoning_rl.errors import RunError, StorageError
from reasoning_rl.learner.checkpoint import checkpoints, load_state, save_checkpoint, step_of
from reasoning_rl.policy.policy import Policy


def test_a_checkpoint_is_a_model_folder_with_the_training_state_in_it(policy: Policy, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    saved = save_checkpoint(tmp_path, 7, policy, {"optimizer": {"state": {0: torch.ones(2)}}}, keep=2)
    assert saved.name == "step-00007"
    assert load_state(saved)["step"] == 7
    assert torch.equal(load_state(saved)["optimizer"]["state"][0], torch.ones(2))
    loaded = AutoModelForCausalLM.from_pretrained(saved).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in policy.model.state_dict().items())


def test_only_the_newest_are_kept_by_number_not_by_name(policy: Policy, tmp_path: Path) -> None:
    for step in (99_998, 99_999, 100_000):
        save_checkpoint(tmp_path, step, policy, {}, keep=2)
    assert [step_of(path) for path in checkpoints(tmp_path)] == [99_999, 100_000]


def test_a_half_written_one_does_not_count(policy: Policy, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, policy, {}, keep=2)
    (tmp_path / ".step-00002.tmp").mkdir()
    (tmp_path / "step-00003").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00001"]


def test_damaged_state_is_named_with_the_way_out(policy: Policy, tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, 1, policy, {}, keep=1)
    for damage in (b"", b"garbage", (saved / "training.pt").read_bytes()[:100]):
        (saved / "training.pt").write_bytes(damage)
        with pytest.raises(RunError, match=r"training\.pt is damaged \(\w+\); remove .* to go on from the one before"):
            load_state(saved)


def test_a_place_that_cannot_be_written_is_named(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"step-00001 can't be written"):
        save_checkpoint(tmp_path / "file", 1, policy, {}, keep=1)
