"""GRPO and Dr. GRPO in float64 against their papers' formulas, written as the loops that the sums are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, log
from statistics import fmean, pstdev

import pytest
import torch
from torch import Tensor

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.objectives import build
from reasoning_rl.objectives.objective import Batch, Objective
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

V = 5
"""Words of the toy vocabulary."""
BUDGET = 9
EPSILON = 1e-6
"""Of `standardized`; the paper has none."""
PROMPT = Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,))


@dataclass(frozen=True)
class Case:
    """Answers to P questions, G each, with their rewards and what three policies say of them."""

    tokens: list[list[list[int]]]
    rewards: list[list[float]]
    logits: dict[tuple[int, int], Tensor]
    """Of the policy, (T, V) per answer: leaves."""
    old: dict[tuple[int, int], list[float]]
    reference: dict[tuple[int, int], list[float]]

    def groups(self) -> list[Group]:
        return [_group(tokens, rewards) for tokens, rewards in zip(self.tokens, self.rewards)]

    def places(self) -> list[tuple[int, int]]:
        return [(p, i) for p, group in enumerate(self.tokens) for i in range(len(group))]

    def logp(self, key: tuple[int, int]) -> Tensor:
        p, i = key
        return self.logits[key].log_softmax(-1)[range(len(self.tokens[p][i])), self.tokens[p][i]]


def _group(tokens: list[list[int]], rewards: list[float]) -> Group:
    return Group(PROMPT, tuple(Completion("", tuple(ids)) for ids in tokens), tuple(Verdict(reward) for reward in rewards))


def case(seed: int, *, spread: float = 0.5, G: int = 4) -> Case:
    """Three questions with ragged answers of 1 to 7 tokens; those to the last have all the same reward.

    `spread`: how far the logits of π_old and π_ref lie from the policy's.
    """
    random = torch.Generator().manual_seed(seed)
    keys = [(p, i) for p in range(3) for i in range(G)]
    lengths = {key: int(torch.randint(1, 8, (), generator=random)) for key in keys}
    logits = {key: torch.randn(lengths[key], V, generator=random, dtype=torch.float64).requires_grad_() for key in keys}
    tokens = {key: torch.randint(0, V, (lengths[key],), generator=random).tolist() for key in keys}

    def near(key: tuple[int, int]) -> list[float]:
        moved = logits[key].detach() + spread * torch.randn(lengths[key], V, generator=random, dtype=torch.float64)
        return [float(moved.log_softmax(-1)[t, token]) for t, token in enumerate(tokens[key])]

    return Case(
        tokens=[[tokens[p, i] for i in range(G)] for p in range(3)],
        rewards=[[1.0, *[0.0] * (G - 1)], [0.1 * i for i in range(G)], [0.1 * 3] * G],
        logits=logits,
        old={key: near(key) for key in keys},
        reference={key: near(key) for key in keys},
    )


def grpo_by_the_paper(case: Case, *, epsilon: float, beta: float) -> Tensor:
    """−J of eq. 3 with the D_KL of eq. 4, arXiv:2402.03300; the expectation over questions is their mean."""
    J = torch.zeros((), dtype=torch.float64)
    for p, rewards in enumerate(case.rewards):
        G = len(rewards)
        for i in range(G):
            constant = len(set(rewards)) == 1
            A = 0.0 if constant else (rewards[i] - fmean(rewards)) / (pstdev(rewards) + EPSILON)
            logp = case.logp((p, i))
            for t in range(len(logp)):
                r = (logp[t] - case.old[p, i][t]).exp()
                bounded = r.clamp(1 - epsilon, 1 + epsilon)
                rho = exp(case.reference[p, i][t]) / logp[t].exp()
                kl = rho - rho.log() - 1
                J = J + (torch.min(r * A, bounded * A) - beta * kl) / len(logp) / G / len(case.rewards)
    return -J


def dr_grpo_by_the_paper(case: Case, *, epsilon: float, beta: float) -> Tensor:
    """−J of Dr. GRPO, arXiv:2503.20783, §3: no standard deviation, a constant in place of |o|, and no KL."""
    assert beta == 0
    J = torch.zeros((), dtype=torch.float64)
    for p, rewards in enumerate(case.rewards):
        for i, reward in enumerate(rewards):
            A = reward - fmean(rewards)
            logp = case.logp((p, i))
            for t in range(len(logp)):
                r = (logp[t] - case.old[p, i][t]).exp()
                J = J + torch.min(r * A, r.clamp(1 - epsilon, 1 + epsilon) * A) / BUDGET / len(rewards) / len(case.rewards)
    return -J


def gradients(loss: Tensor, case: Case) -> list[Tensor]:
    found = torch.autograd.grad(loss, [case.logits[key] for key in case.places()], allow_unused=True)
    return [torch.zeros_like(case.logits[key]) if grad is None else grad for key, grad in zip(case.places(), found)]


def rows(case: Case, objective: Objective) -> list[tuple[tuple[int, int], Sample]]:
    """The arranged samples, each with the answer it came from."""
    keys = {(p, tuple(case.tokens[p][i])): (p, i) for p, i in case.places()}
    assert len(keys) == len(case.places()), "the answers of a toy case must differ"
    return [(keys[sample.group, sample.completion_ids], sample) for sample in objective.arrange(case.groups())]


def loss_of(case: Case, objective: Objective, chosen: Sequence[tuple[tuple[int, int], Sample]]) -> Tensor:
    """The objective's loss on some of its rows, padded as a learner pads them; the policy's padding holds garbage."""
    T = max(len(sample.completion_ids) for _, sample in chosen)

    def padded(values: Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor([[*row, *[0.0] * (T - len(row))] for row in values], dtype=torch.float64)

    mask_BT = padded([[1.0] * len(sample.completion_ids) for _, sample in chosen]).bool()
    logp_BT = torch.stack(
        [torch.nn.functional.pad(case.logp(key), (0, T - len(s.completion_ids)), value=float("nan")) for key, s in chosen]
    )
    batch = Batch(
        mask_BT=mask_BT,
        advantage_BT=padded([sample.advantages for _, sample in chosen]),
        weight_BT=padded([[sample.weight] * len(sample.completion_ids) for _, sample in chosen]),
        old_logp_BT=padded([case.old[key] for key, _ in chosen]),
        reference_logp_BT=padded([case.reference[key] for key, _ in chosen]) if "reference" in objective.needs else None,
    )
    return objective.loss(logp_BT, torch.zeros_like(logp_BT), batch).value


def objective(name: str = "grpo", *, beta: float = 0.04, epsilon: float = 0.2) -> Objective:
    return build(ObjectiveConfig(name=name, kl=beta, clip_low=epsilon, clip_high=epsilon), BUDGET)


def assert_equal(ours: tuple[Tensor, list[Tensor]], theirs: tuple[Tensor, list[Tensor]], tolerance: float) -> None:
    assert ours[0].item() == pytest.approx(theirs[0].item(), abs=tolerance)
    for mine, paper in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(mine, paper, atol=tolerance, rtol=0)


def both(case: Case, loss: Tensor) -> tuple[Tensor, list[Tensor]]:
    return loss, gradients(loss, case)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "paper", "beta", "epsilon", "spread", "G"),
    [
        ("grpo", grpo_by_the_paper, 0.04, 0.2, 0.5, 4),
        ("grpo", grpo_by_the_paper, 0.0, 0.2, 0.5, 4),
        ("grpo", grpo_by_the_paper, 0.001, 10.0, 3.0, 4),  # R1's ε: no lower edge, and ratios wide enough for the upper one
        ("grpo", grpo_by_the_paper, 0.04, 0.2, 0.0, 4),  # on-policy and at the reference
        ("grpo", grpo_by_the_paper, 0.04, 0.2, 0.5, 2),
        ("dr_grpo", dr_grpo_by_the_paper, 0.0, 0.2, 0.5, 4),
    ],
)
def test_loss_and_gradient_are_the_papers(
    seed: int, name: str, paper: Callable[..., Tensor], beta: float, epsilon: float, spread: float, G: int
) -> None:
    toy, ours = case(seed, spread=spread, G=G), objective(name, beta=beta, epsilon=epsilon)
    theirs = paper(toy, epsilon=epsilon, beta=beta)
    assert_equal(both(toy, loss_of(toy, ours, rows(toy, ours))), both(toy, theirs), 1e-10)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo"])
@pytest.mark.parametrize("split", [[1] * 12, [5, 7], [1, 3, 8]])
def test_micro_batches_and_row_order_change_nothing(name: str, split: list[int]) -> None:
    toy, ours = case(4), objective(name, beta=0.04)
    arranged = rows(toy, ours)
    shuffled = [arranged[k] for k in torch.randperm(len(arranged), generator=torch.Generator().manual_seed(0)).tolist()]
    ends = list(accumulate(split))
    in_parts = torch.stack([loss_of(toy, ours, shuffled[end - size : end]) for size, end in zip(split, ends)]).sum()
    assert_equal(both(toy, in_parts), both(toy, loss_of(toy, ours, arranged)), 1e-12)


def test_order_of_groups_changes_nothing() -> None:
    toy, ours = case(5), objective()
    turned = replace(
        toy,
        tokens=toy.tokens[::-1],
        rewards=toy.rewards[::-1],
        logits={(2 - p, i): value for (p, i), value in toy.logits.items()},
        old={(2 - p, i): value for (p, i), value in toy.old.items()},
        reference={(2 - p, i): value for (p, i), value in toy.reference.items()},
    )
    assert loss_of(turned, ours, rows(turned, ours)).item() == pytest.approx(loss_of(toy, ours, rows(toy, ours)).item(), abs=1e-12)


def test_gradient_coefficient_is_that_of_appendix_a_1_6() -> None:
    # on-policy dJ/dlogp = weight·(A + β(π_ref/π_θ − 1)): one of two right, one token each, so A = ±1 (less epsilon) and weight = 1/2
    beta, logp = 0.5, torch.tensor([[log(0.5)], [log(0.25)]], dtype=torch.float64, requires_grad=True)
    batch = Batch(
        mask_BT=torch.ones(2, 1, dtype=torch.bool),
        advantage_BT=torch.tensor([[1.0], [-1.0]], dtype=torch.float64),
        weight_BT=torch.full((2, 1), 0.5, dtype=torch.float64),
        old_logp_BT=logp.detach(),
        reference_logp_BT=torch.tensor([[log(0.25)], [log(0.75)]], dtype=torch.float64),
    )
    objective(beta=beta).loss(logp, torch.zeros(2, 1), batch).value.backward()  # torch's own
    assert logp.grad is not None
    # −½(1 + ½(½ − 1)) = −0.375 and −½(−1 + ½(3 − 1)) = 0
    assert logp.grad.flatten().tolist() == pytest.approx([-0.375, 0.0], abs=1e-12)
