"""Imitation of the answers that were found right: RAFT, rejection sampling, expert iteration.

# B rows, one right answer each; T tokens, padded on the right

    loss = −Σ weight · log π                                             RAFT, arXiv:2304.06767, Algorithm 1

The gradient is that of REINFORCE with rewards of 1 and 0 and no baseline, so wrong answers teach nothing, and right ones do even where the
whole group is right. RAFT keeps the best of K answers to each question; here all right ones are kept, and questions without one skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reasoning_rl.objectives.measures import summed
from reasoning_rl.objectives.objective import Batch, Loss, Now, Objective
from reasoning_rl.objectives.samples import sample_of
from reasoning_rl.objectives.weights import Lengths, Weight, per_token
from reasoning_rl.records import Group, Sample


@dataclass(frozen=True)
class Imitation(Objective):
    """Supervised learning on verified samples."""

    weight: Weight = per_token
    """Over the right answers: with `per_token` the loss is the mean over their tokens, as in supervised fine-tuning."""
    budget: int = 1
    """L of `weights.per_budget`; the other weights don't ask for it."""

    @property
    def uses_old_policy(self) -> bool:
        """See Objective."""
        return False

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """The right answers, with an advantage of 1, which only the journal reads."""
        kept = [(index, row) for index, group in enumerate(groups) for row in _right(group)]
        length_N = torch.tensor([len(groups[index].completions[row].token_ids) for index, row in kept], dtype=torch.float64)
        weights = self.weight(Lengths(length_N, self.budget)).tolist()
        return [sample_of(groups[index], index, row, 1.0, weight) for (index, row), weight in zip(kept, weights, strict=True)]

    def loss(self, now: Now, batch: Batch) -> Loss:
        """−Σ weight·log π over the tokens of these rows. Reported: `entropy`, and `nll`, −log π in nats."""
        nll_BT = -now.logp_BT.masked_fill(~batch.mask_BT, 0)
        return Loss((batch.weight_BT * nll_BT).sum(), summed({"entropy": now.entropy_BT.detach(), "nll": nll_BT.detach()}, batch.mask_BT))


def _right(group: Group) -> list[int]:
    """Rows of the answers found right that have a token."""
    judged = zip(group.completions, group.verdicts, strict=True)
    return [row for row, (completion, verdict) in enumerate(judged) if verdict.correct and completion.token_ids]
