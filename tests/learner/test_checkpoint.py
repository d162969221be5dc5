from pathlib import Path

import pytest
import torch

from reasoning_rl.errors import RunError, StorageError
from reasoning_rl.learner.checkpoint import checkpoints, load_state, newest_whole, prune, save_checkpoint, set_aside, step_of
from reasoning_rl.policy.policy import Policy


def ignored(_: str) -> None:
    """Of what is said."""


def test_a_checkpoint_is_a_model_folder_with_the_training_state_in_it(policy: Policy, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    saved = save_checkpoint(tmp_path, 7, policy, {"optimizer": {"state": {0: torch.ones(2)}}})
    assert saved.name == "step-00007"
    assert load_state(saved)["step"] == 7
    assert torch.equal(load_state(saved)["optimizer"]["state"][0], torch.ones(2))
    loaded = AutoModelForCausalLM.from_pretrained(saved).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in policy.model.state_dict().items())


def test_they_are_told_apart_by_number_not_by_name(policy: Policy, tmp_path: Path) -> None:
    for step in (100_000, 99_998, 99_999):
        save_checkpoint(tmp_path, step, policy, {})
    prune(tmp_path, {99_999, 100_000})
    assert [step_of(path) for path in checkpoints(tmp_path)] == [99_999, 100_000]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_an_interruption_left_half_is_none(policy: Policy, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, policy, {})
    (tmp_path / ".step-00002.99.tmp").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00001"]


def test_the_same_step_saved_again_takes_the_place_of_the_first(policy: Policy, tmp_path: Path) -> None:
    for value in (1, 2):
        saved = save_checkpoint(tmp_path, 1, policy, {"value": value})
    assert load_state(saved)["value"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-00001"]


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt", "config.json"])
def test_one_flipped_bit_is_noticed_and_the_checkpoint_before_it_is_used(name: str, policy: Policy, tmp_path: Path) -> None:
    first, second = (save_checkpoint(tmp_path, step, policy, {}) for step in (1, 2))
    content = bytearray((second / name).read_bytes())
    content[len(content) // 2] ^= 1
    (second / name).write_bytes(content)
    said: list[str] = []
    assert newest_whole(tmp_path, said.append) == first
    assert said == [f"{second} is damaged: {name} is not as it was written. The one before it is used"]


def test_a_file_that_is_cut_or_gone_is_named(policy: Policy, tmp_path: Path) -> None:
    saved, said = save_checkpoint(tmp_path, 1, policy, {}), list[str]()
    with (saved / "training.pt").open("rb+") as file:
        file.truncate(100)
    with pytest.raises(RunError, match="every checkpoint is damaged, of step-00001; --fresh begins the run anew"):
        newest_whole(tmp_path, said.append)
    (saved / "training.pt").unlink()
    with pytest.raises(RunError):
        newest_whole(tmp_path, said.append)
    assert [line.partition(": ")[2].partition(".  ")[0][:28] for line in said] == [
        "training.pt is not as it was",
        "training.pt is missing. The ",
    ]


def test_where_there_is_none_there_is_no_newest(tmp_path: Path) -> None:
    assert newest_whole(tmp_path, ignored) is None


def test_later_ones_are_set_aside_and_kept_for_a_look(policy: Policy, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, policy, {})
    set_aside(tmp_path, after=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00001", "step-00002.damaged", "step-00003.damaged"]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00001"]


def test_state_that_cannot_be_read_is_named_with_the_way_out(policy: Policy, tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, 1, policy, {})
    for damage in (b"", b"garbage", (saved / "training.pt").read_bytes()[:100]):
        (saved / "training.pt").write_bytes(damage)
        with pytest.raises(RunError, match=r"training\.pt is damaged \(\w+\); remove .* to go on from the one before"):
            load_state(saved)


def test_a_place_that_cannot_be_written_is_named(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"step-00001 can't be written"):
        save_checkpoint(tmp_path / "file", 1, policy, {})
