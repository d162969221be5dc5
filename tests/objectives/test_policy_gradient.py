"""What a policy gradient arranges, clips and reports, on batches small enough to check by hand."""

from dataclasses import replace
from math import inf, log, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reasoning_rl.errors import EngineError, TrainingError
from reasoning_rl.objectives import OBJECTIVES
from reasoning_rl.objectives.advantages import Baseline, centered, unchanged
from reasoning_rl.objectives.corrections import Beyond, Level
from reasoning_rl.objectives.divergences import k2
from reasoning_rl.objectives.objective import Batch, Before, Now
from reasoning_rl.objectives.policy_gradient import PolicyGradient
from reasoning_rl.objectives.ratios import sequence_ratio, sequence_token_ratio, token_ratio
from reasoning_rl.objectives.surrogates import Clip, clipped, reweighted, score
from reasoning_rl.objectives.weights import per_budget, per_token
from reasoning_rl.records import Completion, Group, Part, Problem, Prompt, Sample, StepReward, Verdict

GRPO = PolicyGradient()
WITH_KL = PolicyGradient(kl=0.5)
KL_IN_REWARD = PolicyGradient(scale="none", kl=0.5, kl_in="reward")


def group(*answers: tuple[int, float], name: str = "toy/7", cut_off: int | None = None) -> Group:
    """Answers as (number of tokens, reward); the one of index `cut_off` came to its limit."""
    prompt = Prompt(Problem(name, "toy", "train", "?", "1"), "?", (8, 9))
    completions = tuple(
        Completion("", tuple(range(length)), (-0.5,) * length, "length" if i == cut_off else "stop")
        for i, (length, _) in enumerate(answers)
    )
    return Group(prompt, completions, tuple(Verdict(reward) for _, reward in answers))


def now_of(logp_BT: Tensor, entropy_BT: Tensor | None = None) -> Now:
    return Now(logp_BT, torch.zeros_like(logp_BT) if entropy_BT is None else entropy_BT)


