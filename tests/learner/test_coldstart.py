from typing import Literal

import pytest
import torch
from conftest import tiny_policy

from reasoning_rl.config import ColdStartConfig
from reasoning_rl.errors import DataError, ModelError, TrainingError
from reasoning_rl.learner.coldstart import Memory, batches, cold_start, make_optimizers, samples_of
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Demonstration

# the same prompt and answer but for one token each
DEMONSTRATIONS = [Demonstration(f"d{n}", "…", "…", (5, 6, 20 + n), (30, 31, 40 + n, 32)) for n in range(1, 9)]


def config(**settings: object) -> ColdStartConfig:
    return ColdStartConfig.model_validate({"steps": 12, "batch_size": 4, "warmup_steps": 2, **settings})


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_loss_falls(tokenizer_folder: str, optimizer: Literal["muon", "adamw"]) -> None:
    losses: list[float] = []
    settings = config(optimizer=optimizer, learning_rate=0.01, steps=16)
    cold_start(tiny_policy(tokenizer_folder), DEMONSTRATIONS, settings, seed=0, on_step=lambda _, loss: losses.append(loss))
    assert len(losses) == 16
    assert losses[-1] < losses[0] / 2


def test_equal_seeds_give_equal_weights(tokenizer_folder: str) -> None:
    made = [tiny_policy(tokenizer_folder) for _ in range(3)]
    for policy, seed in zip(made, (1, 1, 2), strict=True):
        cold_start(policy, DEMONSTRATIONS, config(steps=3), seed=seed)
    first, second, other = (policy.model.state_dict()["model.embed_tokens.weight"] for policy in made)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_only_the_completion_and_its_end_are_learned(policy: Policy) -> None:
    (sample,) = samples_of(policy, DEMONSTRATIONS[:1])
    assert sample.prompt_ids == (5, 6, 21)
    assert sample.completion_ids == (30, 31, 41, 32, policy.tokenizer.eos_token_id)


def test_a_pass_takes_each_demonstration_once_and_passes_differ(policy: Policy) -> None:
    samples = samples_of(policy, DEMONSTRATIONS)
    made = batches(samples, config(steps=4), seed=0)
    first, second = ([sample.group for batch in half for sample in batch] for half in (made[:2], made[2:]))
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second


def test_muon_steps_the_matrices_inside_the_layers_alone(policy: Policy) -> None:
    adamw, muon = make_optimizers(policy.model, config())
    inside = {id(parameter) for group in muon.param_groups for parameter in group["params"]}
    named = dict(policy.model.named_parameters())
    assert id(named["model.layers.0.self_attn.q_proj.weight"]) in inside
    assert id(named["model.embed_tokens.weight"]) not in inside
    assert sum(len(group["params"]) for group in (*adamw.param_groups, *muon.param_groups)) == len(named)


def test_no_demonstrations_is_an_error_that_says_what_to_do(policy: Policy) -> None:
    with pytest.raises(DataError, match=r"set cold_start\.enabled=false and name a pretrained policy\.model"):
        cold_start(policy, [], config(), seed=0)


def test_demonstrations_that_outgrow_the_context_are_left_out(policy: Policy) -> None:
    long = Demonstration("long", "…", "…", (5,) * 100, (6,) * 28)  # 128 tokens and the end are one too many
    assert len(samples_of(policy, [*DEMONSTRATIONS, long])) == 8
    with pytest.raises(DataError, match="longer than the policy's context of 128 tokens"):
        samples_of(policy, [long])


def test_a_loss_that_is_not_a_number_is_an_error(policy: Policy) -> None:
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="cold start, step 1: the loss is nan"):
        cold_start(policy, DEMONSTRATIONS, config(), seed=0)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(policy: Policy, optimizer: str) -> None:
    """Though the loss is, and though it is the last step, after which no loss would tell."""
    before = [parameter.clone() for parameter in policy.model.parameters()]
    policy.model.get_output_embeddings().weight.register_hook(lambda gradient: gradient * torch.inf)
    made: list[int] = []
    with pytest.raises(
        TrainingError, match=r"step 1: the loss is \d.* its gradient (nan|inf), so this step was not made; lower cold_start"
    ):
        cold_start(policy, DEMONSTRATIONS, config(steps=1, optimizer=optimizer), seed=0, on_step=lambda step, _: made.append(step))
    assert made == []
    assert all(torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))


def test_micro_batches_change_nothing(tokenizer_folder: str) -> None:
    made = [tiny_policy(tokenizer_folder) for _ in range(2)]
    for policy, tokens in zip(made, (10, 10_000), strict=True):
        cold_start(policy, DEMONSTRATIONS, config(steps=2, optimizer="adamw"), seed=0, memory=Memory(tokens))
    first, second = (policy.model.state_dict() for policy in made)
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-3, atol=1e-4)


def test_a_tokenizer_without_an_end_is_refused(policy: Policy) -> None:
    policy.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="its tokenizer has no token that ends a sequence"):
        samples_of(policy, DEMONSTRATIONS)
