"""The value model beside the policy: what it says, what it learns, and that it survives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import tiny_policy
from torch import Tensor

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.errors import EngineError
from reasoning_rl.learner.learner import Learned, Learner, Models
from reasoning_rl.objectives import build
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.policy.values import ValueModel
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

LENGTHS = ((3, 9, 5, 1), (12, 2, 4, 7), (6, 6, 3, 8))
REWARDS = ((1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0), (1.0, 1.0, 1.0, 1.0))


def samples() -> list[Sample]:
    groups = []
    for index, (lengths, rewards) in enumerate(zip(LENGTHS, REWARDS, strict=True)):
        prompt = Prompt(Problem(f"p{index}", "t", "t", "q", "1"), "q", tuple(range(5 + index, 12 + 2 * index)))
        completions = tuple(Completion("", tuple(range(20 + row, 20 + row + n))) for row, n in enumerate(lengths))
        groups.append(Group(prompt, completions, tuple(map(Verdict, rewards))))
    return build(ObjectiveConfig(name="ppo"), 64).arrange(groups)


Make = Callable[..., Learner]


@pytest.fixture
def make(tokenizer_folder: str) -> Make:
    """Learners that all begin alike, with a reference a little off the policy. Settings of the objective are in `objective`."""

    def made(objective: dict[str, object] | None = None, **settings: object) -> Learner:
        reference = tiny_policy(tokenizer_folder)
        with torch.no_grad():
            reference.model.get_output_embeddings().weight.mul_(1.01)
        config = LearnerConfig.model_validate({"learning_rate": 1e-3, "warmup_steps": 0, "final_fraction": 1.0, **settings})
        built = build(ObjectiveConfig.model_validate({"name": "ppo", **(objective or {})}), 64)
        value = ValueModel(tiny_policy(tokenizer_folder))
        return Learner(Models(tiny_policy(tokenizer_folder), reference, value), built, config, steps=8)

    return made


def values_of(model: ValueModel, rows: list[Sample]) -> list[Tensor]:
    with torch.no_grad():
        return list(model(pack(rows)).split([len(row.completion_ids) for row in rows]))


def gradients(of: Learner) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in [*of.parameters, *of.value_parameters] if parameter.grad is not None]


@pytest.fixture
def value(policy: Policy) -> ValueModel:
    """One that says something."""
    model = ValueModel(policy)
    with torch.no_grad():
        model.head.weight.copy_(torch.linspace(-1, 1, 32)[None])
    return model


def test_it_foretells_0_before_it_has_learned(policy: Policy) -> None:
    assert all(row.eq(0).all() for row in values_of(ValueModel(policy), samples()))


def test_it_sees_the_tokens_before_and_none_after(value: ValueModel) -> None:
    row = samples()[1]
    other = replace(row, completion_ids=(*row.completion_ids[:4], 99, *row.completion_ids[5:]))
    one, two = values_of(value, [row])[0], values_of(value, [other])[0]
    torch.testing.assert_close(one[:5], two[:5])  # before token 4, what it is makes no difference
    assert all((one[5:] - two[5:]).abs() > 1e-4)


def test_company_in_the_micro_batch_makes_no_difference(value: ValueModel) -> None:
    rows = samples()
    for row, together in zip(rows, values_of(value, rows), strict=True):
        torch.testing.assert_close(values_of(value, [row])[0], together, rtol=1e-4, atol=1e-5)


def test_the_first_update_starts_from_values_of_0(make: Make) -> None:
    # γ 1, λ 1, V 0 and no KL: the return of every token is its answer's reward, and the loss ½R²
    metrics = make({"kl": 0.0, "lam": 1.0}).update([samples()], 0).metrics
    mean = sum(len(row.completion_ids) * row.reward for row in samples()) / sum(len(row.completion_ids) for row in samples())
    assert metrics["value/mean"] == 0
    assert metrics["value/return"] == pytest.approx(mean)
    assert metrics["value/loss"] == pytest.approx(mean / 2)  # R is 0 or 1, so R² = R
    assert metrics["ratio"] == pytest.approx(1)
    assert metrics["value/grad_norm"] > 0


def test_the_first_gradient_of_the_policy_is_that_of_the_reward_whitened(make: Make, policy: Policy) -> None:
    """With V = 0, γ = λ = 1 and no KL every token has Â = R; ∇J = Σ Â ∇log π / Σ|o|, with ρ = 1."""
    rows, one = samples(), make({"kl": 0.0, "lam": 1.0}, max_grad_norm=1e9)
    rewards = torch.cat([torch.full((len(row.completion_ids),), row.reward) for row in rows])
    advantages = (rewards - rewards.mean()) / rewards.std(correction=0)
    (-(advantages * token_logprobs(policy, pack(rows))[0]).mean()).backward()
    one.update([rows], 0)
    for mine, expected in zip(one.parameters, policy.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-3, atol=1e-4)


def test_updates_teach_it_what_to_expect(make: Make) -> None:
    one = make({"kl": 0.0, "lam": 1.0, "value_clip": 10.0})
    losses = [one.update([samples()], step).metrics["value/loss"] for step in range(8)]
    assert losses[1] < losses[0]
    assert losses[-1] < 0.8 * losses[0]


def test_it_learns_where_the_policy_has_nothing_to_learn(make: Make) -> None:
    one = make({"kl": 0.0, "lam": 1.0}, max_grad_norm=1e9)
    before = [parameter.clone() for parameter in one.parameters]
    right = [row for row in samples() if row.group == 2]
    one.update([right], 0)  # all right, and V 0: advantages are all the same
    assert all(torch.equal(old, new) for old, new in zip(before, one.parameters, strict=True))
    assert one.models.value is not None
    assert torch.cat(values_of(one.models.value, right)).mean() > 0


@pytest.mark.parametrize("tokens", [1, 40, 90])
def test_the_split_into_micro_batches_changes_nothing(make: Make, tokens: int) -> None:
    whole, parts = make(tokens_per_microbatch=100_000, max_grad_norm=1e9), make(tokens_per_microbatch=tokens, max_grad_norm=1e9)
    expected, found = whole.update([samples()], 0), parts.update([samples()], 0)
    for name in expected.metrics.keys() - {"learner/padding", "learner/attention_padding"}:
        assert found.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-3, abs=1e-6), name
    assert found.advantages == [[pytest.approx(number, rel=1e-3, abs=1e-4) for number in row] for row in expected.advantages]
    for mine, other in zip(gradients(parts), gradients(whole), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_every_batch_is_whitened_by_itself(make: Make) -> None:
    rows = samples()
    cut = [rows[:4], [], rows[4:]]
    learned = make(epochs=2).update(cut, 0)
    for batch, said in zip(cut, learned.advantages, strict=True):
        assert sum(len(row.completion_ids) * mean for row, mean in zip(batch, said, strict=True)) == pytest.approx(0, abs=1e-9)


def test_a_second_epoch_moves_away_from_old_values_and_policy(make: Make) -> None:
    metrics = make(epochs=2).update([samples()], 0).metrics
    assert metrics["ratio"] != pytest.approx(1, abs=1e-7)
    assert metrics["value/mean"] == 0  # of before the update, in both epochs
    assert metrics["policy_kl"] > 0


def test_the_engines_logprobs_are_the_old_ones_when_asked(make: Make) -> None:
    rows = [replace(row, sampled_logprobs=(-1.0,) * len(row.completion_ids)) for row in samples()]
    one = make(old_logprobs="engine")
    logp = token_logprobs(one.models.policy, pack(rows))[0].detach()
    assert one.update([rows], 0).metrics["ratio"] == pytest.approx((logp + 1).exp().mean().item(), rel=1e-4)
    with pytest.raises(EngineError, match="this engine reports none"):
        make(old_logprobs="engine").update([samples()], 0)


def test_it_has_a_learning_rate_of_its_own(make: Make) -> None:
    one = make(learning_rate=1e-12, value_learning_rate=1e-2)
    before = [parameter.clone() for parameter in one.parameters]
    one.update([samples()], 0)
    assert all(torch.allclose(old, new, rtol=0, atol=1e-9) for old, new in zip(before, one.parameters, strict=True))
    assert one.models.value is not None
    assert one.models.value.head.bias.item() == pytest.approx(1e-2, rel=1e-3)  # Adam's first step is the rate itself


def test_both_rates_follow_the_schedule(make: Make) -> None:
    one = make(learning_rate=0.1, value_learning_rate=0.4, warmup_steps=2)
    one.update([], 0)  # half way up
    assert [group["lr"] for group in one.optimizer.param_groups] == pytest.approx([0.05, 0.2])


def test_it_survives_a_checkpoint(make: Make, tmp_path: Path) -> None:
    one, later = make(), make()
    for step in range(2):
        one.update([samples()], step)
    torch.save(one.state(), tmp_path / "training.pt")
    later.models.policy.model.load_state_dict(one.models.policy.model.state_dict())
    later.load_state(torch.load(tmp_path / "training.pt", weights_only=True))
    assert learned(later) == learned(one)
    for mine, other in zip([*later.parameters, *later.value_parameters], [*one.parameters, *one.value_parameters], strict=True):
        assert torch.equal(mine, other)


def learned(one: Learner) -> Learned:
    return one.update([samples()], 2)
