"""Ours beside TRL's own code on the same batch: one loss and one gradient where both mean the same, and each known difference by itself.

TRL is pinned; what is said of it here and in the docs is of that version, and a test fails where a later one differs. It has no PPO any
more, so of PPO the policy's term alone is compared.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from math import exp, sqrt
from typing import Any

import oracle
import pytest
import torch
from oracle import defaults
from papers import BUDGET, Answer, Case, case, entropy_of
from test_parity import assert_same, credited, gradients, loss_of, row
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl import GRPOConfig, RLOOConfig
from trl.experimental.cpo import CPOConfig

from reasoning_rl.objectives.objective import Batch, Before, Now
from reasoning_rl.records import Group

EXACT = 1e-10
"""Of loss and gradient in float64."""
TOLERANCE = 1e-6
"""Where TRL divides by a standard deviation: its G/(G − 1) is in float32."""
LIKE_TRL = {"ddof": 1, "epsilon": 1e-4}
"""TRL's standard deviation, and what it adds to it; the paper states neither."""
CORRECTED: dict[str, Any] = {"use_vllm": True, "loss_type": "grpo"}
GSPO: dict[str, Any] = {"loss_type": "grpo", "importance_sampling_level": "sequence"}
PAPERS_KL: dict[str, Any] = {"use_bias_correction_kl": False}


def ours(batch: Case, name: str, **settings: object) -> Tensor:
    objective = row(name, **settings)
    return loss_of(objective, credited(batch, objective))


@dataclass(frozen=True)
class Match:
    """A row of ours and the settings under which GRPOTrainer is the same."""

    name: str
    settings: dict[str, Any]
    theirs: dict[str, Any]

    def ours(self, batch: Case) -> Tensor:
        divides = {} if self.name == "dr_grpo" else LIKE_TRL  # by no standard deviation there
        return ours(batch, self.name, **divides, **self.settings)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])


GRPO = Match("grpo", {"kl": 0.04}, {"loss_type": "grpo", "beta": 0.04, **PAPERS_KL})
DR_GRPO = Match("dr_grpo", {}, {"loss_type": "dr_grpo", "scale_rewards": "none", "max_completion_length": BUDGET})
DAPO = Match("dapo", {"mask_truncated": False}, {"epsilon_high": 0.28})
CISPO = Match("cispo", {}, {"loss_type": "cispo", "epsilon_high": 5.0})
MATCHES = [
    GRPO,
    DR_GRPO,
    DAPO,
    CISPO,
    Match("grpo", {"kl": 0}, {"loss_type": "grpo"}),
    Match("grpo", {"kl": 0.04, "kl_ratio": True}, {"loss_type": "grpo", "beta": 0.04}),
    Match(  # R1's ε
        "grpo",
        {"kl": 0.001, "clip_low": 10, "clip_high": 10},
        {"loss_type": "grpo", "beta": 0.001, "epsilon": 10.0, **PAPERS_KL},
    ),
    Match("grpo", {"kl": 0, "clip_dual": 3}, {"loss_type": "grpo", "delta": 3.0}),
    Match("grpo", {"kl": 0, "scale": "batch"}, {"loss_type": "grpo", "scale_rewards": "batch"}),
    Match("grpo", {"kl": 0, "mask_truncated": True}, {"loss_type": "grpo", "mask_truncated_completions": True}),
    Match(
        "grpo",
        {"kl": 0, "correction": "token", "correction_cap": 1.1},
        {**CORRECTED, "vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": 1.1},
    ),
    Match(
        "grpo",
        {"kl": 0, "correction": "token", "correction_cap": 1.1, "correction_beyond": "mask"},
        {**CORRECTED, "vllm_importance_sampling_mode": "token_mask", "vllm_importance_sampling_clip_max": 1.1},
    ),
    Match(
        "grpo",
        {"kl": 0, "correction": "sequence", "correction_cap": 1.1},
        {**CORRECTED, "vllm_importance_sampling_mode": "sequence_truncate", "vllm_importance_sampling_clip_max": 1.1},
    ),
    Match(
        "grpo",
        {"kl": 0, "correction": "sequence", "correction_cap": 1.1, "correction_beyond": "mask"},
        {**CORRECTED, "vllm_importance_sampling_clip_max": 1.1},
    ),
    Match("dapo", {"mask_truncated": True}, {"epsilon_high": 0.28, "mask_truncated_completions": True}),
    Match("dapo", {"mask_truncated": False, "entropy": 0.1}, {"epsilon_high": 0.28, "entropy_coef": 0.1}),
    Match("gspo", {}, {**GSPO, "epsilon": 3e-4, "epsilon_high": 4e-4}),
    Match("gspo", {"clip_low": 0.2, "clip_high": 0.3}, {**GSPO, "epsilon": 0.2, "epsilon_high": 0.3}),
    Match("gspo", {"kl": 0.04}, {**GSPO, **PAPERS_KL, "beta": 0.04, "epsilon": 3e-4, "epsilon_high": 4e-4}),
    Match("gspo_token", {"clip_low": 0.1, "clip_high": 0.2}, {**GSPO, "epsilon": 0.1, "epsilon_high": 0.2}),
    Match("cispo", {"clip_high": 0.2}, {"loss_type": "cispo", "epsilon_high": 1.2}),
]


