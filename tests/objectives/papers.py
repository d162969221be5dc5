"""The papers' formulas in float64 as the sums that they are, and toy batches to try them on.

Nothing here comes from the package but what flows through it, so that a mistake would have to be made twice. A paper's J is to be
maximised; the functions named after papers and switches return −J.

# T tokens of an answer, V words
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, prod
from statistics import fmean, pstdev, stdev

import torch
from torch import Tensor

from reasoning_rl.objectives.objective import Before
from reasoning_rl.records import Completion, Group, Part, Problem, Prompt, StepReward, Verdict

V = 5
BUDGET = 9
"""L, the most tokens an answer may have."""
EPSILON = 1e-6
"""Added to standard deviations; the papers have none."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer, how it was judged, and what four policies say of it."""

    tokens: list[int]
    parts: Mapping[str, Part]
    steps: tuple[StepReward, ...]
    truncated: bool
    logits: Tensor
    """Of the policy, (T, V): a leaf."""
    old_logits: Tensor
    reference: list[float]
    sampled: list[float]
    """As the engine reported it, which is not quite π_old."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def reward(self) -> float:
        return sum(weight * value for weight, value in self.parts.values())

    @property
    def logp(self) -> Tensor:
        return of_tokens(self.logits, self.tokens)

    @property
    def old(self) -> list[float]:
        return list(map(float, of_tokens(self.old_logits, self.tokens)))

    def before(self) -> Before:
        old, reference = (torch.tensor(values, dtype=torch.float64) for values in (self.old, self.reference))
        return Before(old, entropy_of(self.old_logits), reference)

    def completion(self) -> Completion:
        return Completion("", tuple(self.tokens), tuple(self.sampled), "length" if self.truncated else "stop")


def of_tokens(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    return logits.log_softmax(-1)[range(len(tokens)), tokens]


def entropy_of(logits: Tensor) -> Tensor:
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


@dataclass(frozen=True)
class Case:
    """An optimiser batch: answers by question."""

    groups: list[list[Answer]]

    @property
    def answers(self) -> list[Answer]:
        return [answer for group in self.groups for answer in group]

    def records(self) -> list[Group]:
        return [_record(group) for group in self.groups]

    def turned(self) -> "Case":
        """The same batch with questions and answers in the opposite order."""
        return Case([group[::-1] for group in self.groups[::-1]])


def _record(answers: Sequence[Answer]) -> Group:
    return Group(
        prompt=Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,)),
        completions=tuple(answer.completion() for answer in answers),
        verdicts=tuple(Verdict(answer.reward, parts=answer.parts) for answer in answers),
        steps=tuple(answer.steps for answer in answers),
    )


def case(seed: int, *, spread: float = 0.5, G: int = 4) -> Case:
    """Three questions with ragged answers of 1 to 7 tokens: one right of G, all different, and all the same reward. Some were cut off.

    `spread`: how far the logits of π_old and π_ref lie from the policy's.
    """
    random = torch.Generator().manual_seed(seed)
    right_of = [
        [(1.0, 0.0), *[(0.0, 0.0)] * (G - 1)],
        [(0.1 * i, (0.7 * i) % 1) for i in range(G)],
        [(0.1 * 3, 0.0)] * G,
    ]
    return Case([[_answer(right, long, p, i, spread, random) for i, (right, long) in enumerate(group)] for p, group in enumerate(right_of)])


def _answer(right: float, long: float, p: int, i: int, spread: float, random: torch.Generator) -> Answer:
    T = int(torch.randint(1, 8, (), generator=random))
    logits = torch.randn(T, V, generator=random, dtype=torch.float64).requires_grad_()
    tokens = torch.randint(0, V, (T,), generator=random).tolist()
    old_logits, reference_logits, sampled_logits = (_near(logits, distance, random) for distance in (spread, spread, 0.0))
    shift = 0.3 * torch.randn(T, generator=random, dtype=torch.float64)
    ends = [t for t in range(T) if torch.rand((), generator=random) < 0.5]
    values = [0.1 * 3 if p == 2 else float(torch.randint(0, 3, (), generator=random)) / 2 for _ in ends]
    return Answer(
        tokens=tokens,
        parts={"math": Part(1.0, right), "length": Part(-0.5, long)},
        steps=tuple(map(StepReward, ends, values)),
        truncated=(p, i) in {(0, 1), (1, 0), (2, 1)},
        logits=logits,
        old_logits=old_logits,
        reference=of_tokens(reference_logits, tokens).tolist(),
        sampled=(of_tokens(sampled_logits, tokens) + shift).tolist(),
    )


def _near(logits: Tensor, distance: float, random: torch.Generator) -> Tensor:
    return logits.detach() + distance * torch.randn(logits.shape, generator=random, dtype=torch.float64)


# What an answer's tokens are worth

Advantages = Mapping[Answer, list[float]]
"""Â_{i,t} by answer and token."""


def for_every_token(case: Case, per_group: Callable[[Sequence[float]], list[float]]) -> Advantages:
    """The same advantage for all tokens of an answer, from the rewards of its group."""
    return _spread(case, lambda answer: answer.reward, per_group)


def _spread(case: Case, worth: Callable[[Answer], float], per_group: Callable[[Sequence[float]], list[float]]) -> Advantages:
    of_answer = {answer: A for group in case.groups for answer, A in zip(group, per_group([worth(answer) for answer in group]))}
    return {answer: [A] * len(answer) for answer, A in of_answer.items()}


def standardised(rewards: Sequence[float], *, ddof: int = 0, epsilon: float = EPSILON) -> list[float]:
    """(R − mean)/std; nothing where all are the same. DeepSeekMath, arXiv:2402.03300, §4.1.2."""
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    return [(R - fmean(rewards)) / ((stdev if ddof else pstdev)(rewards) + epsilon) for R in rewards]


def centred(rewards: Sequence[float]) -> list[float]:
    """R − mean. Dr. GRPO, arXiv:2503.20783, §3."""
    return [0.0 if len(set(rewards)) == 1 else R - fmean(rewards) for R in rewards]


def against_the_others(rewards: Sequence[float]) -> list[float]:
    """R_i − 1/(G−1) Σ_{j≠i} R_j. RLOO, arXiv:2402.14740."""
    return [R - fmean([*rewards[:i], *rewards[i + 1 :]]) for i, R in enumerate(rewards)]


def over_the_batch(case: Case, *, epsilon: float = EPSILON, ddof: int = 0) -> Advantages:
    """R − mean of the group, over the standard deviation of all rewards of the batch."""
    everybody = [answer.reward for answer in case.answers]
    std = (stdev if ddof else pstdev)(everybody)
    return for_every_token(case, lambda rewards: [A / (std + epsilon) for A in centred(rewards)])


def whitened(advantages: Advantages, *, epsilon: float = EPSILON) -> Advantages:
    """(A − mean)/std over all tokens of the batch. REINFORCE++, arXiv:2501.03262."""
    all_A = [A for row in advantages.values() for A in row]
    return {answer: [(A - fmean(all_A)) / (pstdev(all_A) + epsilon) for A in row] for answer, row in advantages.items()}


def process(case: Case, *, outcome: bool = True) -> Advantages:
    """Σ_{index(j) ≥ t} r̃^{index(j)}, r̃ normalised over all steps of the group. DeepSeekMath, §4.1.3.

    Departure: the answer's own reward is one more step, at its last token, unless `outcome` is off.
    """
    advantages = {}
    for group in case.groups:
        steps = [(answer, *step) for answer in group for step in [*answer.steps, *[(len(answer) - 1, answer.reward)] * outcome]]
        normalised = standardised([value for _, _, value in steps])
        for answer in group:
            own = [(index, r) for (whose, index, _), r in zip(steps, normalised) if whose is answer]
            advantages[answer] = [sum(r for index, r in own if index >= t) for t in range(len(answer))]
    return advantages


def normalised_then_summed(case: Case, normalised: Callable[[Sequence[float]], list[float]] = standardised) -> Advantages:
    """Σ_v w_v·norm(value_v), norm over the group."""
    advantages = {}
    for group in case.groups:
        for i, answer in enumerate(group):
            by_verifier = [(w, normalised([a.parts[v].value for a in group])[i]) for v, (w, _) in answer.parts.items()]
            advantages[answer] = [sum(w * A for w, A in by_verifier)] * len(answer)
    return advantages


Estimator = Callable[[float], float]
"""log π − log π_ref of a token to an estimate of the KL, in nats."""

ESTIMATORS: dict[str, Estimator] = {"k1": lambda x: x, "k2": lambda x: x**2 / 2, "k3": lambda x: exp(-x) - 1 + x}


def kl_from(answer: Answer, t: int, k: Estimator = ESTIMATORS["k1"]) -> float:
    """Σ_{t' ≥ t} k_{t'} of the policy that sampled."""
    return sum(k(old - reference) for old, reference in list(zip(answer.old, answer.reference))[t:])


def less_kl(case: Case, per_group: Callable[[Sequence[float]], list[float]], beta: float, k: Estimator = ESTIMATORS["k1"]) -> Advantages:
    """The advantages of R − β Σ_t k_t, which is the reward of a whole answer in RLOO, arXiv:2402.14740."""
    return _spread(case, lambda answer: answer.reward - beta * kl_from(answer, 0, k), per_group)


def less_kl_to_come(case: Case, beta: float, k: Estimator = ESTIMATORS["k1"]) -> Advantages:
    """R − β Σ_{t' ≥ t} k_{t'}: the return of REINFORCE++, arXiv:2501.03262, where the KL is paid token by token."""
    return {answer: [answer.reward - beta * kl_from(answer, t, k) for t in range(len(answer))] for answer in case.answers}


# What a token adds to J

Term = Callable[[Answer, int], Tensor]


def ratio(answer: Answer, t: int) -> Tensor:
    """r_{i,t} = π_θ/π_old. PPO, arXiv:1707.06347, eq. 6."""
    return (answer.logp[t] - answer.old[t]).exp()


def sequence_ratio(answer: Answer) -> Tensor:
    """s_i = (π_θ(o_i)/π_old(o_i))^{1/|o_i|}. GSPO, arXiv:2507.18071, eq. 7."""
    return (answer.logp.sum().exp() / prod(map(exp, answer.old))) ** (1 / len(answer))


def pessimistic(r: Tensor, A: float, low: float, high: float) -> Tensor:
    """min(rA, clip(r, 1 − ε_low, 1 + ε_high)A)."""
    return torch.min(r * A, r.clamp(1 - low, 1 + high) * A)


def clip_of(A: Advantages, low: float, high: float) -> Term:
    return lambda answer, t: pessimistic(ratio(answer, t), A[answer][t], low, high)


def k1(answer: Answer, t: int) -> Tensor:
    return answer.logp[t] - answer.reference[t]


def k2(answer: Answer, t: int) -> Tensor:
    return (answer.logp[t] - answer.reference[t]) ** 2 / 2


def k3(answer: Answer, t: int) -> Tensor:
    """π_ref/π_θ − log π_ref/π_θ − 1. DeepSeekMath, arXiv:2402.03300, eq. 4."""
    rho = exp(answer.reference[t]) / answer.logp[t].exp()
    return rho - rho.log() - 1


def total(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def everything(case: Case) -> Iterator[tuple[Answer, int]]:
    return ((answer, t) for answer in case.answers for t in range(len(answer)))


def mean_over_answers(case: Case, term: Term) -> Tensor:
    """1/N Σ_i 1/|o_i| Σ_t: with N = P·G answers, GRPO's mean over a group inside the expectation over questions."""
    return total(term(answer, t) / len(answer) for answer, t in everything(case)) / len(case.answers)


