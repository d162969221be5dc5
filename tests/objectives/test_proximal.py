"""PPO in float64 against its papers' formulas, written as the loops that the sums are: a toy with leaf logits and values of every token."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan, sqrt
from statistics import fmean, pstdev
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.errors import TrainingError
from reasoning_rl.objectives import build
from reasoning_rl.objectives.objective import Batch, Before, Credit, Loss, Now
from reasoning_rl.objectives.proximal import ProximalPolicy
from reasoning_rl.objectives.weights import per_sequence
from reasoning_rl.records import Completion, FinishReason, Group, Problem, Prompt, Sample, Verdict

V = 5
"""Words of the toy vocabulary."""
PROMPT = Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,))


@dataclass(frozen=True)
class Answer:
    """What the models say of an answer: `logits` (T, V) and `value` (T,) are leaves, the lists are from before the update."""

    tokens: list[int]
    reward: float
    logits: Tensor
    value: Tensor
    old: list[float]
    reference: list[float]
    foretold: list[float]
    finish_reason: FinishReason = "stop"

    @property
    def logp(self) -> Tensor:
        return self.logits.log_softmax(-1)[range(len(self.tokens)), self.tokens]

    @property
    def entropy(self) -> Tensor:
        logp = self.logits.log_softmax(-1)
        return -(logp.exp() * logp).sum(-1)

    def before(self) -> Before:
        old, reference, foretold = (doubles(numbers) for numbers in (self.old, self.reference, self.foretold))
        return Before(old, torch.zeros_like(old), reference, foretold)


Case = dict[tuple[int, int], Answer]
"""Answers by group and row."""


def doubles(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def case(seed: int, rewards: Sequence[Sequence[float]] = ((1.0, 0.0, 0.0, 1.0), (0.3, 0.1, 0.7, 0.3)), spread: float = 0.5) -> Case:
    """Ragged answers of 1 to 7 tokens; `spread` is how far old policy, reference and old values lie from what they are now."""
    random = torch.Generator().manual_seed(seed)

    def made(reward: float) -> Answer:
        T = int(torch.randint(1, 8, (), generator=random))
        logits = torch.randn(T, V, generator=random, dtype=torch.float64)
        value = torch.randn(T, generator=random, dtype=torch.float64)
        tokens = torch.randint(0, V, (T,), generator=random).tolist()

        def near() -> list[float]:
            moved = logits.detach() + spread * torch.randn(T, V, generator=random, dtype=torch.float64)
            return [float(moved.log_softmax(-1)[t, token]) for t, token in enumerate(tokens)]

        foretold = (value.detach() + spread * torch.randn(T, generator=random, dtype=torch.float64)).tolist()
        return Answer(tokens, reward, logits.requires_grad_(), value.requires_grad_(), near(), near(), foretold)

    return {(p, i): made(reward) for p, group in enumerate(rewards) for i, reward in enumerate(group)}


def groups(case: Case) -> list[Group]:
    rows = [[answer for (p, _), answer in case.items() if p == group] for group in sorted({p for p, _ in case})]
    return [
        Group(
            PROMPT,
            tuple(Completion("", tuple(answer.tokens), finish_reason=answer.finish_reason) for answer in row),
            tuple(Verdict(answer.reward) for answer in row),
        )
        for row in rows
    ]


def credited(case: Case, objective: ProximalPolicy, order: Sequence[int] | None = None) -> list[tuple[Sample, Credit]]:
    """The arranged samples in some order, with what `credit` gives them."""
    samples = objective.arrange(groups(case))
    samples = [samples[index] for index in order or range(len(samples))]
    return list(zip(samples, objective.credit(samples, [case[s.group, s.row].before() for s in samples]), strict=True))


def loss_of(case: Case, objective: ProximalPolicy, rows: Sequence[tuple[Sample, Credit]]) -> Loss:
    """Of some credited samples as one micro-batch."""
    answers = [case[sample.group, sample.row] for sample, _ in rows]
    mask_BT = padded([torch.ones(len(answer.tokens), dtype=torch.bool) for answer in answers])
    now = Now(
        padded([answer.logp for answer in answers]),
        padded([answer.entropy for answer in answers]),
        padded([answer.value for answer in answers]),
    )
    batch = Batch(
        mask_BT=mask_BT,
        advantage_BT=padded([credit.advantage_T for _, credit in rows]),
        weight_BT=mask_BT * doubles([sample.weight for sample, _ in rows])[:, None],
        old_logp_BT=padded([doubles(answer.old) for answer in answers]),
        reference_logp_BT=padded([doubles(answer.reference) for answer in answers]) if objective.kl else None,
        old_value_BT=padded([doubles(answer.foretold) for answer in answers]),
        return_BT=padded([credit.return_T for _, credit in rows if credit.return_T is not None]),
    )
    return objective.loss(now, batch)


def padded(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)


def advantages_by_the_papers(case: Case, *, kl: float, gamma: float, lam: float) -> dict[tuple[int, int], list[float]]:
    """Â_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γV_{t+1} − V_t and r_t = −β log(π_old/π_ref) + [t = T]·R."""
    found = {}
    for key, answer in case.items():
        T, value = len(answer.tokens), [*answer.foretold, 0.0]
        reward = [-kl * (answer.old[t] - answer.reference[t]) + (answer.reward if t == T - 1 else 0.0) for t in range(T)]
        delta = [reward[t] + gamma * value[t + 1] - value[t] for t in range(T)]
        found[key] = [sum((gamma * lam) ** k * delta[t + k] for k in range(T - t)) for t in range(T)]
    return found


def ppo_by_the_papers(case: Case, objective: ProximalPolicy) -> Tensor:
    """L^CLIP − c_v L^VF + c_e S of arXiv:1707.06347, eq. 9, negated; the expectation over tokens is their mean."""
    o = objective
    A = advantages_by_the_papers(case, kl=o.kl, gamma=o.gamma, lam=o.lam)
    every = [a for row in A.values() for a in row]
    J = torch.zeros((), dtype=torch.float64)
    for key, answer in case.items():
        logp, entropy = answer.logp, answer.entropy
        for t in range(len(answer.tokens)):
            R = A[key][t] + answer.foretold[t]
            a = (A[key][t] - fmean(every)) / (pstdev(every) + 1e-8) if o.whiten else A[key][t]
            r = (logp[t] - answer.old[t]).exp()
            surrogate = torch.min(r * a, r.clamp(1 - o.clip_low, 1 + o.clip_high) * a)
            if a < 0:
                surrogate = torch.max(surrogate, torch.tensor(o.clip_dual * a, dtype=torch.float64))
            clipped_value = answer.foretold[t] + (answer.value[t] - answer.foretold[t]).clamp(-o.value_clip, o.value_clip)
            value_loss = torch.max((answer.value[t] - R) ** 2, (clipped_value - R) ** 2) / 2
            count = len(case) * len(answer.tokens) if o.weight is per_sequence else len(every)
            J = J + (surrogate - o.value_weight * value_loss + o.entropy * entropy[t]) / count
    return -J


def gradients(loss: Tensor, case: Case) -> list[Tensor]:
    """Of all logits, then of all values."""
    leaves = [answer.logits for answer in case.values()] + [answer.value for answer in case.values()]
    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, found, strict=True)]


def assert_same(loss: Tensor, other: Tensor, case: Case) -> None:
    torch.testing.assert_close(loss, other, rtol=0, atol=1e-10)
    for mine, theirs in zip(gradients(loss, case), gradients(other, case), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"kl": 0.0},
    {"kl": 2.0, "gamma": 0.9, "lam": 0.5},
    {"clip_low": 10.0, "clip_high": 10.0},
    {"clip_low": 0.1, "clip_high": 0.28, "clip_dual": 1.1},
    {"value_clip": 0.05, "value_weight": 3.0},
    {"value_clip": inf},
    {"entropy": 0.1},
    {"whiten": False, "weight": per_sequence},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_both_gradients_are_the_papers(settings: dict[str, Any], seed: int) -> None:
    toy, objective = case(seed), ProximalPolicy(**settings)
    assert_same(loss_of(toy, objective, credited(toy, objective)).value, ppo_by_the_papers(toy, objective), toy)


def test_the_toy_is_clipped_on_every_side() -> None:
    toy, objective = case(0), ProximalPolicy()
    sums = loss_of(toy, objective, credited(toy, objective)).sums
    assert all(sums[name] > 0 for name in ("clip_ratio/low", "clip_ratio/high", "value/clip_ratio"))


@pytest.mark.parametrize("rewards", [((1.0, 0.0),), ((0.3, 0.3, 0.3), (0.3, 0.3, 0.3)), ((0.0, 0.0, 0.0),), ((1.0,),)])
def test_a_group_of_any_size_and_rewards_teaches(rewards: Sequence[Sequence[float]]) -> None:
    """Its group is no baseline: what counts is whether the value model foretold the reward."""
    toy, objective = case(5, rewards), ProximalPolicy()
    assert len(objective.arrange(groups(toy))) == sum(map(len, rewards))
    loss = loss_of(toy, objective, credited(toy, objective)).value
    assert_same(loss, ppo_by_the_papers(toy, objective), toy)
    assert any(grad.abs().max() > 0 for grad in gradients(loss, toy))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_the_split_into_micro_batches_changes_nothing(rows: int) -> None:
    toy, objective = case(1), ProximalPolicy(entropy=0.1)
    together = credited(toy, objective)
    whole, parts = loss_of(toy, objective, together), [loss_of(toy, objective, together[k : k + rows]) for k in range(0, 8, rows)]
    assert_same(torch.stack([part.value for part in parts]).sum(), whole.value, toy)
    for name, value in whole.sums.items():
        torch.testing.assert_close(sum(part.sums[name] for part in parts), value, rtol=0, atol=1e-10)


def test_the_order_of_the_rows_changes_nothing() -> None:
    toy, objective = case(2), ProximalPolicy()
    shuffled = credited(toy, objective, order=[5, 0, 7, 2, 1, 6, 4, 3])
    assert_same(loss_of(toy, objective, shuffled).value, loss_of(toy, objective, credited(toy, objective)).value, toy)


def test_advantages_are_whitened_over_the_whole_batch_and_returns_are_not() -> None:
    toy = case(3)
    pairs = credited(toy, ProximalPolicy())
    flat = torch.cat([credit.advantage_T for _, credit in pairs])
    assert float(flat.mean()) == pytest.approx(0, abs=1e-12)
    assert float(flat.square().mean()) == pytest.approx(1, rel=1e-6)
    assert any(abs(float(credit.advantage_T.mean())) > 0.1 for _, credit in pairs)  # of one answer it is not 0
    raw = advantages_by_the_papers(toy, kl=0.05, gamma=1.0, lam=0.95)
    for sample, credit in pairs:
        key = sample.group, sample.row
        torch.testing.assert_close(credit.return_T, doubles(raw[key]) + doubles(toy[key].foretold), rtol=0, atol=1e-12)


def test_two_answers_by_hand() -> None:
    # one token each, rewards 1 and 0, V_old 0.5: Â = ±0.5, mean 0, std 0.5, whitened ±1; R = 1 and 0
    pairs = credited(flat_case(rewards=(1.0, 0.0), foretold=0.5), ProximalPolicy(kl=0.0))
    assert [credit.advantage_T.tolist() for _, credit in pairs] == [[pytest.approx(1)], [pytest.approx(-1)]]
    assert [credit.return_T.tolist() for _, credit in pairs if credit.return_T is not None] == [[1], [0]]


def flat_case(rewards: Sequence[float], foretold: float = 0.0, value: float = 0.0, tokens: int = 1) -> Case:
    """Answers whose words are equally likely now, before and to the reference."""
    logp = [-float(doubles([V]).log())] * tokens

    def answer(reward: float) -> Answer:
        logits = torch.zeros(tokens, V, dtype=torch.float64, requires_grad=True)
        values = torch.full((tokens,), value, dtype=torch.float64, requires_grad=True)
        return Answer([1] * tokens, reward, logits, values, logp, [*logp], [foretold] * tokens)

    return {(0, row): answer(reward) for row, reward in enumerate(rewards)}


@pytest.mark.parametrize(
    ("value", "loss", "slope"),
    [
        # V_old 0, ε_v 0.2, R 1: ½·max((V − 1)², (clip(V) − 1)²)
        (0.1, 0.405, -0.9),  # inside: ½·0.9²
        (0.5, 0.32, 0.0),  # beyond, towards R: held at 0.2, ½·0.8², and no further push
        (-0.5, 1.125, -1.5),  # beyond, away from R: ½·1.5², pulled back with full force
        (3.0, 2.0, 2.0),  # past R: (3 − 1)² is worse than (0.2 − 1)²
    ],
)
def test_a_value_that_has_moved_far_towards_its_target_is_pushed_no_further(value: float, loss: float, slope: float) -> None:
    toy, objective = flat_case([1.0], value=value), ProximalPolicy(kl=0.0, value_weight=1.0, whiten=False)
    found = loss_of(toy, objective, credited(toy, objective))
    assert found.sums["value/loss"].item() == pytest.approx(loss)
    assert found.sums["value/clip_ratio"].item() == (value == 0.5)
    assert gradients(found.value, toy)[-1].item() == pytest.approx(slope)


def test_the_same_reward_foretold_everywhere_teaches_the_policy_nothing() -> None:
    toy, objective = flat_case([0.3] * 3, foretold=0.3, value=0.3, tokens=2), ProximalPolicy()
    # δ = (V − V, R − V) = 0 throughout
    assert [credit.advantage_T.tolist() for _, credit in credited(toy, objective)] == [[0, 0]] * 3
    assert all(grad.abs().max() < 1e-12 for grad in gradients(loss_of(toy, objective, credited(toy, objective)).value, toy))


def test_the_reward_pays_for_the_distance_from_the_reference() -> None:
    # β 0.5, log π_old − log π_ref = 0.2 on both tokens: r = (−0.1, 1 − 0.1); γ = λ = 1, V = 0: Â = (0.8, 0.9)
    toy = flat_case([1.0], tokens=2)
    toy[0, 0].reference[:] = [logp - 0.2 for logp in toy[0, 0].old]
    ((_, credit),) = credited(toy, ProximalPolicy(kl=0.5, lam=1.0, whiten=False))
    torch.testing.assert_close(credit.advantage_T, doubles([0.8, 0.9]))


def test_an_answer_that_was_cut_off_ends_like_any_other() -> None:
    toy = case(4)
    cut = {key: replace(answer, finish_reason="length") for key, answer in toy.items()}
    assert credited_numbers(cut) == credited_numbers(toy)


def credited_numbers(case: Case) -> list[list[float]]:
    return [credit.advantage_T.tolist() for _, credit in credited(case, ProximalPolicy())]


def test_an_empty_answer_is_left_out_and_counts_no_token() -> None:
    toy = flat_case([1.0, 0.0])
    with_empty = [replace(group, completions=(group.completions[0], Completion("", ()))) for group in groups(toy)]
    (sample,) = ProximalPolicy().arrange(with_empty)
    assert (sample.row, sample.reward, sample.advantages, sample.weight) == (0, 1.0, (1.0,), 1.0)
    assert ProximalPolicy().arrange([]) == []
    assert ProximalPolicy().credit([], []) == []


def test_a_reference_is_needed_for_the_penalty_alone() -> None:
    assert ProximalPolicy().needs == {"values", "before", "reference"}
    assert ProximalPolicy(kl=0.0, entropy=0.01).needs == {"values", "before", "entropy"}


def test_models_that_are_missing_are_named() -> None:
    toy, objective = flat_case([1.0]), ProximalPolicy()
    samples, told = objective.arrange(groups(toy)), toy[0, 0].before()
    with pytest.raises(TrainingError, match="needs values and returns"):
        objective.credit(samples, [replace(told, value_T=None)])
    with pytest.raises(TrainingError, match="needs log-probabilities of the reference model"):
        objective.credit(samples, [replace(told, reference_logp_T=None)])


@pytest.mark.parametrize("reward", [nan, inf])
def test_a_reward_that_is_no_number_is_refused(reward: float) -> None:
    with pytest.raises(TrainingError, match="toy/0: rewards must be finite numbers"):
        ProximalPolicy().arrange(groups(flat_case([1.0, reward])))


def test_explained_variance_follows_from_what_is_reported() -> None:
    toy, objective = case(6), ProximalPolicy()
    pairs = credited(toy, objective)
    sums = loss_of(toy, objective, pairs).sums
    returns = [value for _, credit in pairs if credit.return_T is not None for value in credit.return_T.tolist()]
    foretold = [value for sample, _ in pairs for value in toy[sample.group, sample.row].foretold]
    mean = {name: float(value) / len(returns) for name, value in sums.items()}
    assert mean["value/mean"] == pytest.approx(fmean(foretold))
    assert sqrt(mean["value/return_squared"] - mean["value/return"] ** 2) == pytest.approx(pstdev(returns))
    assert mean["value/error"] == pytest.approx(fmean([(v - r) ** 2 for v, r in zip(foretold, returns, strict=True)]))


def test_a_recipe_can_change_every_setting() -> None:
    given = {"name": "ppo", "kl": 0.0, "gamma": 0.9, "lam": 1.0, "value_clip": 0.5, "value_weight": 1.0, "whiten": False, "clip_low": 10.0}
    expected = ProximalPolicy(kl=0.0, gamma=0.9, lam=1.0, value_clip=0.5, value_weight=1.0, whiten=False, clip_low=10.0, budget=64)
    assert build(ObjectiveConfig.model_validate(given), 64) == expected
