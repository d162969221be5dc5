"""Imitation of right answers: which, with what weight, and the loss by hand."""

from math import log

import pytest
import torch
from torch import Tensor

from reasoning_rl.objectives.imitation import Imitation
from reasoning_rl.objectives.objective import Batch, Now
from reasoning_rl.objectives.weights import per_budget, per_sequence
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

V = 5
PROMPT = Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,))


def group(*answers: tuple[bool, list[int]]) -> Group:
    completions = tuple(Completion("", tuple(ids)) for _, ids in answers)
    return Group(PROMPT, completions, tuple(Verdict(0.0, correct=right) for right, _ in answers))


GROUPS = [
    group((True, [1, 2, 3]), (False, [4]), (True, [0])),
    group((False, [2]), (False, [1, 1])),
    group((True, [3, 3]), (True, [4, 0, 1, 2])),
]
RIGHT = {(0, 0): 3, (0, 2): 1, (2, 0): 2, (2, 1): 4}
"""Lengths of the right answers by group and row: 10 tokens in all."""


def test_right_answers_alone_are_kept_and_a_group_of_right_ones_teaches_too() -> None:
    samples = Imitation().arrange(GROUPS)
    assert {(sample.group, sample.row): len(sample.completion_ids) for sample in samples} == RIGHT
    assert {value for sample in samples for value in sample.advantages} == {1.0}
    assert {sample.weight for sample in samples} == {1 / 10}


def test_weights_are_over_the_right_answers() -> None:
    # 4 answers: 1/(4·|o|), and 1/(4·L)
    assert [sample.weight for sample in Imitation(per_sequence).arrange(GROUPS)] == [1 / 12, 1 / 4, 1 / 8, 1 / 16]
    assert {sample.weight for sample in Imitation(per_budget, budget=5).arrange(GROUPS)} == {1 / 20}


def test_nothing_right_teaches_nothing() -> None:
    assert Imitation().arrange(GROUPS[1:2]) == []
    assert Imitation().arrange([]) == []


def test_an_answer_without_tokens_is_left_out() -> None:
    assert Imitation().arrange([group((True, []))]) == []


def policy(seed: int) -> dict[tuple[int, int], Tensor]:
    """Logits of each right answer, (T, V): leaves."""
    random = torch.Generator().manual_seed(seed)
    return {key: torch.randn(length, V, generator=random, dtype=torch.float64).requires_grad_() for key, length in RIGHT.items()}


def raft_by_the_paper(logits: dict[tuple[int, int], Tensor], *, weight: str) -> Tensor:
    """−log-likelihood of the selected answers, arXiv:2304.06767, Algorithm 1, as a mean over tokens or over answers."""
    total = torch.zeros((), dtype=torch.float64)
    for (p, i), length in RIGHT.items():
        for t, token in enumerate(GROUPS[p].completions[i].token_ids):
            count = sum(RIGHT.values()) if weight == "token" else len(RIGHT) * length
            total = total - logits[p, i].softmax(-1)[t, token].log() / count
    return total


def loss_of(objective: Imitation, logits: dict[tuple[int, int], Tensor], samples: list[Sample]) -> Tensor:
    """Rows padded as a learner pads them; the policy's padding holds garbage."""
    T = max(len(sample.completion_ids) for sample in samples)
    mask_BT = torch.tensor([[t < len(sample.completion_ids) for t in range(T)] for sample in samples])
    logp_BT = torch.full(mask_BT.shape, float("nan"), dtype=torch.float64)
    logp_BT[mask_BT] = torch.cat(
        [logits[s.group, s.row].log_softmax(-1)[range(len(s.completion_ids)), list(s.completion_ids)] for s in samples]
    )
    weight_BT = torch.tensor([[sample.weight] for sample in samples], dtype=torch.float64) * mask_BT
    zeros_BT = torch.zeros_like(weight_BT)
    return objective.loss(Now(logp_BT, zeros_BT), Batch(mask_BT, mask_BT.double(), weight_BT, zeros_BT)).value


def assert_same(ours: Tensor, theirs: Tensor, logits: dict[tuple[int, int], Tensor]) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-10)
    for mine, other in zip(*(torch.autograd.grad(loss, list(logits.values())) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("objective", "weight"), [(Imitation(), "token"), (Imitation(per_sequence), "answer")])
def test_raft_is_the_papers(seed: int, objective: Imitation, weight: str) -> None:
    logits = policy(seed)
    assert_same(loss_of(objective, logits, objective.arrange(GROUPS)), raft_by_the_paper(logits, weight=weight), logits)


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2, 3, 1, 0]])
def test_micro_batches_and_row_order_change_nothing(order: list[int]) -> None:
    logits, objective = policy(4), Imitation()
    samples = objective.arrange(GROUPS)
    parts = [[samples[order[0]]], [samples[k] for k in order[1:]]]
    assert_same(torch.stack([loss_of(objective, logits, part) for part in parts]).sum(), loss_of(objective, logits, samples), logits)


def test_the_loss_is_the_mean_over_tokens_by_hand() -> None:
    # tokens of probability 1/2, 1/4 and 1/8: (1 + 2 + 3)/3·log 2
    logp_BT = torch.tensor([[log(0.5), log(0.25)], [log(0.125), 0.0]], dtype=torch.float64)
    mask_BT = torch.tensor([[True, True], [True, False]])
    batch = Batch(mask_BT, mask_BT.double(), mask_BT.double() / 3, torch.zeros(2, 2))
    loss = Imitation().loss(Now(logp_BT, torch.ones(2, 2)), batch)
    assert loss.value.item() == pytest.approx(2 * log(2), abs=1e-12)
    assert {name: value.item() for name, value in loss.sums.items()} == pytest.approx({"entropy": 3.0, "nll": 6 * log(2)}, abs=1e-12)
