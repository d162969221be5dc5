"""A number that is not finite never reaches the weights, and the samples it comes from are named."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from conftest import tiny_policy
from test_learner import arranged, learner
from torch import Tensor

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.learner.batch import key_of, micro_batch
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.learner.offenders import apart
from reasoning_rl.learner.worker import Open, Prepare, Update, Worker
from reasoning_rl.objectives import build
from reasoning_rl.objectives.objective import Batch, Loss, Now, Objective
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy
from reasoning_rl.policy.values import ValueModel
from reasoning_rl.records import Group, Sample

KEYS = sorted(map(key_of, arranged()))


def broken(samples: Sequence[Sample], *keys: tuple[int, int]) -> list[Sample]:
    """Those of the keys count for no number."""
    return [replace(sample, weight=math.nan) if key_of(sample) in keys else sample for sample in samples]


def weights(of: Learner) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in [*of.parameters, *of.value_parameters]]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_such_an_update_leaves_weights_and_moments_alone(policy: Policy) -> None:
    one = learner(policy, tokens_per_microbatch=40)
    one.update([arranged()], 0)
    before = weights(one)
    moments = [{name: value.clone() for name, value in state.items()} for state in one.optimizer.state.values()]
    learned = one.update([broken(arranged(), (1, 2))], 1)
    assert same(weights(one), before)
    for state, old in zip(one.optimizer.state.values(), moments, strict=True):
        assert all(torch.equal(state[name], value) for name, value in old.items())
    (skipped,) = learned.skipped
    assert (skipped.batch, skipped.found, skipped.rows) == (0, "loss nan, grad_norm nan", ((1, 2),))
    assert learned.metrics["guards/skipped_updates"] == 1
    assert math.isnan(learned.metrics["loss"])
    assert math.isnan(learned.metrics["grad_norm"])
    assert one.update([arranged()], 2).skipped == ()  # it goes on


def test_the_next_update_knows_nothing_of_a_skipped_one(tokenizer_folder: str) -> None:
    tried, plain = learner(tiny_policy(tokenizer_folder)), learner(tiny_policy(tokenizer_folder))
    tried.update([broken(arranged(), (0, 0))], 0)
    assert tried.update([arranged()], 1).metrics == plain.update([arranged()], 1).metrics
    assert same(weights(tried), weights(plain))


def test_the_updates_that_were_made_are_reported_as_if_alone(tokenizer_folder: str) -> None:
    first, second = arranged()[:8], arranged()[8:]
    learned = learner(tiny_policy(tokenizer_folder), epochs=2).update([broken(first, (0, 1), (1, 3)), second], 0)
    # π_old is the policy before the update in both cases, since neither has a single update
    alone = learner(tiny_policy(tokenizer_folder), epochs=2).update([[], second], 0)
    assert [(one.batch, one.rows) for one in learned.skipped] == [(0, ((0, 1), (1, 3)))] * 2  # in each epoch
    assert learned.metrics == {**alone.metrics, "guards/skipped_updates": 2}
    assert alone.metrics["guards/skipped_updates"] == 0


def test_a_gradient_that_alone_is_not_finite_is_enough(policy: Policy) -> None:
    one, before = learner(policy), [parameter.clone() for parameter in policy.model.parameters()]
    policy.model.get_output_embeddings().weight.register_hook(lambda gradient: gradient * math.inf)
    (skipped,) = one.update([arranged()], 0).skipped
    assert skipped.found == "grad_norm nan"
    assert list(skipped.rows) == KEYS
    assert same(weights(one), before)


FORBIDDEN = 31
"""A token that a policy gives no probability at all. Row r of a group holds tokens 20 + r, 21 + r, … of its length: see `groups`."""


def forbidding(policy: Policy, packing: Packing, **settings: object) -> tuple[Tensor, Tensor]:
    logp_M, entropy_M = token_logprobs(policy, packing, **settings)  # type: ignore[arg-type]
    tokens_M = packing.predicted_M[: len(logp_M)]
    return logp_M.masked_fill(tokens_M == FORBIDDEN, -math.inf), entropy_M


def test_an_infinite_log_probability_is_seen_where_the_loss_is_finite(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """π_θ/π_old = 0 with A < 0: the clipped branch, 0.8·A, is taken, and its gradient is 0."""
    samples = [replace(sample, advantages=(-1.0,) * len(sample.completion_ids)) for sample in arranged()]
    one = learner(policy, old_logprobs="engine")
    before = weights(one)
    monkeypatch.setattr("reasoning_rl.learner.learner.token_logprobs", forbidding)
    (skipped,) = one.update([samples], 0).skipped
    # of lengths 3 9 5 1 | 12 2 4 7 | 6 6 3 8 only (1, 0), with tokens 20 … 31, holds it
    assert skipped.found == "tokens with a log-probability that is not finite: 1"
    assert skipped.rows == ((1, 0),)
    assert same(weights(one), before)


def test_one_of_the_reference_is_seen_too(tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = tiny_policy(tokenizer_folder)
    one = learner(tiny_policy(tokenizer_folder), 0.04, reference)
    monkeypatch.setattr(
        "reasoning_rl.learner.learner.token_logprobs",
        lambda policy, *given, **settings: (forbidding if policy is reference else token_logprobs)(policy, *given, **settings),
    )
    (skipped,) = one.update([arranged(0.04)], 0).skipped
    assert "tokens with a log-probability that is not finite: 1" in skipped.found
    assert skipped.rows == ((1, 0),)


@dataclass(frozen=True)
class Gregarious(Objective):
    """Its loss is a number for one row alone, and none for several together."""

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        return build(ObjectiveConfig(kl=0.0), 64).arrange(groups)

    def loss(self, now: Now, batch: Batch) -> Loss:
        return Loss(now.logp_BT.sum() * (1.0 if len(batch.mask_BT) == 1 else math.nan))


def test_where_none_stands_out_all_are_named(policy: Policy) -> None:
    one = Learner(Models(policy), Gregarious(), LearnerConfig(), steps=1)
    (skipped,) = one.update([arranged()], 0).skipped
    assert list(skipped.rows) == KEYS


def test_a_pair_has_one_loss_and_is_named_whole(policy: Policy) -> None:
    objective = build(ObjectiveConfig(name="simpo", pairs=1), 64)
    samples = [replace(sample, row=row) for row, sample in enumerate(arranged()[:4])]  # pairs of rows 0, 1 and 2, 3
    (skipped,) = Learner(Models(policy), objective, LearnerConfig(), steps=1).update([broken(samples, (0, 2))], 0).skipped
    assert skipped.rows == ((0, 2), (0, 3))


def test_a_value_that_is_no_number_stops_the_value_model_too(tokenizer_folder: str) -> None:
    value = ValueModel(tiny_policy(tokenizer_folder))
    one = Learner(
        Models(tiny_policy(tokenizer_folder), None, value), build(ObjectiveConfig(name="ppo", kl=0.0), 64), LearnerConfig(), steps=1
    )
    with torch.no_grad():
        value.head.weight.fill_(math.nan)
    before = weights(one)
    (skipped,) = one.update([arranged()], 0).skipped
    assert "value/grad_norm nan" in skipped.found
    assert all(torch.equal(new, old) or new.isnan().all() for new, old in zip(weights(one), before, strict=True))


def test_rows_apart_are_those_of_a_micro_batch_of_their_own() -> None:
    samples = arranged()
    for piece, sample in zip(apart(micro_batch(samples, torch.device("cpu"))), samples, strict=True):
        alone = micro_batch([sample], torch.device("cpu"))
        assert piece.samples == [sample]
        assert torch.equal(piece.packing.ids_N, alone.packing.ids_N)
        for name in ("mask_BT", "advantage_BT", "weight_BT", "old_logp_BT", "sampled_logp_BT"):
            assert torch.equal(getattr(piece.batch, name), getattr(alone.batch, name)), name


@dataclass(frozen=True)
class Weights:
    """Of a worker's policy."""

    def __call__(self, worker: Worker) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in worker.policy.model.parameters()]


@pytest.mark.slow
def test_all_processes_skip_together_and_name_the_rows_of_all(tokenizer_folder: str, tmp_path: Path) -> None:
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    folder, cpu = str(tmp_path / "policy"), PolicyConfig(device="cpu", autocast="off")
    with Crew(2) as crew:
        crew.everyone(Open(folder, cpu, SamplingConfig()))
        crew.everyone(Prepare(ObjectiveConfig(kl=0.0), LearnerConfig(warmup_steps=0), SamplingConfig(), cpu, steps=2, reference=folder))
        before = crew.everyone(Weights())
        first, second = crew.everyone(Update([broken(arranged(), (0, 1), (2, 2))], 0))  # two of the three groups, which two workers share
        assert [one.rows for one in first.skipped] == [((0, 1), (2, 2))]
        assert first.skipped == second.skipped
        assert all(map(same, crew.everyone(Weights()), before))
