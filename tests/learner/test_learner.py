"""The update is that of the whole batch however it is split."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.errors import EngineError
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.objectives import build
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine

LENGTHS = ((3, 9, 5, 1), (12, 2, 4, 7), (6, 6, 3, 8))
PADDING = {"learner/padding", "learner/attention_padding"}
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
    return Learner(Models(policy, reference), build(ObjectiveConfig(kl=kl), 64), config, steps=4)


def gradients(of: Learner) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in of.parameters if parameter.grad is not None]


def updated(tokenizer_folder: str, kl: float, tokens: int, samples: Sequence[Sample]) -> tuple[dict[str, float], list[torch.Tensor]]:
    policy = tiny_policy(tokenizer_folder)
    reference = tiny_policy(tokenizer_folder)
    with torch.no_grad():
        reference.model.get_output_embeddings().weight.mul_(1.01)
    one = learner(policy, kl, reference if kl else None, tokens_per_microbatch=tokens)
    return one.update([samples], 0).metrics, gradients(one)


@pytest.mark.parametrize("kl", [0.0, 0.04])
@pytest.mark.parametrize("tokens", [1, 40, 90])
def test_the_split_into_micro_batches_changes_nothing(tokenizer_folder: str, kl: float, tokens: int) -> None:
    samples = arranged(kl)
    whole, whole_gradient = updated(tokenizer_folder, kl, 100_000, samples)
    parts, parts_gradient = updated(tokenizer_folder, kl, tokens, samples)
    for name in whole.keys() - PADDING:
        assert parts[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-6), name
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
    metrics = learner(policy).update([arranged()], 0).metrics
    assert metrics["ratio"] == pytest.approx(1.0)
    assert metrics["clip_ratio/region"] == 0
    assert metrics["loss"] == pytest.approx(0.0, abs=1e-6)  # advantages of a group add up to 0
    assert metrics["grad_norm"] > 0


def test_a_second_epoch_leaves_the_old_policy(policy: Policy) -> None:
    metrics = learner(policy, epochs=2).update([arranged()], 0).metrics
    assert metrics["ratio"] != pytest.approx(1.0, abs=1e-6)
    assert metrics["policy_kl"] > 0


def test_the_engines_logprobs_serve_as_old_ones_when_asked(policy: Policy) -> None:
    logp = token_logprobs(policy, pack(arranged()))[0].detach()
    metrics = learner(policy, old_logprobs="engine").update([arranged()], 0).metrics  # whose log-probabilities are all −1
    assert metrics["sampling/sampling_logp_difference/mean"] == pytest.approx((logp + 1.0).abs().mean().item(), rel=1e-4)
    assert metrics["ratio"] == pytest.approx((logp + 1.0).exp().mean().item(), rel=1e-4)


def mismatch(tokenizer_folder: str, batches: Sequence[Sequence[Sample]], **settings: Any) -> dict[str, float]:
    metrics = learner(tiny_policy(tokenizer_folder), **settings).update(batches, 0).metrics
    return {name: value for name, value in metrics.items() if name.startswith("sampling/")}


def test_the_mismatch_is_that_of_the_policy_before_the_update_in_every_split_of_it(tokenizer_folder: str) -> None:
    samples = arranged()
    expected = mismatch(tokenizer_folder, [samples])
    assert len(expected) == 9
    cut = [samples[:8], samples[8:]]
    splits: list[tuple[list[list[Sample]], dict[str, Any]]] = [
        ([samples], {"epochs": 2}), (cut, {}), (cut, {"epochs": 3, "tokens_per_microbatch": 40}),
    ]  # fmt: skip
    for batches, settings in splits:
        assert mismatch(tokenizer_folder, batches, **settings) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_mismatch_is_measured_where_the_engines_logprobs_are_the_old_ones_too(tokenizer_folder: str) -> None:
    expected = mismatch(tokenizer_folder, [arranged()])
    assert mismatch(tokenizer_folder, [arranged()], old_logprobs="engine") == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["grpo", "simpo", "raft"])
def test_an_engine_that_computes_what_the_learner_does_has_no_mismatch_but_rounding(
    name: str, policy: Policy, prompts: list[Prompt]
) -> None:
    answers = LocalEngine(policy).generate(prompts, Sampling(n=4, max_tokens=12))
    judged = [
        Group(prompt, tuple(row), tuple(Verdict(float(place == 0), correct=place == 0) for place in range(4)))
        for prompt, row in zip(prompts, answers, strict=True)
    ]
    objective = build(ObjectiveConfig(name=name, kl=0.0 if name == "grpo" else None), 12)
    metrics = Learner(Models(policy), objective, LearnerConfig(), steps=4).update([objective.arrange(judged)], 0).metrics
    assert metrics["sampling/sampling_logp_difference/max"] < 1e-4
    assert metrics["sampling/mismatch_kl"] < 1e-9
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-4)


def test_an_engine_that_reports_no_logprobs_has_no_mismatch_to_measure(tokenizer_folder: str) -> None:
    assert mismatch(tokenizer_folder, [[replace(sample, sampled_logprobs=()) for sample in arranged()]]) == {}


def test_an_engine_without_logprobs_is_refused_when_they_are_asked_for(policy: Policy) -> None:
    silent = [replace(sample, sampled_logprobs=()) for sample in arranged()]
    with pytest.raises(EngineError, match=r"learner\.old_logprobs: 'engine', but this engine reports none"):
        learner(policy, old_logprobs="engine").update([silent], 0)


def test_no_signal_leaves_the_weights_alone(policy: Policy) -> None:
    one = learner(policy)
    before = [parameter.clone() for parameter in one.parameters]
    metrics = one.update([[]], 0).metrics
    assert metrics["grad_norm"] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, one.parameters, strict=True))


def test_without_a_batch_nothing_is_learned_and_nothing_breaks(policy: Policy) -> None:
    one = learner(policy)
    assert one.update([], 0).advantages == []
    assert one.update([[], []], 0).advantages == [[], []]
    assert one.update([], 0).metrics["learner/tokens"] == 0


def test_a_batch_without_a_sample_is_no_optimiser_step(tokenizer_folder: str) -> None:
    alone, beside = learner(tiny_policy(tokenizer_folder)), learner(tiny_policy(tokenizer_folder))
    expected, learned = alone.update([arranged()], 0), beside.update([[], arranged()], 0)
    assert learned.advantages == [[], expected.advantages[0]]
    assert learned.metrics["grad_norm"] == pytest.approx(expected.metrics["grad_norm"], rel=1e-4)
    for mine, other in zip(beside.parameters, alone.parameters, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_it_says_what_each_answer_was_worth(policy: Policy) -> None:
    samples = arranged()
    (said,) = learner(policy).update([samples], 0).advantages
    assert said == [pytest.approx(sample.advantages[0]) for sample in samples]


def with_reference(tokenizer_folder: str) -> Learner:
    """GRPO whose reference is renewed every 2 steps."""
    return learner(tiny_policy(tokenizer_folder), 0.04, tiny_policy(tokenizer_folder), reference_every=2)


def distance(one: Learner) -> float:
    """How far the reference is from the policy."""
    assert one.models.reference is not None
    theirs = one.models.reference.model.state_dict()
    return max(float((mine - theirs[name]).abs().max()) for name, mine in one.models.policy.model.state_dict().items())


def test_the_policy_becomes_the_reference_every_so_many_steps(tokenizer_folder: str) -> None:
    one, samples = with_reference(tokenizer_folder), arranged(0.04)
    distances = []
    for step in range(3):
        kl = one.update([samples], step).metrics["kl"]
        distances.append((kl, distance(one)))
    # step 0: the reference is the policy it begins with; step 1: one update away; step 2: renewed before anything is computed
    assert distances[0][0] == pytest.approx(0, abs=1e-6)
    assert distances[1][0] > 1e-4
    assert distances[2][0] == pytest.approx(0, abs=1e-6)
    assert distances[1][1] > distances[0][1] > 0
    assert one.update([[]], 4).metrics["grad_norm"] == 0  # with nothing to learn too
    assert distance(one) == 0


def test_without_a_number_of_steps_the_reference_stays(tokenizer_folder: str) -> None:
    one = learner(tiny_policy(tokenizer_folder), 0.04, tiny_policy(tokenizer_folder))
    for step in range(4):
        one.update([arranged(0.04)], step)
    assert one.models.reference is not None
    for mine, first in zip(one.models.reference.model.parameters(), tiny_policy(tokenizer_folder).model.parameters(), strict=True):
        assert torch.equal(mine, first)
    assert "reference" not in one.state()


def test_a_renewed_reference_survives_a_checkpoint(tokenizer_folder: str) -> None:
    one, samples = with_reference(tokenizer_folder), arranged(0.04)
    for step in range(4):
        one.update([samples], step)
    later = with_reference(tokenizer_folder)
    later.models.policy.model.load_state_dict(one.models.policy.model.state_dict())
    later.load_state(deepcopy(one.state()))
    assert distance(later) == distance(one) > 0
    assert later.update([samples], 5).metrics == one.update([samples], 5).metrics


def test_metrics_stand_in_one_order_whatever_the_hash_seed(policy: Policy) -> None:
    names = list(learner(policy).update([arranged()], 0).metrics)
    assert names[:2] == ["loss", "grad_norm"]
    assert names[-2:] == ["guards/skipped_updates", "learning_rate"]


def test_the_learning_rate_follows_the_step(policy: Policy) -> None:
    one = learner(policy, warmup_steps=2, final_fraction=0.1)
    rates = [(one.update([[]], step).metrics["learning_rate"], one.optimizer.param_groups[0]["lr"]) for step in range(4)]
    assert [said for said, _ in rates] == pytest.approx([0.005, 0.01, 0.0055, 0.001])
    assert [used for _, used in rates] == [said for said, _ in rates]
