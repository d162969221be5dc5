"""Every policy gradient and every switch against its paper's formula in float64: loss and gradient, whatever the split and the order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from math import log, sqrt
from typing import Any

import papers
import pytest
import torch
from papers import BUDGET, ESTIMATORS, Answer, Case, Term
from torch import Tensor

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.objectives import build
from reasoning_rl.objectives.objective import Batch, Credit, Now, Objective
from reasoning_rl.objectives.policy_gradient import PolicyGradient
from reasoning_rl.records import Part, Sample, StepReward

KL_IN_REWARD = {"kl_in": "reward", "kl": 0.1}


def row(name: str, **settings: object) -> Objective:
    return build(ObjectiveConfig.model_validate({"name": name, **settings}), BUDGET)


@dataclass(frozen=True)
class Credited:
    """A sample, what it is worth, and the answer it came from."""

    answer: Answer
    sample: Sample
    credit: Credit


def credited(case: Case, objective: Objective) -> list[Credited]:
    """What the learner does with a batch before its first update."""
    samples = objective.arrange(case.records())
    answers = [case.groups[sample.group][sample.row] for sample in samples]
    if "before" in objective.needs:
        given = objective.credit(samples, [answer.before() for answer in answers])
    else:
        given = [Credit(torch.tensor(sample.advantages, dtype=torch.float64)) for sample in samples]
    return [Credited(*entry) for entry in zip(answers, samples, given, strict=True)]


def loss_of(objective: Objective, chosen: Sequence[Credited]) -> Tensor:
    """The objective's loss on some of its rows, padded as a learner pads them; the policy's padding holds garbage."""
    answers = [entry.answer for entry in chosen]

    def padded(rows: Sequence[Tensor | list[float]], value: float = 0.0) -> Tensor:
        tensors = [torch.as_tensor(row, dtype=torch.float64) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    batch = Batch(
        mask_BT=padded([[1.0] * len(answer) for answer in answers]).bool(),
        advantage_BT=padded([entry.credit.advantage_T for entry in chosen]),
        weight_BT=padded([[entry.sample.weight] * len(entry.answer) for entry in chosen]),
        old_logp_BT=padded([answer.old for answer in answers]),
        sampled_logp_BT=padded([answer.sampled for answer in answers]),
        reference_logp_BT=padded([answer.reference for answer in answers]) if "reference" in objective.needs else None,
    )
    entropies = [papers.entropy_of(answer.logits) for answer in answers]
    if "entropy" not in objective.needs:
        entropies = [entropy_T.detach() for entropy_T in entropies]
    now = Now(padded([answer.logp for answer in answers], torch.nan), padded(entropies, torch.nan))
    return objective.loss(now, batch).value


def gradients(loss: Tensor, case: Case) -> list[Tensor]:
    leaves = [answer.logits for answer in case.answers]
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, found)]


def assert_same(case: Case, ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=tolerance)
    for mine, paper in zip(gradients(ours, case), gradients(theirs, case), strict=True):
        torch.testing.assert_close(mine, paper, atol=tolerance, rtol=0)


@dataclass(frozen=True)
class Claim:
    """A row with settings, and the formula that it should be."""

    name: str
    settings: dict[str, Any]
    formula: Callable[[Case], Tensor]

    def objective(self) -> Objective:
        return row(self.name, **self.settings)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])


def grpo_like(advantages: Callable[[Case], papers.Advantages]) -> Callable[[Case], Tensor]:
    return lambda case: papers.with_advantages(case, advantages(case))


def kl_of(k: Term, *, weighed: bool) -> Callable[[Case], Tensor]:
    return lambda case: papers.with_kl(case, k, beta=0.3, weighed=weighed)


def outcome(per_group: Callable[[Sequence[float]], list[float]]) -> Callable[[Case], Tensor]:
    return grpo_like(lambda case: papers.for_every_token(case, per_group))


def kl_in_reward(per_group: Callable[[Sequence[float]], list[float]], estimator: str = "k1") -> Callable[[Case], Tensor]:
    return grpo_like(lambda case: papers.less_kl(case, per_group, 0.1, ESTIMATORS[estimator]))


def weighed_by(reduce: Callable[[Case, Term], Tensor], over: int = 1) -> Callable[[Case], Tensor]:
    return lambda case: -reduce(case, papers.surrogate_of_grpo(case)) / over


ROWS = [
    Claim("grpo", {"kl": 0.04}, papers.grpo),
    Claim("grpo", {"kl": 0}, partial(papers.grpo, beta=0)),
    Claim("grpo", {"kl": 0.001, "clip_low": 10, "clip_high": 10}, partial(papers.grpo, beta=0.001, epsilon=10)),  # R1
    Claim("grpo_process", {"kl": 0.04}, papers.grpo_process),
    Claim("grpo_process", {"kl": 0}, partial(papers.grpo_process, beta=0)),
    Claim("dr_grpo", {"kl": 0}, papers.dr_grpo),
    Claim("dapo", {"mask_truncated": False}, papers.dapo),
    Claim("dapo", {}, papers.dapo_filtered),
    Claim("gspo", {"kl": 0}, papers.gspo),
    Claim("gspo", {"kl": 0, "clip_low": 0.1, "clip_high": 0.2}, partial(papers.gspo, low=0.1, high=0.2)),
    Claim("gspo_token", {"kl": 0, "clip_low": 0.1, "clip_high": 0.2}, partial(papers.gspo, low=0.1, high=0.2)),
    Claim("gspo_token", {"kl": 0, "supervision": "process"}, partial(papers.gspo_token, advantages=papers.process)),
    Claim("cispo", {"kl": 0, "clip_low": 10, "clip_high": 0.28}, partial(papers.cispo, low=10, high=0.28)),
    Claim("cispo", {"kl": 0, "clip_low": 0.2, "clip_high": 4}, partial(papers.cispo, low=0.2, high=4)),
    Claim("rloo", {"kl": 0.05}, partial(papers.rloo, beta=0.05)),
    Claim("rloo", {"kl": 0}, partial(papers.rloo, beta=0)),
    Claim("reinforce", {"kl": 0, "baseline": "none"}, lambda case: papers.reinforce(case, papers.for_every_token(case, list))),
    Claim("reinforce_pp", {"kl": 0.01, "weight": "token"}, partial(papers.reinforce_pp, beta=0.01)),
    Claim("reinforce_pp", {"kl": 0, "weight": "token"}, partial(papers.reinforce_pp, beta=0)),
    Claim(
        "reinforce_pp_baseline",
        {"kl": 0.01, "kl_estimator": "k2", "kl_in": "loss", "weight": "token"},
        partial(papers.reinforce_pp_baseline, beta=0.01),
    ),
    Claim("reinforce_pp_baseline", {"kl": 0, "weight": "token"}, partial(papers.reinforce_pp_baseline, beta=0)),
]

KL = [
    Claim("grpo", {"kl": 0.3, "kl_estimator": name, "kl_ratio": weighed}, kl_of(k, weighed=weighed))
    for name, k in [("k1", papers.k1), ("k2", papers.k2), ("k3", papers.k3)]
    for weighed in (False, True)
] + [
    Claim("grpo", {**KL_IN_REWARD, "kl_estimator": "k1"}, kl_in_reward(papers.standardised)),
    Claim("grpo", {**KL_IN_REWARD, "kl_estimator": "k2"}, kl_in_reward(papers.standardised, "k2")),
    Claim("grpo", {**KL_IN_REWARD, "kl_estimator": "k3"}, kl_in_reward(papers.standardised, "k3")),
    Claim("grpo", {**KL_IN_REWARD, "kl_estimator": "k1", "baseline": "others", "scale": "none"}, kl_in_reward(papers.against_the_others)),
    Claim("grpo", {**KL_IN_REWARD, "kl_estimator": "k1", "scale": "none"}, kl_in_reward(papers.centred)),
    Claim(
        "grpo",
        {**KL_IN_REWARD, "kl_estimator": "k1", "baseline": "none", "scale": "none"},
        grpo_like(lambda case: papers.less_kl_to_come(case, 0.1)),
    ),
    Claim(
        "grpo",
        {**KL_IN_REWARD, "kl_estimator": "k1", "scale": "none", "whiten": True},
        grpo_like(lambda case: papers.whitened(papers.less_kl(case, papers.centred, 0.1))),
    ),
]

SWITCHES = (
    [
        Claim("grpo", {"kl": 0, "clip_dual": 1.5}, partial(papers.dual_clipped, c=1.5)),
        Claim("grpo", {"kl": 0, "clip_low": 10, "clip_high": 10}, partial(papers.grpo, epsilon=10, beta=0)),
        Claim("grpo", {"kl": 0, "ratio": "sequence"}, partial(papers.gspo, low=0.2, high=0.2)),
        Claim(
            "grpo",
            {"kl": 0, "ratio": "sequence_token", "supervision": "process"},
            partial(papers.gspo_token, advantages=papers.process, low=0.2, high=0.2),
        ),
        Claim("grpo", {"kl": 0, "supervision": "process"}, grpo_like(papers.process)),
        Claim("grpo", {"kl": 0, "combine": "normalise_then_sum"}, grpo_like(papers.normalised_then_summed)),
        Claim("dr_grpo", {"combine": "normalise_then_sum"}, papers.dr_grpo_by_verifier),
        Claim("grpo", {"kl": 0, "combine": "sum_then_normalise"}, outcome(papers.standardised)),
        Claim("grpo", {"kl": 0, "scale": "none"}, outcome(papers.centred)),
        Claim("grpo", {"kl": 0, "scale": "none", "baseline": "others"}, outcome(papers.against_the_others)),
        Claim("grpo", {"kl": 0, "scale": "none", "baseline": "none"}, outcome(list)),
        Claim("grpo", {"kl": 0, "scale": "batch"}, grpo_like(papers.over_the_batch)),
        Claim(
            "grpo", {"kl": 0, "scale": "batch", "ddof": 1, "epsilon": 0.1}, grpo_like(partial(papers.over_the_batch, ddof=1, epsilon=0.1))
        ),
        Claim("grpo", {"kl": 0, "ddof": 1}, outcome(partial(papers.standardised, ddof=1))),
        Claim("grpo", {"kl": 0, "epsilon": 0.1}, outcome(partial(papers.standardised, epsilon=0.1))),
        Claim("grpo", {"kl": 0, "epsilon": 0}, outcome(partial(papers.standardised, epsilon=0))),
        Claim(
            "grpo",
            {"kl": 0, "scale": "none", "whiten": True},
            grpo_like(lambda case: papers.whitened(papers.for_every_token(case, papers.centred))),
        ),
        Claim("grpo", {"kl": 0, "weight": "sequence"}, weighed_by(papers.mean_over_answers)),
        Claim("grpo", {"kl": 0, "weight": "token"}, weighed_by(papers.mean_over_tokens)),
        Claim("grpo", {"kl": 0, "weight": "budget"}, weighed_by(papers.sum_of_tokens, BUDGET)),
        Claim("grpo", {"kl": 0, "weight": "answer"}, weighed_by(papers.sum_of_tokens)),
        Claim("grpo", {"kl": 0, "entropy": 0.02}, partial(papers.with_entropy, coefficient=0.02)),
        Claim("dapo", {"mask_truncated": False, "top_entropy": 0.2}, partial(papers.forking_tokens, share=0.2)),
        Claim("dapo", {"mask_truncated": False, "top_entropy": 1.0}, papers.dapo),
    ]
    + [
        Claim(
            "grpo",
            {"kl": 0.04, "correction": scope, "correction_cap": 1.2, "correction_beyond": beyond},
            partial(papers.corrected, beta=0.04, whole=scope == "sequence", cap=1.2, mask=beyond == "mask"),
        )
        for scope in ("token", "sequence")
        for beyond in ("truncate", "mask")
    ]
    + [
        Claim("grpo", {"kl": beta, "mask_truncated": True, "weight": by}, partial(papers.without_truncated, by=by, beta=beta))
        for by in ("sequence", "token", "budget", "answer")
        for beta in (0, 0.04)
    ]
)

CLAIMS = ROWS + KL + SWITCHES


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
@pytest.mark.parametrize(
    ("seed", "spread", "G"),
    [
        (1, 0.5, 4),
        (2, 2.0, 8),  # ratios far beyond the clip; one right of eight
        (3, 0.5, 2),
        (4, 0.0, 4),  # on-policy and at the reference
    ],
)
def test_loss_and_gradient_are_the_papers(claim: Claim, seed: int, spread: float, G: int) -> None:
    case, objective = papers.case(seed, spread=spread, G=G), claim.objective()
    assert_same(case, loss_of(objective, credited(case, objective)), claim.formula(case))


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_micro_batches_and_row_order_change_nothing(claim: Claim) -> None:
    case, objective = papers.case(5), claim.objective()
    rows = credited(case, objective)
    shuffled = [rows[k] for k in torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()]
    for split in ([1] * len(rows), [5, len(rows) - 5], [1, 3, len(rows) - 4]):
        parts = [loss_of(objective, shuffled[end - size : end]) for size, end in zip(split, accumulate(split))]
        assert_same(case, torch.stack(parts).sum(), loss_of(objective, rows))


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_order_of_questions_and_answers_changes_nothing(claim: Claim) -> None:
    case, objective = papers.case(6), claim.objective()
    turned = loss_of(objective, credited(case.turned(), objective))
    assert_same(case, turned, loss_of(objective, credited(case, objective)))


WITH_BASELINE = [
    claim
    for claim in CLAIMS
    if claim.settings.get("baseline") != "none" and claim.settings.get("kl_in") != "reward" and not (claim.objective().needs & {"before"})
]
"""Those whose advantages say nothing of the reference: with its pull in the reward, equal answers aren't equal."""