def surrogate(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    return clipped(ratio, ratio.log(), advantage, clip)


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
    samples = PolicyGradient(weight=per_budget, budget=10).arrange([group((1, 1.0), (3, 0.0))])
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
    with pytest.raises(TrainingError, match="needs log-probabilities of the reference model, and the batch has none"):
        WITH_KL.loss(now_of(logp_BT), rows)


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
    assert surrogate(row(ratio), row(advantage), Clip(0.2, 0.2)).item() == pytest.approx(expected)


def test_sides_of_the_clip_are_set_apart() -> None:
    wide_above = Clip(0.2, 0.28)
    assert surrogate(row(1.5, 0.5), row(1.0, -1.0), wide_above).tolist() == [pytest.approx([-1.28, 0.8])]


def test_epsilon_above_one_has_no_lower_edge() -> None:
    assert surrogate(row(1e-9, 20.0), row(-1.0, 1.0), Clip(10, 10)).tolist() == [pytest.approx([1e-9, -11.0])]


def test_infinite_clip_is_none() -> None:
    assert surrogate(row(0.1, 50.0), row(-1.0, 1.0), Clip(inf, inf)).tolist() == [pytest.approx([0.1, -50.0])]


def test_clipped_token_has_no_gradient() -> None:
    ratio_BT = row(1.5, 1.1).requires_grad_()
    (grad,) = torch.autograd.grad(surrogate(ratio_BT, row(1.0, 1.0), Clip(0.2, 0.2)).sum(), ratio_BT)
    assert grad.tolist() == [[0.0, -1.0]]


def test_clip_ratios_count_tokens_that_are_held_back() -> None:
    # beyond the edge and pushed outwards: token 0 above, token 2 below; 1 and 3 are pushed back in, 4 and 5 have no advantage
    logp_BT, rows = batch([1.5, 1.5, 0.5, 0.5, 1.5, 0.5, 1.0], [1, -1, -1, 1, 0, 0, 1])
    sums = GRPO.loss(now_of(logp_BT), rows).sums
    assert [sums[f"clip_ratio/{side}"].item() for side in ("low", "high", "region")] == [1, 1, 2]


def test_sums_are_over_tokens_and_detached() -> None:
    # ratio 2: KL(π_old‖π_θ) ≈ 2 − 1 − ln 2; reference at e^-1, now 2e^-1: ρ = ½, k3 = ½ − 1 + ln 2
    logp_BT, rows = batch([2.0, 1.0], [1, 1], reference=row(-1.0, -1.0))
    sums = GRPO.loss(now_of(logp_BT.requires_grad_(), row(0.25, 0.5)), rows).sums
    assert {name: sums[name].item() for name in ("ratio", "entropy", "policy_kl", "kl")} == pytest.approx(
        {"ratio": 3.0, "entropy": 0.75, "policy_kl": 1 - log(2), "kl": log(2) - 0.5}
    )
    assert not any(value.requires_grad for value in sums.values())


def test_without_a_reference_no_kl_is_reported() -> None:
    logp_BT, rows = batch([1.0], [1.0])
    assert "kl" not in GRPO.loss(now_of(logp_BT), rows).sums


def test_padding_counts_nothing_whatever_stands_in_it() -> None:
    logp_BT = row(-1.0, nan).requires_grad_()
    rows = Batch(torch.tensor([[True, False]]), row(1, 0), row(1, 0), row(-1, 0), reference_logp_BT=row(-1, 0))
    loss = WITH_KL.loss(now_of(logp_BT, row(0.5, nan)), rows)
    assert loss.value.item() == -1.0
    assert {name: value.item() for name, value in loss.sums.items() if value} == {"entropy": 0.5, "ratio": 1.0}
    assert torch.autograd.grad(loss.value, logp_BT)[0].tolist() == [[-1.0, 0.0]]


def test_on_policy_loss_is_zero_and_its_gradient_is_not() -> None:
    # why the FAQ says that a loss of 0 at step 1 is right: ratio 1, so −Σ weight·A over answers of one group, and ΣA = 0
    logp_BT = torch.tensor([[-1.0], [-2.0]], dtype=torch.float64, requires_grad=True)
    weight_BT, advantage_BT = torch.full((2, 1), 0.5), torch.tensor([[1.0], [-1.0]])
    rows = Batch(torch.ones(2, 1, dtype=torch.bool), advantage_BT, weight_BT, logp_BT.detach())
    loss = GRPO.loss(now_of(logp_BT), rows).value
    assert loss.item() == 0.0
    assert torch.autograd.grad(loss, logp_BT)[0].tolist() == [[-0.5], [0.5]]


def test_token_ratio_is_one_where_nothing_changed() -> None:
    # e^(ln 0.5 − ln 0.25) = 2, and e^0 = 1
    logp_BT, old_BT = row(log(0.5), -3.0), row(log(0.25), -3.0)
    assert token_ratio(logp_BT, old_BT, torch.ones(1, 2, dtype=torch.bool)).tolist() == [pytest.approx([2.0, 1.0])]


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-0.5, 0.5)), min_size=1, max_size=6), st.floats(-2, 2))
def test_gspo_token_is_gspo_where_the_advantage_is_the_same_on_all_tokens(tokens: list[tuple[float, float]], advantage: float) -> None:
    values = []
    for ratio in (sequence_ratio, sequence_token_ratio):
        logp_BT = row(*[now - 5 for now, _ in tokens]).requires_grad_()
        old_BT = row(*[now - 5 - moved for now, moved in tokens])
        rows = Batch(torch.ones(1, len(tokens), dtype=torch.bool), row(*[advantage] * len(tokens)), torch.ones_like(old_BT), old_BT)
        loss = replace(GRPO, ratio=ratio).loss(now_of(logp_BT), rows).value
        values.append((loss.item(), torch.autograd.grad(loss, logp_BT)[0].flatten().tolist()))
    assert values[0][0] == pytest.approx(values[1][0], abs=1e-12)
    assert values[0][1] == pytest.approx(values[1][1], abs=1e-12)


