"""Sampler against learner, token by token, by hand."""

import math
from collections.abc import Mapping
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from reasoning_rl.learner.mismatch import KL, Mismatch, Watch, measured
from reasoning_rl.learner.parallel import ALONE, Ranks

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
LOG2 = math.log(2)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_figures_of_four_tokens() -> None:
    """Ratios 1, 1, 2 and 1/2. k3 is r − 1 − log r: 0, 0, 1 − log 2 and −1/2 + log 2, which add up to 1/2."""
    assert measured(numbers(0, 0, LOG2, -LOG2)) == pytest.approx(
        {
            KL: 0.5 / 4,
            "sampling/sampling_logp_difference/mean": LOG2 / 2,
            "sampling/sampling_logp_difference/max": LOG2,
            "sampling/sampling_logp_difference/p50": LOG2 / 2,  # halfway between the second and the third of 0, 0, log 2, log 2
            "sampling/sampling_logp_difference/p95": LOG2,
            "sampling/sampling_logp_difference/p99": LOG2,
            "sampling/importance_sampling_ratio/min": 0.5,
            "sampling/importance_sampling_ratio/mean": 4.5 / 4,
            "sampling/importance_sampling_ratio/max": 2.0,
        }
    )


def test_quantiles_are_those_of_all_tokens() -> None:
    # differences 0 … 100, some below zero: the size of the k-th is k
    found = measured(torch.arange(101, dtype=torch.float64) * torch.tensor([1.0, -1.0]).repeat(51)[:101] / 1000)
    assert [found[f"sampling/sampling_logp_difference/p{q}"] for q in (50, 95, 99)] == pytest.approx([0.05, 0.095, 0.099])


def test_the_kl_is_that_of_the_distributions_in_expectation() -> None:
    """Sampler (1/2, 1/4, 1/4), learner (1/4, 1/4, 1/2): KL(sampler‖learner) = ½ log 2 − ¼ log 2; tokens are drawn as often as that."""
    sampler, learner = numbers(0.5, 0.5, 0.25, 0.25), numbers(0.25, 0.25, 0.25, 0.5)
    assert measured((learner / sampler).log())[KL] == pytest.approx(0.25 * LOG2)


def test_what_rounding_leaves_is_still_told_apart_from_nothing() -> None:
    """k3 is about d²/2; in single precision exp(d) − 1 − d would be lost."""
    assert measured(numbers(1e-6, -1e-6))[KL] == pytest.approx(5e-13, rel=1e-3)


def test_no_tokens_have_no_figures() -> None:
    assert Mismatch().metrics(ALONE) == {}
    silent = Mismatch()
    silent.add(torch.zeros(1, 2), None, torch.ones(1, 2, dtype=torch.bool))
    assert silent.metrics(ALONE) == {}


LEARNER, SAMPLER = torch.tensor([[-1.0, -2.0], [-3.0, 7.0]]), torch.tensor([[-1.5, -2.0], [-2.0, 9.0]])
MASK = torch.tensor([[True, True], [True, False]])


def test_padding_counts_for_nothing() -> None:
    mismatch = Mismatch()
    mismatch.add(LEARNER, SAMPLER, MASK)
    assert mismatch.metrics(ALONE) == measured(numbers(0.5, 0.0, -1.0))


class Two(Ranks):
    """Two processes, of which the first has a token with a difference of 1."""

    def merge(self, mine: Mapping[_Key, _Value]) -> dict[_Key, _Value]:
        theirs: dict[object, object] = {0: numbers(1.0)}
        return {**theirs, **mine}  # type: ignore[dict-item]


def test_micro_batches_and_processes_add_up() -> None:
    parts = Mismatch()
    parts.add(LEARNER[:1], SAMPLER[:1], MASK[:1])
    parts.add(LEARNER[1:], SAMPLER[1:], MASK[1:])
    assert parts.metrics(Two(rank=1, size=2)) == measured(numbers(1.0, 0.5, 0.0, -1.0))
    assert Mismatch().metrics(Two(rank=1, size=2)) == measured(numbers(1.0))  # this process had no share


def test_a_mismatch_above_the_limit_is_said_once_and_marked_each_time() -> None:
    said: list[str] = []
    watch = Watch(0.01, said.append)
    marks = [watch.look(step, {KL: kl}) for step, kl in enumerate([0.009, 0.02, 0.001, 0.5, math.nan])]
    assert [mark["sampling/mismatch_high"] for mark in marks] == [0, 1, 0, 1, 1]
    (line,) = said
    assert "Step 1: sampler and learner disagree by a KL of 0.02 nats a token, which is above 0.01" in line
    assert "train.warn_mismatch_kl" in line
    assert "objective.correction=token (with learner.old_logprobs=learner) corrects it" in line


@pytest.mark.parametrize(("stale", "advice"), [(0.0, "allows for it, within its cap"), (1.0, "an update old, which the objective allows")])
def test_who_reckons_with_the_mismatch_is_not_told_to(stale: float, advice: str) -> None:
    said: list[str] = []
    Watch(0.01, said.append, reckoned=True).look(3, {KL: 0.02, "sampling/staleness": stale})
    assert advice in said[0]
    assert "correction" not in said[0]


def test_without_a_limit_or_a_figure_nothing_is_said() -> None:
    said: list[str] = []
    assert Watch(None, said.append).look(0, {KL: 9.0}) == {}
    assert Watch(0.01, said.append).look(0, {}) == {}
    assert said == []