@pytest.mark.parametrize("claim", WITH_BASELINE, ids=str)
def test_batch_where_all_rewards_are_the_same_teaches_nothing_about_the_answers(claim: Claim) -> None:
    # the mean of the float nearest to 0.3 is often another float; what is left are the KL and the entropy
    constant = Case([papers.case(7).groups[2], papers.case(8).groups[2]])
    objective = claim.objective()
    assert all((entry.credit.advantage_T == 0).all() for entry in credited(constant, objective))
    if not objective.needs & {"reference", "entropy"}:
        assert objective.arrange(constant.records()) == []


@pytest.mark.parametrize("claim", ROWS, ids=str)
def test_questions_may_have_different_numbers_of_answers(claim: Claim) -> None:
    case, objective = papers.case(9), claim.objective()
    uneven = Case([case.groups[0], case.groups[1][:2], case.groups[2][:3]])
    assert_same(uneven, loss_of(objective, credited(uneven, objective)), claim.formula(uneven))


def test_steps_alone_count_where_the_outcome_is_no_step() -> None:
    case, ours = papers.case(10), row("grpo_process", kl=0.04)
    assert isinstance(ours, PolicyGradient)
    objective = replace(ours, outcome_step=False)
    assert_same(case, loss_of(objective, credited(case, objective)), papers.grpo_process(case, outcome=False))