def test_ratio_of_a_sequence_is_the_geometric_mean_and_knows_no_padding() -> None:
    # ratios 4 and 1: sqrt(4·1) = 2; the third place is padding
    logp_BT, old_BT = row(log(0.8), -1.0, 0.0), row(log(0.2), -1.0, 0.0)
    mask_BT = torch.tensor([[True, True, False]])
    assert sequence_ratio(logp_BT, old_BT, mask_BT)[mask_BT].tolist() == pytest.approx([2.0, 2.0])


def test_cispo_keeps_the_gradient_of_a_clipped_token_and_bounds_it_at_one_plus_epsilon() -> None:
    # ratios 5 and 1.1, ε_high = 0.28: −1.28 and −1.1, where TRL's clip at ε itself would leave −0.28 of both
    logp_BT, rows = batch([5.0, 1.1], [1, 1])
    (grad,) = torch.autograd.grad(
        replace(GRPO, surrogate=reweighted, clip_low=inf, clip_high=0.28).loss(now_of(logp_BT.requires_grad_()), rows).value, logp_BT
    )
    assert grad.tolist() == [pytest.approx([-1.28, -1.1])]


def test_score_function_looks_at_no_ratio() -> None:
    logp_BT, rows = batch([5.0, 0.1], [2, -1])
    (grad,) = torch.autograd.grad(replace(GRPO, surrogate=score).loss(now_of(logp_BT.requires_grad_()), rows).value, logp_BT)
    assert grad.tolist() == [[-2.0, 1.0]]


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (5.0, -2.0, 6.0),  # would cost 10: at most c·|A| = 3·2
        (2.0, -2.0, 4.0),  # below the bound
        (5.0, 2.0, -2.4),  # a good token knows no second bound
    ],
)
def test_dual_clip_bounds_what_a_bad_token_costs(ratio: float, advantage: float, expected: float) -> None:
    assert surrogate(row(ratio), row(advantage), Clip(0.2, 0.2, 3)).item() == pytest.approx(expected)


def test_answer_that_was_cut_off_is_masked_and_still_lowers_the_others() -> None:
    # rewards 1, 0, 0 with mean 1/3: the last is not learned from, and the others' advantages and N = 3 are as with it; Σ|o| = 1 + 2
    masking = PolicyGradient(scale="none", weight=per_token, mask_truncated=True)
    right, wrong = masking.arrange([group((1, 1.0), (2, 0.0), (9, 0.0), cut_off=2)])
    assert (*right.advantages, *wrong.advantages) == pytest.approx((2 / 3, -1 / 3, -1 / 3))
    assert (right.weight, wrong.weight) == pytest.approx((1 / 3, 1 / 3))


def test_answer_that_was_cut_off_stays_in_the_baseline_of_rewards_less_the_divergence() -> None:
    # credit is given after the models have spoken: the masked answer has to be there, and has weight 0
    masking = replace(KL_IN_REWARD, mask_truncated=True)
    samples = masking.arrange([group((1, 1.0), (1, 0.0), cut_off=1)])
    assert [sample.weight for sample in samples] == [1 / 2, 0]
    # both diverge by 0.2 nats: 1 − 0.1 and 0 − 0.1, mean 0.4
    given = masking.credit(samples, [Before(row(-1.0)[0], row(0.0)[0], row(-1.2)[0])] * 2)
    assert [credit.advantage_T.tolist() for credit in given] == [pytest.approx([0.5]), pytest.approx([-0.5])]


def test_divergence_in_the_reward_keeps_equal_answers_apart() -> None:
    # both right; they diverge by 0.4 and 0 nats, with β = 0.5 the rewards are 0.8 and 1, the mean 0.9
    samples = KL_IN_REWARD.arrange([group((2, 1.0), (1, 1.0))])
    before = [Before(row(-1.0, -1.0)[0], row(0, 0)[0], row(-1.3, -1.1)[0]), Before(row(-1.0)[0], row(0)[0], row(-1.0)[0])]
    first, second = (credit.advantage_T.tolist() for credit in KL_IN_REWARD.credit(samples, before))
    assert [*first, *second] == pytest.approx([-0.1, -0.1, 0.1])