def on_policy(batch: Case) -> Case:
    """The same with π_old = π_θ."""
    return Case([[replace(answer, old_logits=answer.logits.detach()) for answer in group] for group in batch.groups])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("match", MATCHES, ids=str)
def test_loss_and_gradient_are_trls(match: Match, spread: float, seed: int) -> None:
    batch = case(seed, spread=spread)
    assert_same(batch, match.ours(batch), oracle.grpo(batch, **match.theirs).loss(batch), TOLERANCE)


@pytest.mark.parametrize("G", [2, 8])
@pytest.mark.parametrize("match", [GRPO, DR_GRPO, DAPO, CISPO], ids=str)
def test_so_they_are_in_other_group_sizes(match: Match, G: int) -> None:
    batch = case(3, G=G)
    assert_same(batch, match.ours(batch), oracle.grpo(batch, **match.theirs).loss(batch), TOLERANCE)


def test_every_match_is_a_loss_of_its_own() -> None:
    batch = case(1, spread=2.0)
    losses = sorted(oracle.grpo(batch, **match.theirs).loss(batch).item() for match in MATCHES)
    assert all(later - earlier > 1e-6 for earlier, later in pairwise(losses)), "a switch that changes nothing was compared"


def test_top_entropy_mask_is_trls() -> None:
    # TRL takes the entropy of each update, ours that before the first; on-policy they are one
    batch = on_policy(case(1))
    theirs = oracle.grpo(batch, epsilon_high=0.28, top_entropy_quantile=0.5).loss(batch)
    assert_same(batch, ours(batch, "dapo", mask_truncated=False, top_entropy=0.5, **LIKE_TRL), theirs, TOLERANCE)


@pytest.mark.parametrize("micro_batches", [2, 3])
@pytest.mark.parametrize("match", [GRPO, DR_GRPO, DAPO, CISPO], ids=str)
def test_trl_adds_micro_batches_to_the_same_sum(match: Match, micro_batches: int) -> None:
    batch = case(1)
    assert_same(batch, match.ours(batch), oracle.grpo(batch, micro_batches=micro_batches, **match.theirs).loss(batch), TOLERANCE)


def test_bnpo_is_dapos_mean_until_the_batch_is_split() -> None:
    # a mean over the tokens of each micro-batch: a token counts more in the one with fewer
    batch = case(1)
    whole, thirds = (oracle.grpo(batch, loss_type="bnpo", epsilon_high=0.28, micro_batches=count).loss(batch) for count in (1, 3))
    assert_same(batch, DAPO.ours(batch), whole, TOLERANCE)
    assert abs(thirds.item() - whole.item()) > 1e-3


# Where TRL and the papers, or ours, part