# By hand: two answers to one question. The right one has one token, at 0.4 when sampled and 0.6 now, ratio 1.5; the wrong one two,
# from 0.2 to 0.1 and from 0.5 to 0.45, ratios 0.5 and 0.9.

NOW, THEN = [[0.6], [0.1, 0.45]], [[0.4], [0.2, 0.5]]


def by_hand() -> Case:
    """With the log-probabilities above as those of word 0 of two."""

    def logits(chances: list[float]) -> Tensor:
        return torch.tensor([[log(p), log(1 - p)] for p in chances], dtype=torch.float64)

    def answer(right: bool) -> Answer:
        now, then = NOW[not right], THEN[not right]
        tokens = [0] * len(now)
        leaf = logits(now).requires_grad_()
        return Answer(
            tokens, {"math": Part(1.0, float(right))}, (), False, leaf, logits(then), [log(p) for p in then], [log(p) for p in then]
        )

    return Case([[answer(True), answer(False)]])


@pytest.mark.parametrize(
    ("name", "settings", "loss"),
    [
        # A = ±1. Right: min(1.5, 1.2) = 1.2. Wrong: min(−0.5, −0.8) = −0.8 and min(−0.9, −0.9). J = ½·1.2 + ½·½(−0.8 − 0.9) = 0.175
        ("grpo", {"epsilon": 0}, -0.175),
        # A single step per answer, at its end, is the outcome: the same
        ("grpo_process", {"epsilon": 0}, -0.175),
        # A = ±0.5: (0.6 − 0.4 − 0.45)/(2·9)
        ("dr_grpo", {}, 0.25 / 18),
        # 1 + 0.28 above, and a third each: (1.28 − 0.8 − 0.9)/3
        ("dapo", {"epsilon": 0}, 0.14),
        # s = 1.5 and sqrt(0.5·0.9) = 0.67: ½(1.2 − 0.8)
        ("gspo", {"epsilon": 0, "clip_low": 0.2, "clip_high": 0.2}, -0.2),
        ("gspo_token", {"epsilon": 0, "clip_low": 0.2, "clip_high": 0.2}, -0.2),
        # weights 1.28 (not 0.28), 0.5, 0.9: (1.28 ln 0.6 − 0.5 ln 0.1 − 0.9 ln 0.45)/3
        ("cispo", {"epsilon": 0, "clip_low": 10, "clip_high": 0.28}, -(1.28 * log(0.6) - 0.5 * log(0.1) - 0.9 * log(0.45)) / 3),
        # A = 1 − 0 and 0 − 1: ½(ln 0.6 − ln 0.045)
        ("rloo", {}, -log(0.6 / 0.045) / 2),
        # A = R: ½ ln 0.6
        ("reinforce", {"baseline": "none"}, -log(0.6) / 2),
        # per token 1, 0, 0: mean 1/3, variance 2/9, so A = sqrt 2 and −1/sqrt 2: (1.2·sqrt 2 − 1.7/sqrt 2)/3 = 0.35·sqrt 2/3
        ("reinforce_pp", {"epsilon": 0, "weight": "token"}, -0.35 * sqrt(2) / 3),
        # per token ½, −½, −½: whitened, the same
        ("reinforce_pp_baseline", {"epsilon": 0, "weight": "token"}, -0.35 * sqrt(2) / 3),
        # ε = 10: no lower edge, and 1.5 is below 11: ½·1.5 − ½·½·1.4
        ("grpo", {"epsilon": 0, "clip_low": 10, "clip_high": 10}, -0.4),
        # sample variance 2·0.25/1, std 1/sqrt 2, A = ±1/sqrt 2
        ("grpo", {"epsilon": 0, "ddof": 1}, -0.175 / sqrt(2)),
    ],
)
def test_two_answers_by_hand(name: str, settings: dict[str, object], loss: float) -> None:
    objective = row(name, kl=0, **settings)
    assert loss_of(objective, credited(by_hand(), objective)).item() == pytest.approx(loss, abs=1e-12)