def test_without_a_baseline_a_token_answers_for_the_divergence_from_itself_on() -> None:
    # β = 0.5, 0.4 nats on the first token and 0.2 on the second: 1 − 0.3 and 1 − 0.1
    plain = replace(KL_IN_REWARD, baseline=unchanged)
    samples = plain.arrange([group((2, 1.0))])
    (credit,) = plain.credit(samples, [Before(row(-1.0, -1.0)[0], row(0, 0)[0], row(-1.4, -1.2)[0])])
    assert credit.advantage_T.tolist() == pytest.approx([0.7, 0.9])


def test_top_entropy_keeps_the_tokens_of_the_whole_batch_that_were_least_sure() -> None:
    # entropies 0, 1, 2, 3, 4 over two answers; of five the upper two fifths lie at or above the 0.6 quantile, 2.4
    choosy = PolicyGradient(top_entropy=0.4)
    samples = choosy.arrange([group((2, 1.0), (3, 0.0))])
    entropies = [row(4.0, 0.0)[0], row(1.0, 3.0, 2.0)[0]]
    given = choosy.credit(samples, [Before(torch.zeros_like(entropy_T), entropy_T) for entropy_T in entropies])
    assert [credit.advantage_T.tolist() for credit in given] == [pytest.approx([1, 0], abs=1e-5), pytest.approx([0, -1, 0], abs=1e-5)]


def test_masked_answers_have_no_say_in_which_entropies_are_high() -> None:
    # the answer cut off has entropies of 9; of the other's 1, 2 and 3 the upper half lies at or above the median
    choosy = PolicyGradient(top_entropy=0.5, mask_truncated=True)
    whole, cut = (2, 1.0), (3, 0.0)
    made = group(cut, whole)
    truncated = replace(made, completions=(made.completions[0], replace(made.completions[1], finish_reason="length")))
    samples = choosy.arrange([truncated])
    entropies = [row(1.0, 3.0, 2.0)[0], row(9.0, 9.0)[0]]
    (credit, _) = choosy.credit(samples, [Before(torch.zeros_like(entropy_T), entropy_T) for entropy_T in entropies])
    assert credit.advantage_T.tolist() == pytest.approx([0, -1, -1], abs=1e-5)


def test_correction_without_log_probabilities_of_the_engine_is_refused() -> None:
    logp_BT, rows = batch([1.0], [1.0])
    with pytest.raises(EngineError, match=r"objective\.correction: 'token', but this engine reports no log-probabilities"):
        replace(GRPO, correction="token").loss(now_of(logp_BT), rows)


@pytest.mark.parametrize(
    ("level", "beyond", "expected"),
    [
        ("token", "truncate", [1.5, 1.2, 2.0]),  # 3 is cut to the cap of 2
        ("token", "mask", [1.5, 1.2, 0.0]),
        ("sequence", "truncate", [1.8, 1.8, 2.0]),  # 1.5·1.2 = 1.8 on both tokens of the first row; 3 on the other
        ("sequence", "mask", [1.8, 1.8, 0.0]),
    ],
)
def test_correction_weighs_the_gradient(level: Level, beyond: Beyond, expected: list[float]) -> None:
    old_BT = torch.full((2, 2), -2.0, dtype=torch.float64)
    sampled_BT = old_BT - torch.tensor([[1.5, 1.2], [3.0, 1.0]], dtype=torch.float64).log()
    mask_BT = torch.tensor([[True, True], [True, False]])
    ones_BT = mask_BT.double()
    rows = Batch(mask_BT, ones_BT, ones_BT, old_BT * ones_BT, sampled_logp_BT=sampled_BT * ones_BT)
    logp_BT = (old_BT * ones_BT).requires_grad_()
    careful = replace(GRPO, correction=level, correction_cap=2.0, correction_beyond=beyond)
    (grad_BT,) = torch.autograd.grad(careful.loss(now_of(logp_BT), rows).value, logp_BT)
    assert (-grad_BT[mask_BT]).tolist() == pytest.approx(expected)


