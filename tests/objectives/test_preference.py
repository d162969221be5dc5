"""DPO and SimPO in float64 against their papers' formulas, and pairs by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log

import pytest
import torch
from conftest import tiny_policy
from torch import Tensor

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import TrainingError
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.objectives.objective import Batch, Loss, Now, Objective
from reasoning_rl.objectives.preference import Preference, mean_margin, reference_margin
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

V = 5
"""Words of the toy vocabulary."""
PROMPT = Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,))
DPO, SIMPO = Preference(reference_margin, beta=0.1), Preference(mean_margin, beta=2.0, gap=1.0)


def group(*answers: tuple[bool, int]) -> Group:
    """Answers that are right or wrong, of so many tokens."""
    completions = tuple(Completion("", tuple(range(length))) for _, length in answers)
    return Group(PROMPT, completions, tuple(Verdict(float(right), correct=right) for right, _ in answers))


def rows(samples: Sequence[Sample]) -> list[tuple[int, int, int]]:
    """Group, right row and wrong row of each pair."""
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    assert all(right.group == wrong.group for right, wrong in pairs)
    return [(right.group, right.row, wrong.row) for right, wrong in pairs]


def test_right_answers_are_paired_with_wrong_ones_of_their_own_group() -> None:
    groups = [group((False, 1), (True, 2), (True, 3), (False, 1)), group((True, 1), (False, 1), (False, 2))]
    samples = DPO.arrange(groups)
    assert rows(samples) == [(0, 1, 0), (0, 2, 3), (1, 0, 1)]
    assert [sample.advantages for sample in samples] == [(1, 1), (-1,), (1, 1, 1), (-1,), (1,), (-1,)]
    assert {sample.weight for sample in samples} == {1 / 3}


@pytest.mark.parametrize("right", [True, False])
def test_a_group_of_one_kind_gives_no_pair(right: bool) -> None:
    assert DPO.arrange([group((right, 1), (right, 2))]) == []


def test_one_right_of_eight_is_one_pair() -> None:
    assert rows(DPO.arrange([group((True, 1), *[(False, 1)] * 7)])) == [(0, 0, 1)]


def test_no_more_pairs_than_asked_for() -> None:
    many = group(*[(True, 1), (False, 1)] * 10)
    assert len(rows(DPO.arrange([many]))) == 8
    assert rows(Preference(mean_margin, pairs=2).arrange([many])) == [(0, 0, 1), (0, 2, 3)]


def test_an_answer_without_tokens_is_in_no_pair() -> None:
    assert rows(DPO.arrange([group((True, 0), (True, 2), (False, 0), (False, 3))])) == [(0, 1, 3)]


def test_matched_lengths_pair_the_nearest_first() -> None:
    # right 10 (row 0) and 4 (row 1); wrong 5 (2), 9 (3) and 30 (4): differences |10−9| = |4−5| = 1
    uneven = group((True, 10), (True, 4), (False, 5), (False, 9), (False, 30))
    assert rows(Preference(mean_margin, match_lengths=True).arrange([uneven])) == [(0, 0, 3), (0, 1, 2)]
    assert rows(Preference(mean_margin).arrange([uneven])) == [(0, 0, 2), (0, 1, 3)]


def test_matched_lengths_use_no_answer_twice() -> None:
    # 7 is nearest to both 7 and 8; the exact match takes it, and 8 gets what is left
    assert rows(Preference(mean_margin, match_lengths=True).arrange([group((True, 8), (True, 7), (False, 7), (False, 1))])) == [
        (0, 1, 2),
        (0, 0, 3),
    ]


def test_only_dpo_needs_a_reference() -> None:
    assert DPO.needs == {"pairs", "reference"}
    assert SIMPO.needs == {"pairs"}


@dataclass(frozen=True)
class Case:
    """Groups of right and wrong answers, and what two policies say of them by (group, row)."""

    groups: list[Group]
    logits: dict[tuple[int, int], Tensor]
    """Of the policy, (T, V): leaves."""
    reference: dict[tuple[int, int], Tensor]

    def logp(self, key: tuple[int, int]) -> Tensor:
        ids = self.groups[key[0]].completions[key[1]].token_ids
        return self.logits[key].log_softmax(-1)[range(len(ids)), list(ids)]


def case(seed: int) -> Case:
    """Two questions with pairs, of answers of 1 to 7 tokens, and one without."""
    random = torch.Generator().manual_seed(seed)
    kinds = [[True, False, False, True], [False, True, False, False], [True, True]]
    groups, logits, reference = [], {}, {}
    for p, right in enumerate(kinds):
        answers = [torch.randint(0, V, (int(torch.randint(1, 8, (), generator=random)),), generator=random).tolist() for _ in right]
        for i, ids in enumerate(answers):
            logits[p, i] = torch.randn(len(ids), V, generator=random, dtype=torch.float64).requires_grad_()
            near = logits[p, i].detach() + torch.randn(len(ids), V, generator=random, dtype=torch.float64)
            reference[p, i] = near.log_softmax(-1)[range(len(ids)), ids]
        groups.append(
            Group(PROMPT, tuple(Completion("", tuple(ids)) for ids in answers), tuple(Verdict(0.0, correct=is_right) for is_right in right))
        )
    return Case(groups, logits, reference)


PAIRS = [(0, 0, 1), (0, 3, 2), (1, 1, 0)]
"""Of the case, by hand: group, right, wrong."""


def dpo_by_the_paper(case: Case, *, beta: float) -> Tensor:
    """Eq. 7 of arXiv:2305.18290; the expectation over pairs is their mean."""
    total = torch.zeros((), dtype=torch.float64)
    for p, y_w, y_l in PAIRS:
        log_ratio_w = sum((case.logp((p, y_w))[t] - case.reference[p, y_w][t] for t in range(len(case.logp((p, y_w))))), torch.zeros(()))
        log_ratio_l = sum((case.logp((p, y_l))[t] - case.reference[p, y_l][t] for t in range(len(case.logp((p, y_l))))), torch.zeros(()))
        total = total - (1 / (1 + (-(beta * log_ratio_w - beta * log_ratio_l)).exp())).log() / len(PAIRS)
    return total


def simpo_by_the_paper(case: Case, *, beta: float, gamma: float) -> Tensor:
    """Eq. 6 of arXiv:2405.14734."""
    total = torch.zeros((), dtype=torch.float64)
    for p, y_w, y_l in PAIRS:
        r_w = beta / len(case.logp((p, y_w))) * sum(case.logp((p, y_w)), torch.zeros(()))
        r_l = beta / len(case.logp((p, y_l))) * sum(case.logp((p, y_l)), torch.zeros(()))
        total = total - (1 / (1 + (-(r_w - r_l - gamma)).exp())).log() / len(PAIRS)
    return total


def loss_of(case: Case, objective: Objective, samples: Sequence[Sample]) -> Loss:
    """Rows padded as a learner pads them; the policy's padding holds garbage."""
    T = max(len(sample.completion_ids) for sample in samples)
    keys = [(sample.group, sample.row) for sample in samples]

    def padded(rows: Sequence[Tensor], value: float = 0.0) -> Tensor:
        return torch.stack([torch.nn.functional.pad(row, (0, T - len(row)), value=value) for row in rows])

    ones = [torch.ones(len(sample.completion_ids), dtype=torch.float64) for sample in samples]
    logp_BT = padded([case.logp(key) for key in keys], float("nan"))
    batch = Batch(
        mask_BT=padded(ones).bool(),
        advantage_BT=padded([torch.tensor(sample.advantages, dtype=torch.float64) for sample in samples]),
        weight_BT=padded([sample.weight * one for sample, one in zip(samples, ones)]),
        old_logp_BT=padded([case.logp(key).detach() for key in keys]),
        reference_logp_BT=padded([case.reference[key] for key in keys]) if "reference" in objective.needs else None,
    )
    return objective.loss(Now(logp_BT, torch.zeros_like(logp_BT)), batch)


