"""The update is that of the whole batch however it is split, and refuses numbers that must not reach the weights."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from conftest import tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.errors import EngineError, TrainingError
from reasoning_rl.learner.learner import Learner
from reasoning_rl.objectives import build
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

LENGTHS = ((3, 9, 5, 1), (12, 2, 4, 7), (6, 6, 3, 8))
REWARDS = ((1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0), (1.0, 1.0, 0.1, 0.0))


def groups() -> list[Group]:
    made = []
    for index, (lengths, rewards) in enumerate(zip(LENGTHS, REWARDS, strict=True)):
        prompt = Prompt(Problem(f"p{index}", "t", "t", "q", "1"), "q", tuple(range(5 + index, 12 + 2 * index)))
        completions = tuple(Completion("", tuple(range(20 + row, 20 + row + n)), (-1.0,) * n) for row, n in enumerate(lengths))
        made.append(Group(prompt, completions, tuple(Verdict(reward) for reward in rewards)))
    return made


def arranged(kl: float = 0.0) -> list[Sample]:
    return build(ObjectiveConfig(kl=kl), 64).arrange(groups())


def learner(policy: Policy, kl: float = 0.0, reference: Policy | None = None, **settings: object) -> Learner:
    config = LearnerConfig.model_validate({"learning_rate": 0.01, "warmup_steps": 0, "max_grad_norm": 1e9, **settings})
    return Learner(policy, build(ObjectiveConfig(kl=kl), 64), config, steps=4, reference=reference)


def gradients(of: Learner) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in of.parameters if parameter.grad is not None]


def updated(tokenizer_folder: str, kl: float, tokens: int, samples: Sequence[Sample]) -> tuple[dict[str, float], list[torch.Tensor]]:
    policy = tiny_policy(tokenizer_folder)
    reference = tiny_policy(tokenizer_folder)
    with torch.no_grad():
        reference.model.get_output_embeddings().weight.mul_(1.01)
    one = learner(policy, kl, reference if kl else None, tokens_per_microbatch=tokens)
    return one.update([samples], 0), gradients(one)


@pytest.mark.parametrize("kl", [0.0, 0.04])
@pytest.mark.parametrize("tokens", [1, 40, 90])
def test_the_split_into_micro_batches_changes_nothing(tokenizer_folder: str, kl: float, tokens: int) -> None:
    samples = arranged(kl)
    whole, whole_gradient = updated(tokenizer_folder, kl, 100_000, samples)
    parts, parts_gradient = updated(tokenizer_folder, kl, tokens, samples)
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
    for mine, other in zip(parts_gradient, whole_gradient, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_the_first_gradient_is_that_of_the_papers_formula(policy: Policy) -> None:
    """On-policy, without clip and β: ∇J = Σ_i 1/(N|o_i|) Σ_t A_i ∇log π(o_it), arXiv:2402.03300 eq. 3 with ρ = 1."""
    samples = arranged()
    one = learner(policy)
    logp, _ = token_logprobs(policy, pack(samples))
    total = torch.zeros(())
    for sample, row in zip(samples, logp.split([len(sample.completion_ids) for sample in samples]), strict=True):
        total = total - sample.advantages[0] * row.mean() / 12  # N = 3 groups of 4
    total.backward()
    expected = [parameter.grad.clone() for parameter in one.parameters if parameter.grad is not None]
    one.update([samples], 0)
    for mine, other in zip(gradients(one), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_an_update_makes_right_answers_likelier_and_wrong_ones_less(policy: Policy) -> None:
    samples = arranged()
    before = token_logprobs(policy, pack(samples))[0].split([len(sample.completion_ids) for sample in samples])
    learner(policy, learning_rate=1e-4).update([samples], 0)
    after = token_logprobs(policy, pack(samples))[0].split([len(sample.completion_ids) for sample in samples])
    moved = sum(sample.advantages[0] * float((new - old).detach().mean()) for sample, old, new in zip(samples, before, after, strict=True))
    assert moved > 0


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped(policy: Policy) -> None:
    metrics = learner(policy).update([arranged()], 0)
    assert metrics["ratio"] == pytest.approx(1.0)
    assert metrics["clip_ratio/region"] == 0
    assert metrics["loss"] == pytest.approx(0.0, abs=1e-6)  # advantages of a group add up to 0
    assert metrics["grad_norm"] > 0


def test_a_second_epoch_leaves_the_old_policy(policy: Policy) -> None:
    metrics = learner(policy, epochs=2).update([arranged()], 0)
    assert metrics["ratio"] != pytest.approx(1.0, abs=1e-6)
    assert metrics["policy_kl"] > 0


def test_the_engines_logprobs_serve_as_old_ones_when_asked(policy: Policy) -> None:
    metrics = learner(policy, old_logprobs="engine").update([arranged()], 0)
    logp, _ = token_logprobs(policy, pack(arranged()))
    expected = (logp + 1.0).exp().mean().item()
    assert metrics["sampling/sampling_logp_difference/mean"] > 0
    assert metrics["ratio"] != pytest.approx(1.0)
    assert math.isfinite(expected)


def test_an_engine_without_logprobs_is_refused_when_they_are_asked_for(policy: Policy) -> None:
    silent = [replace(sample, sampled_logprobs=()) for sample in arranged()]
    with pytest.raises(EngineError, match=r"learner\.old_logprobs: 'engine', but this engine reports none"):
        learner(policy, old_logprobs="engine").update([silent], 0)


def test_no_signal_leaves_the_weights_alone(policy: Policy) -> None:
    one = learner(policy)
    before = [parameter.clone() for parameter in one.parameters]
    metrics = one.update([[]], 0)
    assert metrics["grad_norm"] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, one.parameters, strict=True))


def test_a_gradient_that_is_not_a_number_never_reaches_the_weights(policy: Policy) -> None:
    one = learner(policy)
    before = [parameter.clone() for parameter in one.parameters]
    broken = [replace(sample, weight=math.nan) for sample in arranged()]
    with pytest.raises(TrainingError, match="step 4: loss nan"):
        one.update([broken], 3)
    assert all(torch.equal(old, new) for old, new in zip(before, one.parameters, strict=True))


def test_the_learning_rate_follows_the_step(policy: Policy) -> None:
    one = learner(policy, warmup_steps=2, final_fraction=0.1)
    rates = [one.update([[]], step)["learning_rate"] for step in range(4)]
    assert rates == pytest.approx([0.005, 0.01, 0.0055, 0.001])