def test_entropy_bonus_pulls_towards_more_entropy() -> None:
    logp_BT, rows = batch([1.0, 1.0], [0, 0])
    entropy_BT = row(0.3, 0.7).requires_grad_()
    loss = replace(GRPO, entropy=0.1).loss(Now(logp_BT, entropy_BT), rows).value
    assert loss.item() == pytest.approx(-0.1)
    assert torch.autograd.grad(loss, entropy_BT)[0].tolist() == [pytest.approx([-0.1, -0.1])]


def parts(*values: tuple[float, float]) -> Group:
    """One-token answers with a score for `math` of weight 1 and for `format` of weight 0.1."""
    scored = [{"math": Part(1.0, math), "format": Part(0.1, form)} for math, form in values]
    plain = group(*[(1, part["math"].value + 0.1 * part["format"].value) for part in scored])
    return replace(plain, verdicts=tuple(Verdict(v.reward, parts=part) for v, part in zip(plain.verdicts, scored, strict=True)))


def test_normalised_one_by_one_a_small_reward_counts_by_its_weight_alone() -> None:
    # format's 0.1 and 0 become ±1, times its weight 0.1; math says nothing here. Summed first, that 0.1 would be all the difference: ±1
    by_verifier = PolicyGradient(epsilon=0, combine="normalise_then_sum")
    judged = parts((1, 1), (1, 0))
    assert [sample.advantages for sample in by_verifier.arrange([judged])] == [pytest.approx((0.1,)), pytest.approx((-0.1,))]
    assert [sample.advantages for sample in PolicyGradient(epsilon=0).arrange([judged])] == [pytest.approx((1,)), pytest.approx((-1,))]


def test_normalising_one_by_one_needs_the_parts() -> None:
    mixed = replace(parts((1, 1), (0, 0)), verdicts=(Verdict(1.0, parts={"math": Part(1.0, 1.0)}), Verdict(0.0)))
    with pytest.raises(TrainingError, match=r"objective\.combine: 'normalise_then_sum' needs the parts of every reward"):
        PolicyGradient(combine="normalise_then_sum").arrange([mixed])


def test_one_verifier_is_the_same_normalised_before_or_after() -> None:
    judged = parts((1, 1), (0, 1), (0.25, 1))
    before = PolicyGradient(combine="normalise_then_sum").arrange([judged])
    assert [s.advantages for s in before] == [pytest.approx(s.advantages) for s in GRPO.arrange([judged])]


PROCESS = PolicyGradient(supervision="process", epsilon=0)


def test_advantages_of_steps_do_not_sum_to_zero() -> None:
    # Rewards 1 at token 0 and 1 at its end for the first, 0 at its end for the second: mean 2/3, std sqrt(2)/3; ±: 1/sqrt 2, −sqrt 2.
    # Two to come at token 0, one at token 1: sqrt 2, 1/sqrt 2, and −sqrt 2 on the other's only token
    judged = replace(group((2, 1.0), (1, 0.0)), steps=((StepReward(0, 1.0),), ()))
    first, second = PROCESS.arrange([judged])
    assert (*first.advantages, *second.advantages) == pytest.approx((2**0.5, 0.5**0.5, -(2**0.5)))


def test_group_without_steps_is_one_of_outcomes() -> None:
    judged = group((2, 1.0), (3, 0.0))
    assert PROCESS.arrange([replace(judged, steps=((), ()))]) == PROCESS.arrange([judged]) == replace(GRPO, epsilon=0).arrange([judged])
    assert replace(PROCESS, outcome_step=False).arrange([judged]) == []


def test_steps_that_are_all_the_same_teach_nothing() -> None:
    third = 0.1 * 3
    judged = replace(group((2, third), (3, third)), steps=((StepReward(0, third),), (StepReward(0, third), StepReward(1, third))))
    assert PROCESS.arrange([judged]) == []


TABULAR = [(first, second) for first in range(3) for second in range(3)]
"""All answers of two words of three."""


