"""Preferences: a right answer of a group is to gain on a wrong one. No reward enters but which is which, and no advantage.

# B rows, T tokens, padded on the right; K = B/2 pairs, the right answer in row 2k and the wrong one in row 2k + 1

    loss = Σ_pairs weight · −log σ(β·(s(right) − s(wrong)) − γ)         s: what π makes of an answer, see Margin

How this departs from the papers: the policy's own answers are paired and verifiers prefer, so training is online unless the groups are
stored ones. The mean is taken over the pairs of an optimiser batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor
from torch.nn.functional import logsigmoid

from reasoning_rl.objectives.divergences import k3
from reasoning_rl.objectives.measures import summed
from reasoning_rl.objectives.objective import Batch, Loss, Need, Now, Objective
from reasoning_rl.objectives.samples import required, sample_of
from reasoning_rl.records import Group, Sample

Margin = Callable[[Tensor, Batch], Tensor]
"""logp_BT (zeros where nothing stands) and the batch to s_B, of which the pair's difference is the margin."""


def reference_margin(logp_BT: Tensor, batch: Batch) -> Tensor:
    """log π(y)/π_ref(y), the sum over the answer's tokens. DPO, arXiv:2305.18290, eq. 5 and 7."""
    return (logp_BT - required(batch.reference_logp_BT)).sum(1)


def mean_margin(logp_BT: Tensor, batch: Batch) -> Tensor:
    """log π(y)/|y|, so that length is no merit and no reference is needed. SimPO, arXiv:2405.14734, eq. 4."""
    return logp_BT.sum(1) / batch.mask_BT.sum(1)


@dataclass(frozen=True)
class Preference(Objective):
    """DPO, SimPO and what else differs from them in the margin. What a field means stands at the setting of its name (`config.py`)."""

    margin: Margin
    beta: float = 0.1
    gap: float = 0.0
    """γ as it stands in SimPO's eq. 6, not the ratio γ/β that its authors' code asks for."""
    pairs: int = 8
    match_lengths: bool = False

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"pairs", "reference"} if self.margin is reference_margin else {"pairs"})

    @property
    def uses_old_policy(self) -> bool:
        """See Objective."""
        return False

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """Both answers of every pair of every group, the right one first; advantages of +1 and −1, which only the journal reads.

        A group without right or without wrong answers gives no pair, and teaches nothing.
        """
        chosen = [(index, pair) for index, group in enumerate(groups) for pair in self._pairs(group)]
        weight = 1 / max(len(chosen), 1)
        return [sample_of(groups[index], index, row, sign, weight) for index, pair in chosen for row, sign in zip(pair, (1.0, -1.0))]

    def _pairs(self, group: Group) -> list[tuple[int, int]]:
        """Rows of a right and a wrong answer each: as many as there are without using an answer twice, `pairs` at most.

        In the order of the group, which is random anyway; with `match_lengths` the pair that differs least in length comes first.
        """
        lengths = [len(completion.token_ids) for completion in group.completions]
        rows = [row for row, length in enumerate(lengths) if length]
        right, wrong = ([row for row in rows if group.verdicts[row].correct is kind] for kind in (True, False))
        pairs = _nearest(right, wrong, lengths) if self.match_lengths else list(zip(right, wrong))
        return pairs[: self.pairs]

    def loss(self, now: Now, batch: Batch) -> Loss:
        """−Σ weight·log σ(margin − γ) over the pairs of these rows. DPO, arXiv:2305.18290, eq. 7; SimPO, arXiv:2405.14734, eq. 6.

        Reported: `entropy`, `kl` where there is a reference, and of pairs `preference/chosen` and `/rejected`, β·s of either answer,
        `/margin`, their difference, and `/accuracy`, the share in which it is above 0. Since sums are divided by tokens, a pair counts in
        these means by its number of tokens.
        """
        logp_BT = now.logp_BT.masked_fill(~batch.mask_BT, 0)
        chosen_K, rejected_K = (self.beta * self.margin(logp_BT, batch)).view(-1, 2).unbind(1)
        margin_K = chosen_K - rejected_K
        value = -(batch.weight_BT[::2, 0] * logsigmoid(margin_K - self.gap)).sum()
        return Loss(value, {**_of_tokens(now, logp_BT, batch), **_of_pairs(chosen_K.detach(), rejected_K.detach(), batch)})


def _nearest(right: Sequence[int], wrong: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The pair nearest in length, then the nearest of those left, and so on; ties in the order of the group."""
    pairs: list[tuple[int, int]] = []
    for pair in sorted(product(right, wrong), key=lambda pair: abs(lengths[pair[0]] - lengths[pair[1]])):
        if not {row for chosen in pairs for row in chosen}.intersection(pair):
            pairs.append(pair)
    return pairs


def _of_tokens(now: Now, logp_BT: Tensor, batch: Batch) -> dict[str, Tensor]:
    reference = {} if batch.reference_logp_BT is None else {"kl": k3(logp_BT.detach(), batch.reference_logp_BT)}
    return summed({"entropy": now.entropy_BT.detach(), **reference}, batch.mask_BT)


def _of_pairs(chosen_K: Tensor, rejected_K: Tensor, batch: Batch) -> dict[str, Tensor]:
    tokens_K = batch.mask_BT.sum(1).view(-1, 2).sum(1)
    measures = {"chosen": chosen_K, "rejected": rejected_K, "margin": chosen_K - rejected_K, "accuracy": (chosen_K > rejected_K).float()}
    return {f"preference/{name}": (value_K * tokens_K).sum() for name, value_K in measures.items()}
