"""Optimisers: torch's implementations agree, small updates of narrow weights are not lost, and a missing library is said."""

import io
import sys

import pytest
import torch
from torch import Tensor, nn

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.learner.optimizers import Masters, make_optimizer
from reasoning_rl.objectives import build
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Sample


def config(**settings: object) -> LearnerConfig:
    return LearnerConfig.model_validate({"learning_rate": 0.01, "warmup_steps": 0, **settings})


def stepped(one: LearnerConfig) -> Tensor:
    """A vector of 8192 after three steps towards 0."""
    torch.manual_seed(0)
    vector = nn.Parameter(torch.randn(8192))
    optimizer = make_optimizer([([vector], one.learning_rate)], one)
    for _ in range(3):
        optimizer.zero_grad()
        (vector**2).sum().backward()
        optimizer.step()
    return vector.detach()


@pytest.mark.parametrize("kernel", ["loop", "foreach", "fused"])
def test_torchs_implementations_of_adamw_agree(kernel: str) -> None:
    torch.testing.assert_close(stepped(config(adamw_kernel=kernel)), stepped(config()), rtol=1e-5, atol=1e-6)


def test_each_list_of_parameters_has_its_rate() -> None:
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = make_optimizer([([one], 0.1), ([other], 0.2)], config(betas=(0.8, 0.9), weight_decay=0.5)).param_groups
    assert [(group["params"][0] is each, group["lr"]) for group, each in zip(groups, (one, other), strict=True)] == [
        (True, 0.1),
        (True, 0.2),
    ]
    assert {(group["betas"], group["weight_decay"]) for group in groups} == {((0.8, 0.9), 0.5)}


@pytest.mark.parametrize("name", ["adamw8bit", "paged_adamw8bit"])
def test_a_missing_library_is_said_with_the_way_to_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ConfigError, match=rf"learner\.optimizer: '{name}' needs bitsandbytes; pip install 'reasoning-rl\[bitsandbytes\]'"):
        make_optimizer([([torch.ones(2, device="meta")], 0.1)], config(optimizer=name))


def test_a_processor_has_nothing_to_page() -> None:
    with pytest.raises(ConfigError, match="'paged_adamw8bit' moves memory between a GPU and its host; a CPU takes 'adamw8bit'"):
        stepped(config(optimizer="paged_adamw8bit"))


def test_moments_in_eight_bits_step_nearly_alike() -> None:
    pytest.importorskip("bitsandbytes")
    near = stepped(config(optimizer="adamw8bit"))
    torch.testing.assert_close(near, stepped(config()), rtol=0, atol=0.02)
    assert not torch.equal(near, stepped(config()))


def test_moments_in_eight_bits_survive_a_checkpoint() -> None:
    pytest.importorskip("bitsandbytes")
    ends = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        vector = nn.Parameter(torch.randn(8192))
        optimizer = make_optimizer([([vector], 0.01)], config(optimizer="adamw8bit"))
        for step in range(4):
            if interrupted and step == 2:
                optimizer = reopened(optimizer, vector)
            vector.grad = torch.cos(vector.detach() + step)
            optimizer.step()
        ends.append(vector.detach().clone())
    assert torch.equal(*ends)


def reopened(optimizer: torch.optim.Optimizer, vector: nn.Parameter) -> torch.optim.Optimizer:
    """A new one with the state of the old, by way of a file."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = make_optimizer([([vector], 0.01)], config(optimizer="adamw8bit"))
    again.load_state_dict(torch.load(file, weights_only=True))
    return again


def test_updates_too_small_for_bfloat16_add_up_in_the_copy() -> None:
    """AdamW's steps on a constant gradient are those of the rate, here 1/1000; below 1, bfloat16's are 1/256."""
    ends = {}
    for copied in (False, True):
        weight, masters = nn.Parameter(torch.ones(1, dtype=torch.bfloat16)), Masters()
        parameters = masters.of([weight]) if copied else [weight]
        optimizer = make_optimizer([(parameters, 0.001)], config())
        for _ in range(8):
            optimizer.zero_grad()
            weight.sum().backward()
            optimizer.step()
            masters.publish()
        ends[copied] = weight.item()
    assert ends == {False: 1.0, True: 0.9921875}  # 0.992, rounded to a multiple of 1/256


def test_gradients_add_up_in_the_copy_and_are_freed_at_once() -> None:
    """300 times 1: in bfloat16, whose steps above 256 are 2, the sum would stand still at 256."""
    weight, masters = nn.Parameter(torch.ones(1, dtype=torch.bfloat16)), Masters()
    (copy,) = masters.of([weight])
    for _ in range(300):
        weight.sum().backward()
        assert weight.grad is None
    assert copy.grad is not None
    assert copy.grad.tolist() == [300.0]


def test_what_is_wide_enough_is_stepped_itself() -> None:
    weight, masters = nn.Parameter(torch.ones(1)), Masters()
    assert masters.of([weight])[0] is weight
    assert masters.state() == {}


SAMPLES = [Sample((5, 6, 7), tuple(range(20 + row, 26 + row)), (1.0 - 2 * row,) * 6, 1 / 12, group=0, row=row) for row in range(2)]


def narrow(policy: Policy) -> Policy:
    policy.model.to(torch.bfloat16)  # type: ignore[arg-type]  # its stub knows no torch.dtype
    return policy


def learner(policy: Policy) -> Learner:
    return Learner(Models(policy), build(ObjectiveConfig(kl=0.0), 64), config(learning_rate=1e-4, master_weights=True), steps=4)


def test_a_learner_of_a_bfloat16_policy_steps_copies_and_goes_on_from_them(policy: Policy) -> None:
    one = learner(narrow(policy))
    before = [parameter.detach().clone() for parameter in one.parameters]
    one.update([SAMPLES], 0)
    assert {parameter.dtype for parameter in one.parameters} == {torch.float32}
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.bfloat16}
    assert all((new != old).any() for new, old in zip(one.parameters, before, strict=True))
    for parameter, wide in zip(policy.model.parameters(), one.parameters, strict=True):
        assert torch.equal(parameter, wide.to(torch.bfloat16))
    again = learner(policy)
    again.load_state(one.state())
    assert all(torch.equal(mine, other) for mine, other in zip(again.parameters, one.parameters, strict=True))
