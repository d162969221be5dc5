"""The clipped policy gradient with a group baseline: GRPO and those that differ from it in a term.

# B rows, one answer each; T tokens, padded on the right; N answers in the optimiser batch

    loss = Σ weight · ( −min(ρA, clip(ρ)A) + β·k3(π_θ‖π_ref) )       DeepSeekMath, arXiv:2402.03300, eq. 3, negated

Where the paper leaves something open: std's ddof and epsilon (see `advantages.standardized`), and the mean over several questions, which is
taken over all N answers of the batch. Groups without a signal are left out when β = 0, which changes nothing: all their terms are 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning_rl.errors import TrainingError
from reasoning_rl.objectives.advantages import Advantage
from reasoning_rl.objectives.divergences import Divergence, k3
from reasoning_rl.objectives.objective import Batch, Loss, Need
from reasoning_rl.objectives.ratios import Ratio, token_ratio
from reasoning_rl.objectives.weights import Lengths, Weight
from reasoning_rl.records import Group, Sample


@dataclass(frozen=True, slots=True)
class Clip:
    """The ratios between which a token goes on being pushed: [1 − low, 1 + high].

    `low` may be 1 or more: no ratio lies below 1 − low ≤ 0, and only the upper side binds. DeepSeek-R1 (arXiv:2501.12948) takes 10.
    """

    low: float
    high: float


def clipped(ratio_BT: Tensor, advantage_BT: Tensor, clip: Clip) -> Tensor:
    """The pessimistic surrogate, −min(ρA, clip(ρ)A). PPO, arXiv:1707.06347, eq. 7."""
    bounded_BT = ratio_BT.clamp(1 - clip.low, 1 + clip.high)
    return -torch.minimum(ratio_BT * advantage_BT, bounded_BT * advantage_BT)


@dataclass(frozen=True)
class PolicyGradient:
    """An objective of the GRPO family, as its choice in each term."""

    advantage: Advantage
    weight: Weight
    clip: Clip
    kl: float = 0.0
    """β; 0 needs no reference model."""
    ratio: Ratio = token_ratio
    divergence: Divergence = k3
    budget: int = 1
    """L of `weights.per_budget`; the other weights don't ask for it."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"reference"}) if self.kl > 0 else frozenset()

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """Every answer of `groups`, an optimiser batch, with its advantage on each token and its weight.

        Left out are groups whose advantages are all 0 when β = 0, and answers without a token; both still count in N.
        TrainingError for a reward that is not a finite number.
        """
        length_N = [max(len(completion.token_ids), 1) for group in groups for completion in group.completions]
        weights = iter(self.weight(Lengths(torch.tensor(length_N, dtype=torch.float64), self.budget)).tolist())
        samples: list[Sample] = []
        for index, group in enumerate(groups):
            advantages = self._advantages(group)
            credited = [_sample(group, row, index, *credit) for row, credit in enumerate(zip(advantages, weights))]
            if self.kl > 0 or any(advantages):
                samples.extend(sample for sample in credited if sample.completion_ids)
        return samples

    def loss(self, logp_BT: Tensor, entropy_BT: Tensor, batch: Batch) -> Loss:
        """Σ weight·(surrogate + β·divergence) over the tokens of these rows.

        Reported: `entropy`, `ratio`, `clip_ratio/low`, `/high` and `/region`, `policy_kl`, and `kl` when the batch has π_ref.
        """
        logp_BT = logp_BT.masked_fill(~batch.mask_BT, 0)
        ratio_BT = self.ratio(logp_BT, batch.old_logp_BT, batch.mask_BT)
        loss_BT = clipped(ratio_BT, batch.advantage_BT, self.clip)
        if self.kl > 0:
            loss_BT = loss_BT + self.kl * self.divergence(logp_BT, _reference(batch))
        measured = self._measured(logp_BT.detach(), ratio_BT.detach(), entropy_BT.detach(), batch)
        return Loss((batch.weight_BT * loss_BT).sum(), {name: value_BT[batch.mask_BT].sum() for name, value_BT in measured.items()})

    def _advantages(self, group: Group) -> list[float]:
        if not all(map(math.isfinite, group.rewards)):
            raise TrainingError(f"problem {group.prompt.problem.id}: rewards must be finite numbers; found {group.rewards}")
        advantages: list[float] = self.advantage(torch.tensor(group.rewards, dtype=torch.float64)).tolist()
        return advantages

    def _measured(self, logp_BT: Tensor, ratio_BT: Tensor, entropy_BT: Tensor, batch: Batch) -> Mapping[str, Tensor]:
        """What is worth watching, token by token. `clip_ratio/*` mark tokens that the clip keeps from being pushed further."""
        low_BT = (ratio_BT < 1 - self.clip.low) & (batch.advantage_BT < 0)
        high_BT = (ratio_BT > 1 + self.clip.high) & (batch.advantage_BT > 0)
        measured = {
            "entropy": entropy_BT,
            "ratio": ratio_BT,
            "clip_ratio/low": low_BT,
            "clip_ratio/high": high_BT,
            "clip_ratio/region": low_BT | high_BT,
            "policy_kl": k3(batch.old_logp_BT, logp_BT),  # KL(π_old‖π_θ): π_old drew the tokens
        }
        if batch.reference_logp_BT is not None:
            measured["kl"] = k3(logp_BT, batch.reference_logp_BT)
        return measured


def _sample(group: Group, row: int, index: int, advantage: float, weight: float) -> Sample:
    completion = group.completions[row]
    return Sample(
        prompt_ids=group.prompt.token_ids,
        completion_ids=completion.token_ids,
        advantages=(advantage,) * len(completion.token_ids),
        weight=weight,
        sampled_logprobs=completion.logprobs,
        group=index,
    )


def _reference(batch: Batch) -> Tensor:
    if batch.reference_logp_BT is None:
        raise TrainingError("objective.kl is above 0, yet the batch has no log-probabilities of the reference model")
    return batch.reference_logp_BT