def mean_over_tokens(case: Case, term: Term) -> Tensor:
    """1/Σ|o| Σ_i Σ_t. DAPO, arXiv:2503.14476, eq. 8."""
    return total(term(answer, t) for answer, t in everything(case)) / sum(map(len, case.answers))


def sum_of_tokens(case: Case, term: Term) -> Tensor:
    """1/N Σ_i Σ_t."""
    return total(term(answer, t) for answer, t in everything(case)) / len(case.answers)


# The papers


def grpo(case: Case, *, epsilon: float = 0.2, beta: float = 0.04) -> Tensor:
    """DeepSeekMath, arXiv:2402.03300, eq. 3 and 4."""
    A = for_every_token(case, standardised)
    surrogate = clip_of(A, epsilon, epsilon)
    return -mean_over_answers(case, lambda answer, t: surrogate(answer, t) - beta * k3(answer, t))


def grpo_process(case: Case, *, beta: float = 0.04, outcome: bool = True) -> Tensor:
    """DeepSeekMath, eq. 3 with the advantages of §4.1.3."""
    surrogate = clip_of(process(case, outcome=outcome), 0.2, 0.2)
    return -mean_over_answers(case, lambda answer, t: surrogate(answer, t) - beta * k3(answer, t))


def dr_grpo(case: Case) -> Tensor:
    """Dr. GRPO, arXiv:2503.20783, §3: no standard deviation, a constant in place of |o|, no KL."""
    return -sum_of_tokens(case, clip_of(for_every_token(case, centred), 0.2, 0.2)) / BUDGET