def test_advantages_of_steps_by_hand() -> None:
    # a: 1 at token 0, 0 at token 2, and its own 1 at its end, token 2. b: 1 at token 1, and its own 0 at its end, token 1.
    # Of 1, 0, 1, 1, 0 the mean is 0.6, the variance 0.24, std 0.4899: a 1 becomes sqrt(2/3) = 0.8165, a 0 −sqrt(3/2) = −1.2247.
    # a: token 0 has all three to come, 0.4082, tokens 1 and 2 the last two, −0.4082; b: both tokens both, −0.4082
    good, bad = _with_steps(3, 1.0, (0, 1.0), (2, 0.0)), _with_steps(2, 0.0, (1, 1.0))
    a, b = credited(Case([[good, bad]]), row("grpo_process", kl=0, epsilon=0))
    one, none = sqrt(2 / 3), -sqrt(3 / 2)
    assert a.credit.advantage_T.tolist() == pytest.approx([2 * one + none, one + none, one + none], abs=1e-12)
    assert b.credit.advantage_T.tolist() == pytest.approx([one + none] * 2, abs=1e-12)


def _with_steps(T: int, reward: float, *steps: tuple[int, float]) -> Answer:
    logits = torch.zeros(T, 2, dtype=torch.float64).requires_grad_()
    unsure = [log(0.5)] * T
    return Answer(
        [0] * T, {"math": Part(1.0, reward)}, tuple(StepReward(*step) for step in steps), False, logits, logits.detach(), unsure, unsure
    )


def test_gradient_coefficient_is_that_of_appendix_a_1_6() -> None:
    # on-policy dJ/dlogp = weight·(A + β(π_ref/π_θ − 1)): one of two right, one token each, so A = ±1 and weight = 1/2
    logp_BT = torch.tensor([[log(0.5)], [log(0.25)]], dtype=torch.float64, requires_grad=True)
    batch = Batch(
        mask_BT=torch.ones(2, 1, dtype=torch.bool),
        advantage_BT=torch.tensor([[1.0], [-1.0]], dtype=torch.float64),
        weight_BT=torch.full((2, 1), 0.5, dtype=torch.float64),
        old_logp_BT=logp_BT.detach(),
        reference_logp_BT=torch.tensor([[log(0.25)], [log(0.75)]], dtype=torch.float64),
    )
    (grad_BT,) = torch.autograd.grad(row("grpo", kl=0.5).loss(Now(logp_BT, torch.zeros(2, 1)), batch).value, logp_BT)
    # −½(1 + ½(½ − 1)) = −0.375 and −½(−1 + ½(3 − 1)) = 0
    assert grad_BT.flatten().tolist() == pytest.approx([-0.375, 0.0], abs=1e-12)
