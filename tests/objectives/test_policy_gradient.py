"""What a policy gradient arranges, clips and reports, on batches small enough to check by hand."""

from math import inf, log, nan

import pytest
import torch
from torch import Tensor

from reasoning_rl.errors import TrainingError
from reasoning_rl.objectives.advantages import standardized
from reasoning_rl.objectives.objective import Batch
from reasoning_rl.objectives.policy_gradient import Clip, PolicyGradient, clipped
from reasoning_rl.objectives.ratios import token_ratio
from reasoning_rl.objectives.weights import per_budget, per_sequence
from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict

GRPO = PolicyGradient(standardized, per_sequence, Clip(0.2, 0.2))
WITH_KL = PolicyGradient(standardized, per_sequence, Clip(0.2, 0.2), kl=0.5)


def group(*answers: tuple[int, float], name: str = "toy/7") -> Group:
    """Answers as (number of tokens, reward)."""
    prompt = Prompt(Problem(name, "toy", "train", "?", "1"), "?", (8, 9))
    completions = tuple(Completion("", tuple(range(length)), (-0.5,) * length) for length, _ in answers)
    return Group(prompt, completions, tuple(Verdict(reward) for _, reward in answers))


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def batch(ratio: list[float], advantage: list[float], *, reference: Tensor | None = None) -> tuple[Tensor, Batch]:
    """A row of tokens now at log-probability log ratio − 1, at −1 when sampled; each weighs 1."""
    old_BT = row(*[-1.0] * len(ratio))
    mask_BT = torch.ones_like(old_BT, dtype=torch.bool)
    return old_BT + row(*ratio).log(), Batch(mask_BT, row(*advantage), torch.ones_like(old_BT), old_BT, reference_logp_BT=reference)


def test_sample_carries_its_answer_advantage_and_weight() -> None:
    right, wrong = GRPO.arrange([group((2, 1.0), (3, 0.0))])
    assert (right.prompt_ids, right.completion_ids, right.sampled_logprobs, right.group) == ((8, 9), (0, 1), (-0.5, -0.5), 0)
    # A = 0.5/(0.5 + 1e-6) on each token; weight 1/(2·2) and 1/(2·3)
    assert right.advantages == pytest.approx([1.0, 1.0], abs=3e-6)
    assert wrong.advantages == pytest.approx([-1.0] * 3, abs=3e-6)
    assert (right.weight, wrong.weight) == pytest.approx((1 / 4, 1 / 6), abs=1e-15)


def test_group_without_a_signal_is_left_out_and_still_counts_in_the_mean() -> None:
    samples = GRPO.arrange([group((1, 0.3), (1, 0.3)), group((1, 1.0), (1, 0.0))])
    assert [sample.group for sample in samples] == [1, 1]
    assert [sample.weight for sample in samples] == [1 / 4, 1 / 4]


def test_group_without_a_signal_stays_while_the_reference_pulls_on_it() -> None:
    samples = WITH_KL.arrange([group((1, 0.3), (1, 0.3)), group((1, 1.0), (1, 0.0))])
    assert [sample.group for sample in samples] == [0, 0, 1, 1]
    assert [sample.advantages for sample in samples[:2]] == [(0.0,), (0.0,)]


def test_batch_without_any_signal_has_no_samples() -> None:
    assert GRPO.arrange([group((1, 1.0), (4, 1.0))]) == []
    assert GRPO.arrange([]) == []


def test_answer_without_a_token_is_no_sample_and_counts_in_the_mean() -> None:
    (sample,) = GRPO.arrange([group((0, 0.0), (2, 1.0))])
    assert sample.weight == 1 / 4


def test_groups_may_differ_in_size() -> None:
    samples = GRPO.arrange([group((1, 1.0), (1, 0.0)), group((1, 1.0), (1, 0.0), (1, 0.0))])
    assert [sample.weight for sample in samples] == pytest.approx([1 / 5] * 5)


def test_budget_reaches_the_weights() -> None:
    samples = PolicyGradient(standardized, per_budget, Clip(0.2, 0.2), budget=10).arrange([group((1, 1.0), (3, 0.0))])
    assert [sample.weight for sample in samples] == [1 / 20, 1 / 20]


@pytest.mark.parametrize("reward", [nan, inf])
def test_reward_that_is_no_number_is_refused_with_its_problem(reward: float) -> None:
    with pytest.raises(TrainingError, match=r"problem toy/7: rewards must be finite numbers; found \(1\.0, (nan|inf)\)"):
        GRPO.arrange([group((1, 1.0), (1, reward))])


def test_reference_is_needed_for_a_kl_term_only() -> None:
    assert GRPO.needs == frozenset()
    assert WITH_KL.needs == {"reference"}


