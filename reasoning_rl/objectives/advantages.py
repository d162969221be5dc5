"""What an answer is worth beside the other answers to its question.

# P problems, G answers each; the last axis is one group, so a single group of shape (G,) will do

Rewards come in float64 and stay so: the difference of nearly equal rewards is the whole signal here.
"""

from collections.abc import Callable

from torch import Tensor

Advantage = Callable[[Tensor], Tensor]
"""Rewards of whole groups to advantages of the same shape."""


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


def standardized(reward_PG: Tensor, *, ddof: int = 0, epsilon: float = 1e-6) -> Tensor:
    """(R − mean(R)) / std(R) within each group; zeros for a constant group. DeepSeekMath, arXiv:2402.03300, §4.1.2.

    The paper states neither `ddof` nor `epsilon`.

    * `ddof=0`, because the group is the whole population that is normalised: its advantages then have mean square 1 at any G, and none
      exceeds sqrt(G − 1). So do GRPO-Zero, nano-aha-moment and open-instruct. TRL, verl, SkyRL, slime, OpenRLHF and oat take `ddof=1`,
      which multiplies all advantages by sqrt((G − 1)/G): 0.707 at G = 2, 0.935 at 8, 0.992 at 64.
    * `epsilon` is no test for constant groups (`centered` is). It keeps rewards that differ only by rounding, 0.1 + 0.2 beside 0.3, from
      counting as right and wrong. TRL takes 1e-4, verl 1e-6, OpenRLHF 1e-9.
    """
    centered_PG = centered(reward_PG)
    variance_P1 = centered_PG.square().sum(dim=-1, keepdim=True) / (reward_PG.shape[-1] - ddof)
    constant_P1 = (centered_PG == 0).all(dim=-1, keepdim=True)
    return centered_PG / (variance_P1.sqrt() + epsilon).masked_fill(constant_P1, 1)


def leave_one_out(reward_PG: Tensor) -> Tensor:
    """R_i less the mean of the other G − 1 rewards, for G ≥ 2. RLOO, arXiv:2402.14740.

    As Σ_{j≠i} R_j = G·mean(R) − R_i, it is G/(G − 1) times `centered`, and computed so.
    """
    G = reward_PG.shape[-1]
    return centered(reward_PG) * (G / (G - 1))