def test_trl_divides_by_the_sample_standard_deviation() -> None:
    # one right of eight: mean 1/8, deviations 7/8 and −1/8; Σ of squares 56/64, over 7 the variance 1/8, std 0.353553
    # winner 0.875/(0.353553 + 0.0001) = 2.474174; ours divides Σ by 8: 0.875/(0.330719 + 0.000001) = 2.645743
    batch = case(1, G=8)
    theirs, mine = oracle.grpo(batch).advantages[:8], advantages_of(batch, "grpo")[:8]
    assert theirs[0] == pytest.approx(2.474174, abs=1e-6)
    assert mine[0] == pytest.approx(2.645743, abs=1e-6)
    assert theirs == pytest.approx([sqrt(7 / 8) * A for A in mine], rel=3e-4)  # but for the 1e-4 under 0.3535


def test_trl_makes_a_signal_of_the_rounding_of_a_constant_group() -> None:
    # rewards come in float32 there: the mean of ten 0.3 misses 0.3 by 3e-8, and that over 1e-4 is 3e-4. Ours is an exact 0.
    # Which sizes of group have a residue depends on the order in which a processor adds
    group = case(1, G=16).groups[2]
    constant = [Case([group[:size]]) for size in range(2, 17)]
    assert 1e-5 < max(abs(A) for batch in constant for A in oracle.grpo(batch, dtype=torch.float32).advantages) < 1e-3
    assert not any(A for batch in constant for A in advantages_of(batch, "grpo", kl=0.04))


def test_trl_unless_told_is_dapos_mean_of_grpos_advantages_without_a_kl() -> None:
    given = defaults(GRPOConfig)
    names = ("loss_type", "scale_rewards", "beta", "epsilon", "epsilon_high", "importance_sampling_level")
    assert [given[name] for name in names] == ["dapo", "group", 0.0, 0.2, None, "token"]
    batch = case(1)
    assert_same(batch, ours(batch, "grpo", kl=0, weight="token", **LIKE_TRL), oracle.grpo(batch).loss(batch), TOLERANCE)


def test_trl_weighs_the_kl_by_the_ratio_unless_told() -> None:
    # eq. 3 of DeepSeekMath has no ratio before the KL. With β > 0 TRL's gradient is another even on-policy: that of ρ·k3, where ρ = 1
    batch = on_policy(case(1))
    assert defaults(GRPOConfig)["use_bias_correction_kl"] is True
    weighed, plain = (oracle.grpo(batch, loss_type="grpo", beta=1.0, **as_paper).loss(batch) for as_paper in ({}, PAPERS_KL))
    assert weighed.item() == pytest.approx(plain.item(), abs=TOLERANCE)
    assert distance(gradients(weighed, batch), gradients(plain, batch)) > 1e-3


def test_trl_weighs_gspos_kl_by_the_ratio_of_the_answer_and_ours_by_the_tokens() -> None:
    # a token's k3 carries over to π_θ with the token's own ratio. Means over answers of mean ρ·k3, times β = 1, are what the two differ in
    batch = case(1)
    theirs = oracle.grpo(batch, **GSPO, beta=1.0, epsilon=3e-4, epsilon_high=4e-4).loss(batch)
    apart = [((ratio_T.log().mean().exp() - ratio_T) * k3_T).mean() for ratio_T, k3_T in map(ratio_and_k3, batch.answers)]
    difference = theirs - ours(batch, "gspo", kl=1.0, kl_ratio=True, **LIKE_TRL)
    assert abs(difference.item()) > 1e-4
    assert_same(batch, difference, torch.stack(apart).mean(), TOLERANCE)


def ratio_and_k3(answer: Answer) -> tuple[Tensor, Tensor]:
    old_T, reference_T = (torch.tensor(values, dtype=torch.float64) for values in (answer.old, answer.reference))
    return (answer.logp - old_T).exp(), (reference_T - answer.logp).exp() - (reference_T - answer.logp) - 1


def test_trl_clips_cispo_at_epsilon_high_itself() -> None:
    # on-policy every ratio is 1, within any bound 1 + ε; TRL's ε_high is ε = 0.2 unless given, which makes each weight 0.2
    batch = on_policy(case(1))
    a_fifth = [0.2 * grad for grad in gradients(CISPO.ours(batch), batch)]
    assert distance(a_fifth, gradients(oracle.grpo(batch, loss_type="cispo").loss(batch), batch)) < TOLERANCE


