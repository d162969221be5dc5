"""The policy gradient without a value model: GRPO, and those that differ from it in a term.

# B rows, one answer each; T tokens, padded on the right; N answers in the optimiser batch

    loss = Σ weight · ( w·surrogate(ρ, A) + β·k(π_θ‖π_ref) − c·H )       DeepSeekMath, arXiv:2402.03300, eq. 3, negated

Where the paper leaves something open: std's ddof and epsilon (see `advantages.standardized`), and the mean over several questions, which is
taken over all N answers of the batch. Answers without a signal are left out when nothing but their advantage, 0, would move them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reasoning_rl.errors import ConfigError, EngineError, TrainingError
from reasoning_rl.objectives.advantages import Baseline, Scale, centered, normalised, unchanged, whitened
from reasoning_rl.objectives.corrections import Beyond, Level, importance
from reasoning_rl.objectives.divergences import Divergence, k1, k3
from reasoning_rl.objectives.measures import measured
from reasoning_rl.objectives.objective import Batch, Before, Credit, Loss, Need, Now, Objective
from reasoning_rl.objectives.ratios import Ratio, token_ratio
from reasoning_rl.objectives.returns import to_go
from reasoning_rl.objectives.samples import answers_of, each_answer, refuse_infinite, required, sample_of
from reasoning_rl.objectives.surrogates import Clip, Surrogate, clipped, reweighted, score
from reasoning_rl.objectives.weights import Lengths, Weight, per_sequence
from reasoning_rl.records import Group, Sample, StepReward


@dataclass(frozen=True)
class PolicyGradient(Objective):
    """An objective of the GRPO family, as its choice in each term. What a field means stands at the setting of its name (`config.py`)."""

    baseline: Baseline = centered
    scale: Scale = "group"
    ddof: int = 0
    epsilon: float = 1e-6
    whiten: bool = False
    supervision: Literal["outcome", "process"] = "outcome"
    outcome_step: bool = True
    combine: Literal["sum_then_normalise", "normalise_then_sum"] = "sum_then_normalise"
    weight: Weight = per_sequence
    budget: int = 1
    """L of `weights.per_budget`; the other weights don't ask for it."""
    mask_truncated: bool = False
    surrogate: Surrogate = clipped
    ratio: Ratio = token_ratio
    clip_low: float = 0.2
    clip_high: float = 0.2
    clip_dual: float = inf
    kl: float = 0.0
    kl_in: Literal["loss", "reward"] = "loss"
    kl_estimator: Divergence | None = None
    """None: k3 in the loss, k1 in the reward."""
    kl_ratio: bool = False
    entropy: float = 0.0
    top_entropy: float = 1.0
    correction: Level = "none"
    correction_cap: float = 2.0
    correction_beyond: Beyond = "truncate"

    def __post_init__(self) -> None:
        if self._penalises and (self.supervision, self.combine) != ("outcome", "sum_then_normalise"):
            raise ConfigError(
                f"objective.kl_in: 'reward' needs one reward of each answer; found supervision {self.supervision!r} and combine "
                f"{self.combine!r}, which go with 'loss'"
            )
        if self._penalises and self.baseline is unchanged and self.scale != "none":
            raise ConfigError(f"objective.scale: {self.scale!r} would scale the reward, not the KL in it; without a baseline it is 'none'")
        if self.supervision == "process" and self.combine != "sum_then_normalise":
            raise ConfigError(f"objective.combine: {self.combine!r} combines rewards of answers; with supervision 'process' leave it out")

    @property
    def clip(self) -> Clip:
        return Clip(self.clip_low, self.clip_high, self.clip_dual)

    @property
    def needs(self) -> frozenset[Need]:
        asked: dict[Need, bool] = {
            "reference": self.kl > 0,
            "before": self._penalises or self.top_entropy < 1,
            "entropy": self.entropy > 0,
            "steps": self.supervision == "process",
        }
        return frozenset(need for need, is_asked in asked.items() if is_asked)

    @property
    def idle(self) -> frozenset[str]:
        """See Objective."""
        unused: dict[str, bool] = {
            "clip_low clip_high ratio": self.surrogate is score,
            "clip_dual": self.surrogate in {score, reweighted},
            "correction_cap correction_beyond": self.correction == "none",
            "outcome_step": self.supervision == "outcome",
            "ddof": self.scale == "none",
            "epsilon": self.scale == "none" and not self.whiten,
            "kl_ratio": self.kl_in == "reward",
        }
        return frozenset(name for names, is_unused in unused.items() if is_unused for name in names.split())

    @property
    def _penalises(self) -> bool:
        """Whether the KL is part of the reward, so that advantages have to wait for what the models say."""
        return self.kl > 0 and self.kl_in == "reward"

    @property
    def _divergence(self) -> Divergence:
        return self.kl_estimator or (k1 if self.kl_in == "reward" else k3)

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """Every answer of `groups`, an optimiser batch, with its advantage on each token and its weight.

        Left out are answers without a token, those masked, and those whose advantages are all 0 where nothing else moves them; they still
        count in N. Where `credit` is to follow, all with a token are kept. TrainingError for a reward that is not a finite number.
        """
        credited = zip(each_answer(groups), self._advantages(groups), self._weights(groups), strict=True)
        samples = [sample_of(*answer, advantage_T, weight) for answer, advantage_T, weight in credited]
        return [sample for sample in samples if sample.completion_ids and ("before" in self.needs or self._teaches(sample))]

    def _teaches(self, sample: Sample) -> bool:
        return sample.weight > 0 and (self.kl > 0 or self.entropy > 0 or any(sample.advantages))

    def _weights(self, groups: Sequence[Group]) -> list[float]:
        """Of one token in each answer; 0 in masked ones."""
        answers = answers_of(groups)
        masked = [self.mask_truncated and completion.finish_reason == "length" for completion in answers]
        lengths = [0 if out else max(len(completion.token_ids), 1) for completion, out in zip(answers, masked)]
        weights: list[float] = self.weight(Lengths(torch.tensor(lengths, dtype=torch.float64), self.budget)).tolist()
        return [0.0 if out else weight for weight, out in zip(weights, masked)]

    def _advantages(self, groups: Sequence[Group]) -> list[Tensor]:
        """Of each answer, (T,), from the rewards alone."""
        for group in groups:
            refuse_infinite(group)
        rows = self._by_steps(groups) if self.supervision == "process" else self._by_outcome(groups)
        return whitened(rows, epsilon=self.epsilon) if self.whiten and not self._penalises else rows

    def _by_outcome(self, groups: Sequence[Group]) -> list[Tensor]:
        """Â_t = the normalised reward, on every token. DeepSeekMath, arXiv:2402.03300, §4.1.2."""
        if self.combine == "sum_then_normalise":
            advantages = self._normalised([_numbers(group.rewards) for group in groups])
        else:
            advantages = self._summed_over_verifiers(groups)
        return _spread(advantages, [len(completion.token_ids) for completion in answers_of(groups)])

    def _summed_over_verifiers(self, groups: Sequence[Group]) -> list[Tensor]:
        """Σ_v w_v·norm(value_v), so that every verifier moves the policy as far as its weight says, however little it varies."""
        summed = [torch.zeros(len(group.completions), dtype=torch.float64) for group in groups]
        for name, weight in _verifiers(groups).items():
            values = [_numbers([verdict.parts[name].value for verdict in group.verdicts]) for group in groups]
            summed = [total + weight * advantage for total, advantage in zip(summed, self._normalised(values), strict=True)]
        return summed

    def _by_steps(self, groups: Sequence[Group]) -> list[Tensor]:
        """Â_t = Σ of the normalised rewards of the steps that end at or after t. DeepSeekMath, arXiv:2402.03300, §4.1.3.

        Rewards are normalised over all steps of all answers of the group. A process reward model judges the answer with the last step;
        rules don't, so the verdict's reward is one more step, at the last token (`outcome_step`).
        """
        found = [steps for group in groups for steps in self._steps(group)]
        of_group = [_numbers([step.value for steps in self._steps(group) for step in steps]) for group in groups]
        values = iter(torch.cat(self._normalised(of_group)).tolist() if groups else ())
        return [to_go(_at_ends(steps, values, len(answer.token_ids))) for steps, answer in zip(found, answers_of(groups), strict=True)]

    def _steps(self, group: Group) -> list[list[StepReward]]:
        """Of each answer, none of one without a token."""
        found = group.steps or ((),) * len(group.completions)
        ends = [
            [StepReward(len(answer.token_ids) - 1, reward)] * self.outcome_step for answer, reward in zip(group.completions, group.rewards)
        ]
        return [[*steps, *end] if answer.token_ids else [] for steps, end, answer in zip(found, ends, group.completions, strict=True)]

    def _normalised(self, rewards: Sequence[Tensor]) -> list[Tensor]:
        return normalised(rewards, baseline=self.baseline, scale=self.scale, ddof=self.ddof, epsilon=self.epsilon)

    def credit(self, samples: Sequence[Sample], before: Sequence[Before]) -> list[Credit]:
        """Advantages with the KL taken off the reward, and of 0 for tokens outside `top_entropy`."""
        advantages = self._penalised(samples, before) if self._penalises else [_numbers(sample.advantages) for sample in samples]
        if self.top_entropy < 1:
            advantages = [advantage_T * is_top_T for advantage_T, is_top_T in zip(advantages, self._top(samples, before), strict=True)]
        return list(map(Credit, advantages))

    def _penalised(self, samples: Sequence[Sample], before: Sequence[Before]) -> list[Tensor]:
        """Without a baseline a token answers for the divergence from itself on (REINFORCE++); a group compares that of whole answers."""
        penalties = [self.kl * self._divergence(known.logp_T, required(known.reference_logp_T)) for known in before]
        if self.baseline is unchanged:
            rows = [_numbers(sample.advantages) - to_go(penalty_T) for sample, penalty_T in zip(samples, penalties, strict=True)]
        else:
            rewards = [sample.reward - float(penalty_T.sum()) for sample, penalty_T in zip(samples, penalties, strict=True)]
            of_group = groupby(zip(samples, rewards), key=lambda pair: pair[0].group)
            advantages = self._normalised([_numbers([reward for _, reward in pairs]) for _, pairs in of_group])
            rows = _spread(advantages, [len(sample.completion_ids) for sample in samples])
        return whitened(rows, epsilon=self.epsilon) if self.whiten else rows

    def _top(self, samples: Sequence[Sample], before: Sequence[Before]) -> list[Tensor]:
        """True at the tokens of highest entropy among all that the batch learns from. arXiv:2506.01939."""
        learned = [known.entropy_T for sample, known in zip(samples, before, strict=True) if sample.weight > 0]
        least = float(np.quantile(torch.cat(learned).numpy(), 1 - self.top_entropy)) if learned else 0.0
        return [known.entropy_T >= least for known in before]

    def loss(self, now: Now, batch: Batch) -> Loss:
        """Σ weight·(w·surrogate + β·divergence − c·entropy) over the tokens of these rows. Reported: see `measures.measured`."""
        logp_BT = now.logp_BT.masked_fill(~batch.mask_BT, 0)
        ratio_BT = self.ratio(logp_BT, batch.old_logp_BT, batch.mask_BT)
        loss_BT = self._correction(batch) * self.surrogate(ratio_BT, logp_BT, batch.advantage_BT, self.clip)
        if self.kl > 0 and self.kl_in == "loss":
            loss_BT = loss_BT + self.kl * self._pull(logp_BT, batch)
        if self.entropy > 0:
            loss_BT = loss_BT - self.entropy * now.entropy_BT.masked_fill(~batch.mask_BT, 0)
        return Loss((batch.weight_BT * loss_BT).sum(), measured(now, ratio_BT, batch, None if self.surrogate is score else self.clip))

    def _pull(self, logp_BT: Tensor, batch: Batch) -> Tensor:
        """The divergence from the reference, carried over to π_θ where asked."""
        divergence_BT = self._divergence(logp_BT, required(batch.reference_logp_BT))
        return token_ratio(logp_BT, batch.old_logp_BT, batch.mask_BT) * divergence_BT if self.kl_ratio else divergence_BT

    def _correction(self, batch: Batch) -> Tensor | float:
        if self.correction == "none":
            return 1.0
        if batch.sampled_logp_BT is None:
            raise EngineError(f"objective.correction: {self.correction!r}, but this engine reports no log-probabilities; use 'none'")
        return importance(
            batch.old_logp_BT, batch.sampled_logp_BT, batch.mask_BT, self.correction, self.correction_cap, self.correction_beyond
        )


def _at_ends(steps: Sequence[StepReward], values: Iterator[float], tokens: int) -> Tensor:
    """The next values, each at the last token of its step, (T,)."""
    reward_T = torch.zeros(tokens, dtype=torch.float64)
    for step in steps:
        reward_T[step.token] += next(values)
    return reward_T


def _numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _spread(advantages: Sequence[Tensor], lengths: Sequence[int]) -> list[Tensor]:
    """One advantage of each answer, on all its tokens."""
    flat = torch.cat(list(advantages)) if advantages else torch.zeros(0)
    return [advantage.expand(length) for advantage, length in zip(flat, lengths, strict=True)]


def _verifiers(groups: Sequence[Group]) -> dict[str, float]:
    """Weights by name. TrainingError where the verdicts don't say what their rewards are made of."""
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    weights = {name: part.weight for verdict in verdicts for name, part in verdict.parts.items()}
    if any(verdict.parts.keys() != weights.keys() for verdict in verdicts):
        raise TrainingError("objective.combine: 'normalise_then_sum' needs the parts of every reward, which these verdicts don't hold")
    return weights