class TwoWords:
    """A policy over `TABULAR`, its second word depending on the first, and a reference."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.logits = torch.randn(4, 3, generator=random, dtype=torch.float64).requires_grad_()
        self.reference_BT = self._of(torch.randn(4, 3, generator=random, dtype=torch.float64))

    @staticmethod
    def _of(logits: Tensor) -> Tensor:
        """(9, 2): row 0 of the logits is the first word's, row 1 + w that of the second behind w."""
        logp = logits.log_softmax(-1)
        return torch.stack([torch.stack((logp[0, first], logp[1 + first, second])) for first, second in TABULAR])

    @property
    def logp_BT(self) -> Tensor:
        return self._of(self.logits)

    def divergence_gradient(self) -> Tensor:
        """∇KL(π‖π_ref) of whole answers, summed over all of them."""
        logp_B = self.logp_BT.sum(1)
        return self._gradient((logp_B.exp() * (logp_B - self.reference_BT.sum(1))).sum())

    def divergence_gradient_of_words(self) -> Tensor:
        """Σ_t E ∇KL of word t given what stands before it, as if nothing the policy does had a say in that."""
        logp_BT = self.logp_BT
        chance_BT = torch.stack((torch.ones(9, dtype=torch.float64), logp_BT[:, 0].exp()), dim=1).detach()
        k1_BT = logp_BT - self.reference_BT
        every_BT = torch.tensor([1 / 3, 1.0], dtype=torch.float64)  # each first word stands in three answers
        return self._gradient((every_BT * chance_BT * logp_BT.exp() * k1_BT).sum())

    def expected_gradient(self, objective: PolicyGradient) -> Tensor:
        """Of the objective's loss on-policy, every answer with its probability, all rewards 0."""
        logp_BT = self.logp_BT
        old_BT = logp_BT.detach()
        samples = [Sample((0,), answer, (0.0, 0.0), 1.0, group=0, row=i) for i, answer in enumerate(TABULAR)]
        before = [Before(old_T, torch.zeros(2), reference_T) for old_T, reference_T in zip(old_BT, self.reference_BT)]
        advantage_BT = torch.stack([credit.advantage_T for credit in objective.credit(samples, before)])
        chance_BT = old_BT.sum(1, keepdim=True).exp().expand(9, 2)
        rows = Batch(torch.ones(9, 2, dtype=torch.bool), advantage_BT, chance_BT, old_BT, reference_logp_BT=self.reference_BT)
        return self._gradient(objective.loss(now_of(logp_BT), rows).value)

    def _gradient(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.logits)[0]


@pytest.mark.parametrize("baseline", [unchanged, centered])
def test_k1_in_the_reward_has_the_gradient_of_the_divergence_of_answers(baseline: Baseline) -> None:
    # whether summed over the answer or from the token on, and whatever constant is subtracted: the mean of ∇log π is 0
    policy, in_reward = TwoWords(), PolicyGradient(baseline, scale="none", kl=1.0, kl_in="reward")
    torch.testing.assert_close(policy.expected_gradient(in_reward), policy.divergence_gradient(), atol=1e-12, rtol=0)


def test_k2_in_the_loss_has_the_gradient_of_the_divergence_of_each_word_and_not_of_the_answer() -> None:
    # at the last word, and so in answers of one word, the two are the same; before it k2 leaves out what a word leads to
    policy, in_loss = TwoWords(), PolicyGradient(kl=1.0, kl_estimator=k2)
    found = policy.expected_gradient(in_loss)
    torch.testing.assert_close(found, policy.divergence_gradient_of_words(), atol=1e-12, rtol=0)
    torch.testing.assert_close(found[1:], policy.divergence_gradient()[1:], atol=1e-12, rtol=0)
    assert (found[0] - policy.divergence_gradient()[0]).abs().max() > 0.01


@pytest.mark.parametrize("name", [name for name in OBJECTIVES.names() if isinstance(OBJECTIVES.get(name, ""), PolicyGradient)])
def test_no_groups_have_no_samples(name: str) -> None:
    assert OBJECTIVES.get(name, "objective.name").arrange([]) == []