def test_missing_reference_is_said() -> None:
    logp_BT, rows = batch([1.0], [1.0])
    with pytest.raises(TrainingError, match="no log-probabilities of the reference"):
        WITH_KL.loss(logp_BT, torch.zeros_like(logp_BT), rows)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, -1.2),  # a good token is pushed up to 1 + ε
        (0.5, 1.0, -0.5),  # and always back up
        (0.5, -1.0, 0.8),  # a bad one is pushed down to 1 − ε
        (1.5, -1.0, 1.5),  # and always back down
    ],
)
def test_clip_takes_the_pessimistic_side(ratio: float, advantage: float, expected: float) -> None:
    assert clipped(row(ratio), row(advantage), Clip(0.2, 0.2)).item() == pytest.approx(expected)


def test_sides_of_the_clip_are_set_apart() -> None:
    wide_above = Clip(0.2, 0.28)
    assert clipped(row(1.5, 0.5), row(1.0, -1.0), wide_above).tolist() == [pytest.approx([-1.28, 0.8])]


def test_epsilon_above_one_has_no_lower_edge() -> None:
    assert clipped(row(1e-9, 20.0), row(-1.0, 1.0), Clip(10, 10)).tolist() == [pytest.approx([1e-9, -11.0])]


def test_infinite_clip_is_none() -> None:
    assert clipped(row(0.1, 50.0), row(-1.0, 1.0), Clip(inf, inf)).tolist() == [pytest.approx([0.1, -50.0])]


def test_clipped_token_has_no_gradient() -> None:
    ratio_BT = row(1.5, 1.1).requires_grad_()
    (grad,) = torch.autograd.grad(clipped(ratio_BT, row(1.0, 1.0), Clip(0.2, 0.2)).sum(), ratio_BT)
    assert grad.tolist() == [[0.0, -1.0]]


def test_clip_ratios_count_tokens_that_are_held_back() -> None:
    # beyond the edge and pushed outwards: token 0 above, token 2 below; 1 and 3 are pushed back in, 4 and 5 have no advantage
    logp_BT, rows = batch([1.5, 1.5, 0.5, 0.5, 1.5, 0.5, 1.0], [1, -1, -1, 1, 0, 0, 1])
    sums = GRPO.loss(logp_BT, torch.zeros_like(logp_BT), rows).sums
    assert [sums[f"clip_ratio/{side}"].item() for side in ("low", "high", "region")] == [1, 1, 2]


def test_sums_are_over_tokens_and_detached() -> None:
    # ratio 2: KL(π_old‖π_θ) ≈ 2 − 1 − ln 2; reference at e^-1, now 2e^-1: ρ = ½, k3 = ½ − 1 + ln 2
    logp_BT, rows = batch([2.0, 1.0], [1, 1], reference=row(-1.0, -1.0))
    sums = GRPO.loss(logp_BT.requires_grad_(), row(0.25, 0.5), rows).sums
    assert {name: sums[name].item() for name in ("ratio", "entropy", "policy_kl", "kl")} == pytest.approx(
        {"ratio": 3.0, "entropy": 0.75, "policy_kl": 1 - log(2), "kl": log(2) - 0.5}
    )
    assert not any(value.requires_grad for value in sums.values())


def test_without_a_reference_no_kl_is_reported() -> None:
    logp_BT, rows = batch([1.0], [1.0])
    assert "kl" not in GRPO.loss(logp_BT, torch.zeros_like(logp_BT), rows).sums


def test_padding_counts_nothing_whatever_stands_in_it() -> None:
    logp_BT = row(-1.0, nan).requires_grad_()
    rows = Batch(torch.tensor([[True, False]]), row(1, 0), row(1, 0), row(-1, 0), reference_logp_BT=row(-1, 0))
    loss = WITH_KL.loss(logp_BT, row(0.5, nan), rows)
    assert loss.value.item() == -1.0
    assert {name: value.item() for name, value in loss.sums.items() if value} == {"entropy": 0.5, "ratio": 1.0}
    assert torch.autograd.grad(loss.value, logp_BT)[0].tolist() == [[-1.0, 0.0]]


def test_on_policy_loss_is_zero_and_its_gradient_is_not() -> None:
    # why the FAQ says that a loss of 0 at step 1 is right: ratio 1, so −Σ weight·A over answers of one group, and ΣA = 0
    logp_BT = torch.tensor([[-1.0], [-2.0]], dtype=torch.float64, requires_grad=True)
    weight_BT, advantage_BT = torch.full((2, 1), 0.5), torch.tensor([[1.0], [-1.0]])
    rows = Batch(torch.ones(2, 1, dtype=torch.bool), advantage_BT, weight_BT, logp_BT.detach())
    loss = GRPO.loss(logp_BT, torch.zeros_like(logp_BT), rows).value
    assert loss.item() == 0.0
    assert torch.autograd.grad(loss, logp_BT)[0].tolist() == [[-0.5], [0.5]]


def test_token_ratio_is_one_where_nothing_changed() -> None:
    # e^(ln 0.5 − ln 0.25) = 2, and e^0 = 1
    logp_BT, old_BT = row(log(0.5), -3.0), row(log(0.25), -3.0)
    assert token_ratio(logp_BT, old_BT, torch.ones(1, 2, dtype=torch.bool)).tolist() == [pytest.approx([2.0, 1.0])]
