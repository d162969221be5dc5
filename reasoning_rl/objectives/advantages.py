"""What an answer is worth beside the other answers to its question.

# P problems, G answers each; the last axis is one group, so a single group of shape (G,) will do

Rewards come in float64 and stay so: the difference of nearly equal rewards is the whole signal here.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Baseline = Callable[[Tensor], Tensor]
"""Rewards of whole groups to what they are above what was to be expected, in the same shape."""
Scale = Literal["group", "batch", "none"]


def centered(reward_PG: Tensor) -> Tensor:
    """R − mean(R) within each group. Dr. GRPO, arXiv:2503.20783, §3.

    Rewards are measured from the first answer's before the mean is taken. A constant group, and only that, then gives exact zeros.
    The rounded mean of a reward such as 0.1·3 would leave a residue instead, and an equally small standard deviation makes it an advantage.

    >>> import torch
    >>> centered(torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)).tolist()
    [0.75, -0.25, -0.25, -0.25]
    """
    above_first_PG = reward_PG - reward_PG[..., :1]
    return above_first_PG - above_first_PG.mean(dim=-1, keepdim=True)


def leave_one_out(reward_PG: Tensor) -> Tensor:
    """R_i less the mean of the other G − 1 rewards; 0 where there is no other. RLOO, arXiv:2402.14740.

    As Σ_{j≠i} R_j = G·mean(R) − R_i, it is G/(G − 1) times `centered`, and computed so.
    """
    G = reward_PG.shape[-1]
    return centered(reward_PG) * (G / max(G - 1, 1))


def unchanged(reward_PG: Tensor) -> Tensor:
    """The reward itself: REINFORCE without a baseline."""
    return reward_PG


def deviation(reward_PG: Tensor, *, ddof: int = 0) -> Tensor:
    """std(R) within each group, (P, 1): exactly 0 for a constant group."""
    freedom = max(reward_PG.shape[-1] - ddof, 1)
    return (centered(reward_PG).square().sum(dim=-1, keepdim=True) / freedom).sqrt()


def standardized(reward_PG: Tensor, *, baseline: Baseline = centered, ddof: int = 0, epsilon: float = 1e-6) -> Tensor:
    """(R − mean(R)) / std(R) within each group; zeros for a constant group. DeepSeekMath, arXiv:2402.03300, §4.1.2.

    The paper states neither `ddof` nor `epsilon`.

    * `ddof=0`, because the group is the whole population that is normalised: its advantages then have mean square 1 at any G, and none
      exceeds sqrt(G − 1). So do GRPO-Zero, nano-aha-moment and open-instruct. TRL, verl, SkyRL, slime, OpenRLHF and oat take `ddof=1`,
      which multiplies all advantages by sqrt((G − 1)/G): 0.707 at G = 2, 0.935 at 8, 0.992 at 64.
    * `epsilon` is no test for constant groups (`centered` is). It keeps rewards that differ only by rounding, 0.1 + 0.2 beside 0.3, from
      counting as right and wrong. TRL takes 1e-4, verl 1e-6, OpenRLHF 1e-9.
    """
    return divided(baseline(reward_PG), deviation(reward_PG, ddof=ddof), epsilon)


def divided(advantage: Tensor, deviation: Tensor, epsilon: float) -> Tensor:
    """A / (std + ε); 0 where std is exactly 0."""
    return torch.where(deviation == 0, 0, advantage / torch.where(deviation == 0, 1, deviation + epsilon))


def normalised(
    rewards: Sequence[Tensor], *, baseline: Baseline = centered, scale: Scale = "group", ddof: int = 0, epsilon: float = 1e-6
) -> list[Tensor]:
    """Advantages of an optimiser batch whose groups may differ in size, (G,) each.

    They are divided by the standard deviation of the group's rewards (GRPO), of all rewards of the batch (arXiv:2508.08221, §4), or by
    nothing (Dr. GRPO, arXiv:2503.20783).
    """
    if scale == "group":
        return [standardized(reward_G, baseline=baseline, ddof=ddof, epsilon=epsilon) for reward_G in rewards]
    above = [baseline(reward_G) for reward_G in rewards]
    if scale == "none" or not above:
        return above
    deviation_1 = deviation(torch.cat(list(rewards)), ddof=ddof)
    return [divided(above_G, deviation_1, epsilon) for above_G in above]


def whitened(advantages: Sequence[Tensor], *, epsilon: float = 1e-8) -> list[Tensor]:
    """(A − mean)/(std + ε) over all tokens of an optimiser batch, each tensor one answer's. PPO's practice; REINFORCE++, arXiv:2501.03262.

    The papers give no ddof; the tokens are the whole population, so it is 0. Advantages that are all the same become zeros.
    """
    if not advantages:
        return []
    flat = torch.cat(list(advantages))
    return list(divided(centered(flat), deviation(flat), epsilon).split([len(row) for row in advantages]))