def test_trl_unless_told_weighs_answers_of_gspo_by_their_length() -> None:
    # `importance_sampling_level="sequence"` alone keeps the mean over all tokens; eq. 5 has the mean over answers
    batch = case(1)
    theirs = oracle.grpo(batch, importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4).loss(batch)
    assert_same(batch, ours(batch, "gspo", weight="token", **LIKE_TRL), theirs, TOLERANCE)
    assert abs(theirs.item() - ours(batch, "gspo", **LIKE_TRL).item()) > 1e-2


def test_trl_unless_told_drops_answers_by_the_product_of_their_mismatch() -> None:
    # with vLLM: `sequence_mask`, cap 3. A product over tokens leaves the cap the sooner the longer the answer
    given = defaults(GRPOConfig)
    assert (given["vllm_importance_sampling_mode"], given["vllm_importance_sampling_clip_max"]) == ("sequence_mask", 3.0)
    batch = case(1)
    ratio_B1 = oracle.grpo(batch, use_vllm=True, vllm_importance_sampling_clip_max=None).inputs["importance_sampling_ratio"]
    assert ratio_B1.flatten().tolist() == pytest.approx([exp(sum(answer.old) - sum(answer.sampled)) for answer in batch.answers])


def test_entropy_is_a_mean_over_tokens_in_trl_and_over_what_the_row_means_in_ours() -> None:
    batch = case(1)
    difference = oracle.grpo(batch, loss_type="grpo", entropy_coef=0.1).loss(batch) - ours(batch, "grpo", kl=0, entropy=0.1, **LIKE_TRL)
    H = [entropy_of(answer.logits.detach()) for answer in batch.answers]
    per_token, per_answer = torch.cat(H).mean().item(), torch.stack([H_T.mean() for H_T in H]).mean().item()
    assert difference.item() == pytest.approx(0.1 * (per_answer - per_token), abs=TOLERANCE)


def test_trl_whitens_what_normalise_then_sum_gives() -> None:
    # GDPO: TRL brings the sums to mean 0 and variance 1 over the batch, ours leaves them. To 1e-3: where the 1e-4 is added differs
    batch = case(1)
    sums = torch.tensor(advantages_of(batch, "grpo", combine="normalise_then_sum", ddof=1, kl=0.04))
    theirs = oracle.grpo(batch, multi_objective_aggregation="normalize_then_sum").advantages
    assert theirs == pytest.approx(((sums - sums.mean()) / sums.std()).tolist(), abs=1e-3)
    assert theirs != pytest.approx(sums.tolist(), abs=1e-2)


# RLOO


def test_rloo_is_trls_on_policy_but_for_the_value() -> None:
    # −A·log π in the paper, −A·π/π_old in TRL: at π = π_old the gradients are one, the values −A·log π and −A
    batch = on_policy(case(1))
    theirs = oracle.rloo(batch)
    loss = theirs.loss(batch)
    assert advantages_of(batch, "rloo") == pytest.approx(theirs.advantages, abs=EXACT)
    assert distance(gradients(ours(batch, "rloo"), batch), gradients(loss, batch)) < EXACT
    assert loss.item() == pytest.approx(-sum(theirs.advantages) / len(batch.answers), abs=EXACT)


def test_off_policy_rloo_in_trl_is_weighed_and_clipped_by_the_answers_ratio() -> None:
    # ours has neither ratio nor clip, as the paper; with TRL's π/π_old of whole answers, cut at 1 ± ε, the gradient is ratio·ours or 0
    batch, epsilon = case(1), defaults(RLOOConfig)["epsilon"]
    theirs = oracle.rloo(batch)
    expected, kinds = [], set()
    for answer, A, grad in zip(batch.answers, theirs.advantages, gradients(ours(batch, "rloo"), batch), strict=True):
        ratio = exp(answer.logp.sum().item() - sum(answer.old))
        cut = ratio > 1 + epsilon if A > 0 else ratio < 1 - epsilon
        expected.append(grad * (0 if cut else ratio))
        kinds.add(cut)
    assert kinds == {True, False}, "the case shows both"
    assert distance(expected, gradients(theirs.loss(batch), batch)) < EXACT


