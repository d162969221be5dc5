"""What the learner makes of answers that are an update old: the gradient of the formula, whichever way they are corrected for."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.objectives import build
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Group, Prompt, Sample, Verdict
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine

CAP, CLIP = 1.1, 0.1
Terms = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""log π_θ, with gradient, log π_θ/π_sampled, without, the same product of the whole answer, and A, of each token, to its part in J."""


def of_tokens(logp_M: Tensor, ratio_M: Tensor, whole_M: Tensor, advantage_M: Tensor) -> Tensor:
    """min(w, cap)·A·∇log π, w = π_θ/π_sampled: π_old is the policy itself, so the surrogate's own ratio is 1."""
    return ratio_M.clamp(max=CAP) * advantage_M * logp_M


def of_answers(logp_M: Tensor, ratio_M: Tensor, whole_M: Tensor, advantage_M: Tensor) -> Tensor:
    """The same with the weight of the whole answer."""
    return whole_M.clamp(max=CAP) * advantage_M * logp_M


def by_ratio(logp_M: Tensor, ratio_M: Tensor, whole_M: Tensor, advantage_M: Tensor) -> Tensor:
    """min(ρA, clip(ρ)A), ρ = π_θ/π_sampled, so that the clip acts in the first update too."""
    rho_M = ratio_M * (logp_M - logp_M.detach()).exp()
    return torch.minimum(rho_M * advantage_M, rho_M.clamp(1 - CLIP, 1 + CLIP) * advantage_M)


WAYS: dict[str, tuple[ObjectiveConfig, str, Terms]] = {
    "a weight for each token": (ObjectiveConfig(name="grpo", kl=0.0, correction="token", correction_cap=CAP), "learner", of_tokens),
    "a weight for each answer": (ObjectiveConfig(name="rloo", kl=0.0, correction="sequence", correction_cap=CAP), "learner", of_answers),
    "the objective's ratio": (ObjectiveConfig(name="grpo", kl=0.0, clip_low=CLIP, clip_high=CLIP), "engine", by_ratio),
}


def answered(policy: Policy, prompts: Sequence[Prompt]) -> list[Group]:
    """Four answers to each prompt, the first of them right."""
    answers = LocalEngine(policy).generate(prompts, Sampling(n=4, max_tokens=12))
    verdicts = tuple(Verdict(float(row == 0), correct=row == 0) for row in range(4))
    return [Group(prompt, tuple(row), verdicts) for prompt, row in zip(prompts, answers, strict=True)]


def update(policy: Policy) -> None:
    """Some other weights."""
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.mul_(1.1)


def by_hand(policy: Policy, samples: Sequence[Sample], terms: Terms) -> tuple[list[Tensor], Tensor]:
    """The gradient of −J, and the ratios of all tokens."""
    lengths = [len(sample.completion_ids) for sample in samples]
    logp_M = token_logprobs(policy, pack(samples))[0]
    log_M = logp_M.detach() - torch.tensor([logp for sample in samples for logp in sample.sampled_logprobs])
    whole_M = torch.cat([row.sum().exp().expand(len(row)) for row in log_M.split(lengths)])
    advantage_M = torch.tensor([advantage for sample in samples for advantage in sample.advantages])
    weight_M = torch.tensor([sample.weight for sample, length in zip(samples, lengths, strict=True) for _ in range(length)])
    (-weight_M * terms(logp_M, log_M.exp(), whole_M, advantage_M)).sum().backward()
    return taken(policy), log_M.exp()


def taken(policy: Policy) -> list[Tensor]:
    """The gradient, which is then gone."""
    gradient = [parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None]
    policy.model.zero_grad()
    return gradient


@pytest.mark.parametrize("way", WAYS)
def test_the_update_is_the_formulas(way: str, policy: Policy, prompts: list[Prompt]) -> None:
    config, old_logprobs, terms = WAYS[way]
    objective = build(config, 12)
    samples = objective.arrange(answered(policy, prompts))
    update(policy)
    expected, ratio_M = by_hand(policy, samples, terms)
    assert ratio_M.min() < 1 - CLIP < CAP < ratio_M.max()  # clip and cap are reached
    settings = {"old_logprobs": old_logprobs, "warmup_steps": 0, "max_grad_norm": 1e9}
    learned = Learner(Models(policy), objective, LearnerConfig.model_validate(settings), steps=2).update([samples], 0)
    for mine, other in zip(taken(policy), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)
    assert learned.metrics["sampling/importance_sampling_ratio/max"] == pytest.approx(float(ratio_M.max()), rel=1e-4)