def dr_grpo_by_verifier(case: Case) -> Tensor:
    """The same with advantages of each verifier's values, weighed and summed."""
    return -sum_of_tokens(case, clip_of(normalised_then_summed(case, centred), 0.2, 0.2)) / BUDGET


def dapo(case: Case) -> Tensor:
    """DAPO, arXiv:2503.14476, eq. 8."""
    return -mean_over_tokens(case, clip_of(for_every_token(case, standardised), 0.2, 0.28))


def dapo_filtered(case: Case) -> Tensor:
    """DAPO with overlong filtering, §3.4: answers that were cut off are masked out of the loss."""
    surrogate = clip_of(for_every_token(case, standardised), 0.2, 0.28)
    kept = [answer for answer in case.answers if not answer.truncated]
    return -total(surrogate(answer, t) for answer in kept for t in range(len(answer))) / sum(map(len, kept))


def gspo(case: Case, *, low: float = 3e-4, high: float = 4e-4) -> Tensor:
    """GSPO, arXiv:2507.18071, eq. 5."""
    A = for_every_token(case, standardised)
    return -total(pessimistic(sequence_ratio(answer), A[answer][0], low, high) for answer in case.answers) / len(case.answers)


def gspo_token(case: Case, advantages: Callable[[Case], Advantages], *, low: float = 3e-4, high: float = 4e-4) -> Tensor:
    """GSPO-token, arXiv:2507.18071, §4.3: s_{i,t} = sg[s_i]·π_θ/sg[π_θ], for advantages that may differ from token to token."""
    A = advantages(case)

    def term(answer: Answer, t: int) -> Tensor:
        likelihood = answer.logp[t].exp()
        return pessimistic(sequence_ratio(answer).detach() * likelihood / likelihood.detach(), A[answer][t], low, high)

    return -mean_over_answers(case, term)


