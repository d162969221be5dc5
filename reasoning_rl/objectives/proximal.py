"""PPO as RLHF uses it: the clipped policy gradient with a value model that predicts the return from every token.

# B rows, one answer each; T tokens, padded on the right

    loss = Σ weight · ( −min(ρÂ, clip(ρ)Â) + c_v·½·max((V − R)², (clip(V) − R)²) − c_e·H )       arXiv:1707.06347, eq. 7 and 9, negated
    clip(V) = V_old ± ε_v around what was predicted before the update;  Â by GAE (arXiv:1506.02438, eq. 16), R = Â + V_old

The papers leave the rest open. Whitened advantages, the ½, the clip of V and γ 1, λ 0.95, ε_v 0.2, c_v 0.1 are those of OpenAI's code for
arXiv:1909.08593 (lm-human-preferences); it whitens rewards too, which here stay as they are. β 0.05 was TRL's; InstructGPT
(arXiv:2203.02155) has 0.02. The value model has weights of its own, so all that c_v does is scale its gradient before
`learner.max_grad_norm` cuts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from reasoning_rl.objectives.advantages import whitened
from reasoning_rl.objectives.measures import measured, summed
from reasoning_rl.objectives.objective import Batch, Before, Credit, Loss, Need, Now, Objective
from reasoning_rl.objectives.ratios import token_ratio
from reasoning_rl.objectives.returns import gae, token_rewards
from reasoning_rl.objectives.samples import answers_of, each_answer, refuse_infinite, required, sample_of
from reasoning_rl.objectives.surrogates import Clip, clipped
from reasoning_rl.objectives.weights import Lengths, Weight, per_token
from reasoning_rl.records import Group, Sample

_VALUES = "values and returns"


@dataclass(frozen=True)
class ProximalPolicy(Objective):
    """PPO with a value model. What a field means stands at the setting of its name (`config.py`)."""

    kl: float = 0.05
    """β of −β(log π_old − log π_ref) in the reward of every token; 0 needs no reference model."""
    gamma: float = 1.0
    lam: float = 0.95
    clip_low: float = 0.2
    clip_high: float = 0.2
    clip_dual: float = inf
    value_clip: float = 0.2
    """ε_v."""
    value_weight: float = 0.1
    """c_v."""
    entropy: float = 0.0
    whiten: bool = True
    weight: Weight = per_token
    budget: int = 1
    """L of `weights.per_budget`; the other weights don't ask for it."""

    @property
    def needs(self) -> frozenset[Need]:
        asked: dict[Need, bool] = {"values": True, "before": True, "reference": self.kl > 0, "entropy": self.entropy > 0}
        return frozenset(need for need, is_asked in asked.items() if is_asked)

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """Every answer with a token, right or wrong: its group is no baseline. Until `credit`, the advantage is the reward.

        TrainingError for a reward that is not a finite number.
        """
        for group in groups:
            refuse_infinite(group)
        tokens_N = torch.tensor([len(completion.token_ids) for completion in answers_of(groups)], dtype=torch.float64)
        weighed = zip(each_answer(groups), self.weight(Lengths(tokens_N, self.budget)).tolist(), strict=True)
        samples = [sample_of(group, index, row, group.rewards[row], weight) for (group, index, row), weight in weighed]
        return [sample for sample in samples if sample.completion_ids]

    def credit(self, samples: Sequence[Sample], before: Sequence[Before]) -> list[Credit]:
        """Â of every token, whitened over the whole batch, and R from Â as it was before: the value model predicts rewards, not ranks."""
        estimates = [self._estimate(sample.reward, known) for sample, known in zip(samples, before, strict=True)]
        advantages = [advantage_T for advantage_T, _ in estimates]
        if self.whiten:
            advantages = whitened(advantages)
        return [Credit(advantage_T, return_T) for advantage_T, (_, return_T) in zip(advantages, estimates, strict=True)]

    def _estimate(self, reward: float, known: Before) -> tuple[Tensor, Tensor]:
        reference_logp_T = required(known.reference_logp_T) if self.kl > 0 else None
        reward_T = token_rewards(reward, known.logp_T, reference_logp_T, self.kl)
        return gae(reward_T, required(known.value_T, _VALUES), self.gamma, self.lam)

    def loss(self, now: Now, batch: Batch) -> Loss:
        """Σ weight·(surrogate + c_v·value loss − c_e·entropy) over the tokens of these rows.

        Reported: `measures.measured`, and `value/loss`, `value/clip_ratio`, and of the time before the update `value/mean`, `value/return`,
        `value/return_squared` and `value/error` = (V_old − R)². Explained variance is 1 − error / (return_squared − return²).
        """
        logp_BT = now.logp_BT.masked_fill(~batch.mask_BT, 0)
        ratio_BT = token_ratio(logp_BT, batch.old_logp_BT, batch.mask_BT)
        clip = Clip(self.clip_low, self.clip_high, self.clip_dual)
        value_loss_BT, value_sums = self._value_loss(now, batch)
        loss_BT = clipped(ratio_BT, logp_BT, batch.advantage_BT, clip) + self.value_weight * value_loss_BT
        if self.entropy > 0:
            loss_BT = loss_BT - self.entropy * now.entropy_BT.masked_fill(~batch.mask_BT, 0)
        return Loss((batch.weight_BT * loss_BT).sum(), {**measured(now, ratio_BT, batch, clip), **value_sums})

    def _value_loss(self, now: Now, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """½·max((V − R)², (clip(V) − R)²) of each token, and what to report of it."""
        value_BT, old_BT, return_BT = (required(known, _VALUES) for known in (now.value_BT, batch.old_value_BT, batch.return_BT))
        bounded_BT = value_BT.clamp(old_BT - self.value_clip, old_BT + self.value_clip)
        free_BT, held_BT = (value_BT - return_BT).square(), (bounded_BT - return_BT).square()
        loss_BT = torch.maximum(free_BT, held_BT) / 2
        measures = {
            "value/loss": loss_BT.detach(),
            "value/clip_ratio": held_BT.detach() > free_BT.detach(),
            "value/mean": old_BT,
            "value/return": return_BT,
            "value/return_squared": return_BT.square(),
            "value/error": (old_BT - return_BT).square(),
        }
        return loss_BT, summed(measures, batch.mask_BT)