def test_rloo_has_trls_beta() -> None:
    assert vars(row("rloo"))["kl"] == defaults(RLOOConfig)["beta"]


# Preferences


@dataclass(frozen=True)
class Marked(Case):
    """Answers with a reward above 0 are right."""

    def records(self) -> list[Group]:
        return [replace(group, verdicts=tuple(replace(v, correct=v.reward > 0) for v in group.verdicts)) for group in super().records()]


def marked(seed: int) -> tuple[Marked, list[tuple[Answer, Answer]]]:
    """A batch and its pairs of a right and a wrong answer, as DPO's row chooses them."""
    batch = Marked(case(seed).groups)
    answers = [entry.answer for entry in credited(batch, row("dpo"))]
    assert len(answers) >= 4, "one pair is no mean over pairs"
    return batch, list(zip(answers[::2], answers[1::2]))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_dpo_is_trls(beta: float, seed: int) -> None:
    batch, pairs = marked(seed)
    assert_same(batch, ours(batch, "dpo", beta=beta), oracle.dpo(pairs, beta=beta), EXACT)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("beta", "gap"), [(2.0, 1.0), (2.5, 0.0)])
def test_simpo_is_trls(beta: float, gap: float, seed: int) -> None:
    batch, pairs = marked(seed)
    theirs = oracle.cpo(pairs, loss_type="simpo", beta=beta, simpo_gamma=gap)
    assert_same(batch, ours(batch, "simpo", beta=beta, gap=gap), theirs, EXACT)


def test_trls_cpo_is_not_simpo_unless_told() -> None:
    # SimPO has β from 2 to 2.5, γ from 0.5 to 1.5 and no other term. CPO's β is 20 times less, and it adds 1.0 times the right answer's NLL
    given = defaults(CPOConfig)
    assert [given[name] for name in ("loss_type", "beta", "simpo_gamma", "cpo_alpha")] == ["sigmoid", 0.1, 0.5, 1.0]


@pytest.mark.parametrize("seed", [1, 2])
def test_raft_is_trls_supervised_loss_of_the_right_answers(seed: int) -> None:
    batch = Marked(case(seed).groups)
    right = [answer for answer in batch.answers if answer.reward > 0]
    assert_same(batch, ours(batch, "raft"), oracle.dpo([(answer, answer) for answer in right], loss_type="sft"), EXACT)


# PPO


def test_trl_has_no_ppo_to_compare_with() -> None:
    assert find_spec("trl.trainer.ppo_trainer") is None
    assert find_spec("trl.experimental.ppo") is None


def test_the_policys_term_of_ppo_is_trls_with_advantages_of_tokens() -> None:
    # a value model that is right before and after: no loss and no gradient of its own
    batch, ppo = case(1), row("ppo", kl=0.1)
    samples = ppo.arrange(batch.records())
    worth = ppo.credit(samples, [valued(answer) for answer in batch.answers])
    advantage_BT, return_BT = (padded([getattr(credit, part) for credit in worth]) for part in ("advantage_T", "return_T"))
    mask_BT = padded([torch.ones(len(answer)) for answer in batch.answers]).bool()
    now = oracle.policy(batch.answers)
    known = Batch(
        mask_BT=mask_BT,
        advantage_BT=advantage_BT,
        weight_BT=samples[0].weight * mask_BT.double(),
        old_logp_BT=oracle.old(batch.answers).logp_BT,
        old_value_BT=return_BT,
        return_BT=return_BT,
    )
    theirs = oracle.grpo(batch)
    theirs.inputs["advantages"] = advantage_BT
    assert_same(batch, ppo.loss(Now(now.logp_BT, now.entropy_BT, return_BT), known).value, theirs.loss(batch), EXACT)


def valued(answer: Answer) -> Before:
    return replace(answer.before(), value_T=torch.linspace(0, 1, len(answer), dtype=torch.float64))


def padded(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)


def advantages_of(batch: Case, name: str, **settings: object) -> list[float]:
    """Of each answer, on its first token; with a KL no answer is left out."""
    return [float(entry.credit.advantage_T[0]) for entry in credited(batch, row(name, **settings))]


def distance(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