def cispo(case: Case, *, low: float, high: float) -> Tensor:
    """CISPO, MiniMax-M1, arXiv:2506.13585, eq. 4 and 5: the upper bound is 1 + ε, not ε."""
    A = for_every_token(case, standardised)

    def term(answer: Answer, t: int) -> Tensor:
        return ratio(answer, t).detach().clamp(1 - low, 1 + high) * A[answer][t] * answer.logp[t]

    return -mean_over_tokens(case, term)


def reinforce(case: Case, advantages: Advantages) -> Tensor:
    """1/N Σ_i A_i log π_θ(o_i), whose gradient is Williams's. RLOO, arXiv:2402.14740, §2."""
    return -sum_of_tokens(case, lambda answer, t: advantages[answer][t] * answer.logp[t])


def rloo(case: Case, *, beta: float) -> Tensor:
    """RLOO, arXiv:2402.14740: the KL of the whole answer in its reward, the others as baseline, no clip."""
    return reinforce(case, less_kl(case, against_the_others, beta))


def reinforce_pp(case: Case, *, beta: float) -> Tensor:
    """REINFORCE++, arXiv:2501.03262: PPO's clip, no baseline but the batch's mean."""
    return -mean_over_tokens(case, clip_of(whitened(less_kl_to_come(case, beta)), 0.2, 0.2))