def gradients(loss: Tensor, case: Case) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(case.logits.values()), materialize_grads=True))


def assert_same(ours: Tensor, theirs: Tensor, case: Case, tolerance: float) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=tolerance)
    for mine, other in zip(gradients(ours, case), gradients(theirs, case), strict=True):
        torch.testing.assert_close(mine, other, atol=tolerance, rtol=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dpo_is_the_papers(seed: int) -> None:
    toy = case(seed)
    assert_same(loss_of(toy, DPO, DPO.arrange(toy.groups)).value, dpo_by_the_paper(toy, beta=0.1), toy, 1e-10)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simpo_is_the_papers(seed: int) -> None:
    toy = case(seed)
    assert_same(loss_of(toy, SIMPO, SIMPO.arrange(toy.groups)).value, simpo_by_the_paper(toy, beta=2.0, gamma=1.0), toy, 1e-10)


@pytest.mark.parametrize("objective", [DPO, SIMPO])
@pytest.mark.parametrize("split", [[1, 1, 1], [2, 1], [1, 2]])
def test_micro_batches_and_the_order_of_pairs_change_nothing(objective: Preference, split: list[int]) -> None:
    toy = case(4)
    samples = objective.arrange(toy.groups)
    pairs = [samples[start : start + 2] for start in (4, 0, 2)]
    parts = [[sample for pair in pairs[end - size : end] for sample in pair] for size, end in zip(split, accumulate(split))]
    in_parts = torch.stack([loss_of(toy, objective, part).value for part in parts]).sum()
    assert_same(in_parts, loss_of(toy, objective, samples).value, toy, 1e-12)


def two_answers() -> tuple[Tensor, Batch]:
    """A right answer of two tokens, each of probability 1/2, and a wrong one of one token, 1/4; the reference gives 1/4 to each token."""
    logp_BT = torch.tensor([[log(0.5), log(0.5)], [log(0.25), 0.0]], dtype=torch.float64, requires_grad=True)
    mask_BT = torch.tensor([[True, True], [True, False]])
    reference_BT = log(0.25) * mask_BT.double()
    return logp_BT, Batch(mask_BT, mask_BT.double(), mask_BT.double(), logp_BT.detach(), reference_logp_BT=reference_BT)


def test_dpo_of_one_pair_by_hand() -> None:
    # log-ratios 2·log 2 and 0; β 1/2: margin log 2, −log σ(log 2) = log(3/2); slope −(1 − 2/3)·β = −1/6 on each token of the right answer
    logp_BT, batch = two_answers()
    loss = Preference(reference_margin, beta=0.5).loss(Now(logp_BT, torch.zeros(2, 2)), batch)
    loss.value.backward()
    assert loss.value.item() == pytest.approx(log(1.5), abs=1e-15)
    assert logp_BT.grad is not None
    assert logp_BT.grad.flatten().tolist() == pytest.approx([-1 / 6, -1 / 6, 1 / 6, 0], abs=1e-15)


def test_simpo_of_one_pair_by_hand() -> None:
    # means log 1/2 and log 1/4; β 2: margin 2·log 2 = log 4, less γ log 2: log 2 again; slope −(1/3)·β/|y| = −1/3 a token and 2/3
    logp_BT, batch = two_answers()
    loss = Preference(mean_margin, beta=2.0, gap=log(2)).loss(Now(logp_BT, torch.zeros(2, 2)), batch)
    loss.value.backward()
    assert loss.value.item() == pytest.approx(log(1.5), abs=1e-15)
    assert logp_BT.grad is not None
    assert logp_BT.grad.flatten().tolist() == pytest.approx([-1 / 3, -1 / 3, 2 / 3, 0], abs=1e-15)


def test_what_is_reported_counts_a_pair_by_its_tokens() -> None:
    # three tokens in the pair; rewards β·log-ratio: ½·2·log 2 = log 2 and 0; KL by k3 of ρ = ½ on two tokens: ½ − 1 + log 2 each
    logp_BT, batch = two_answers()
    sums = Preference(reference_margin, beta=0.5).loss(Now(logp_BT, torch.ones(2, 2)), batch).sums
    expected = {"chosen": 3 * log(2), "rejected": 0.0, "margin": 3 * log(2), "accuracy": 3.0}
    assert {name: value.item() for name, value in sums.items()} == pytest.approx(
        {f"preference/{name}": value for name, value in expected.items()} | {"entropy": 3.0, "kl": 2 * (log(2) - 0.5)}, abs=1e-12
    )


def test_a_hopeless_pair_keeps_its_gradient() -> None:
    # margin −2000: σ is 0 in floating point, the loss still 2000 and its slope −β
    logp_BT = torch.tensor([[-2000.0], [0.0]], requires_grad=True)
    batch = Batch(torch.ones(2, 1, dtype=torch.bool), torch.ones(2, 1), torch.ones(2, 1), logp_BT.detach())
    loss = Preference(mean_margin, beta=1.0).loss(Now(logp_BT, torch.zeros(2, 1)), batch).value
    loss.backward()
    assert loss.item() == 2000.0
    assert logp_BT.grad is not None
    assert logp_BT.grad.flatten().tolist() == [-1.0, 1.0]


def test_at_the_reference_every_margin_is_zero() -> None:
    # −log σ(0) = log 2
    toy = case(5)
    same = Case(toy.groups, toy.logits, {key: toy.logp(key).detach() for key in toy.logits})
    assert exp(loss_of(same, DPO, DPO.arrange(same.groups)).value.item()) == pytest.approx(2, abs=1e-12)


def test_a_missing_reference_is_named() -> None:
    logp_BT = torch.zeros(2, 1)
    batch = Batch(torch.ones(2, 1, dtype=torch.bool), logp_BT, logp_BT, logp_BT)
    with pytest.raises(TrainingError, match="reference model"):
        DPO.loss(Now(logp_BT, logp_BT), batch)


@pytest.mark.parametrize("objective", [DPO, SIMPO])
def test_the_learner_keeps_pairs_together_however_small_its_micro_batches(objective: Preference, tokenizer_folder: str) -> None:
    samples = objective.arrange([group((True, 5), (False, 9), (False, 3), (True, 7)), group((False, 4), (True, 2))])
    whole = one_update(objective, samples, tokenizer_folder, tokens=4096)
    assert whole["grad_norm"] > 0
    for tokens in (1, 40):
        assert one_update(objective, samples, tokenizer_folder, tokens) == pytest.approx(whole, rel=1e-4, abs=1e-6)  # single precision


def one_update(objective: Preference, samples: Sequence[Sample], tokenizer_folder: str, tokens: int) -> dict[str, float]:
    """Metrics of an update of the tiny policy, whose reference has other weights; not those of the packing."""
    policy, reference = tiny_policy(tokenizer_folder), tiny_policy(tokenizer_folder)
    with torch.no_grad():
        for parameter in reference.model.parameters():
            parameter.mul_(0.9)
    config = LearnerConfig(tokens_per_microbatch=tokens, warmup_steps=0)
    learner = Learner(Models(policy, reference if "reference" in objective.needs else None), objective, config, steps=1)
    metrics = learner.update([samples], 0).metrics
    return {name: value for name, value in metrics.items() if not name.endswith("padding")}