def reinforce_pp_baseline(case: Case, *, beta: float) -> Tensor:
    """REINFORCE++ with baseline, arXiv:2501.03262: the group's mean goes before the batch is whitened, the KL is k2 in the loss."""
    surrogate = clip_of(whitened(for_every_token(case, centred)), 0.2, 0.2)
    return -mean_over_tokens(case, lambda answer, t: surrogate(answer, t) - beta * k2(answer, t))


# Switches, each on GRPO with ε = 0.2


def surrogate_of_grpo(case: Case) -> Term:
    return clip_of(for_every_token(case, standardised), 0.2, 0.2)


def with_advantages(case: Case, A: Advantages, beta: float = 0.0) -> Tensor:
    surrogate = clip_of(A, 0.2, 0.2)
    return -mean_over_answers(case, lambda answer, t: surrogate(answer, t) - beta * k3(answer, t))


def with_kl(case: Case, k: Term, *, beta: float, weighed: bool) -> Tensor:
    """−β k_t in J, or −β r_t k_t, which is unbiased off-policy."""
    surrogate = surrogate_of_grpo(case)
    return -mean_over_answers(
        case, lambda answer, t: surrogate(answer, t) - beta * k(answer, t) * (ratio(answer, t) if weighed else torch.ones(()))
    )


def dual_clipped(case: Case, c: float) -> Tensor:
    """max(min(rA, clip(r)A), cA) where A < 0. Dual-clip PPO, arXiv:1912.09729, eq. 5."""
    A, surrogate = for_every_token(case, standardised), surrogate_of_grpo(case)

    def term(answer: Answer, t: int) -> Tensor:
        worth = A[answer][t]
        return torch.max(surrogate(answer, t), torch.tensor(c * worth, dtype=torch.float64)) if worth < 0 else surrogate(answer, t)

    return -mean_over_answers(case, term)


def with_entropy(case: Case, coefficient: float) -> Tensor:
    """+ c H_t. PPO, arXiv:1707.06347, eq. 9."""
    surrogate = surrogate_of_grpo(case)
    return -mean_over_answers(case, lambda answer, t: surrogate(answer, t) + coefficient * entropy_of(answer.logits)[t])


def forking_tokens(case: Case, share: float) -> Tensor:
    """DAPO's J with 1[H_t ≥ τ], τ the (1 − ρ) quantile of the batch's entropies. arXiv:2506.01939."""
    surrogate = clip_of(for_every_token(case, standardised), 0.2, 0.28)
    H = {answer: entropy_of(answer.old_logits).tolist() for answer in case.answers}
    tau = quantile([h for row in H.values() for h in row], 1 - share)
    return -mean_over_tokens(case, lambda answer, t: surrogate(answer, t) * (H[answer][t] >= tau))


def quantile(values: Sequence[float], q: float) -> float:
    """Of sorted x_0 … x_{n−1} the value at q(n − 1), between neighbours on a straight line."""
    ordered, place = sorted(values), q * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def corrected(case: Case, *, beta: float, whole: bool, cap: float, mask: bool) -> Tensor:
    """w·min(…) − β k3, w = π_old/π_sampled of a token or of the whole answer, at most `cap`, or nothing above it."""
    surrogate = surrogate_of_grpo(case)

    def w(answer: Answer, t: int) -> float:
        over = [exp(old - sampled) for old, sampled in zip(answer.old, answer.sampled)]
        weight = prod(over) if whole else over[t]
        return min(weight, cap) if not mask else weight * (weight <= cap)

    return -mean_over_answers(case, lambda answer, t: w(answer, t) * surrogate(answer, t) - beta * k3(answer, t))


def without_truncated(case: Case, *, by: str, beta: float = 0.0) -> Tensor:
    """Answers that were cut off have no term; they count in the baseline and in N, and not in Σ|o|."""
    surrogate = surrogate_of_grpo(case)
    kept = [answer for answer in case.answers if not answer.truncated]
    N, tokens = len(case.answers), sum(map(len, kept))

    def count(answer: Answer) -> int:
        return {"sequence": N * len(answer), "token": tokens, "budget": N * BUDGET, "answer": N}[by]

    return -total((surrogate(a, t) - beta * k3(a, t)) / count(a) for a in kept for t in range(len(a)))
