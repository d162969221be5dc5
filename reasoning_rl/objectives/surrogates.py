"""What a token contributes to the loss, before its weight.

# B rows, T tokens, padded on the right; ρ the ratio π_θ/π_old, A the advantage
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Clip:
    """The ratios between which a token goes on being pushed: [1 − low, 1 + high].

    `low` may be 1 or more: no ratio lies below 1 − low ≤ 0, and only the upper side binds. DeepSeek-R1 (arXiv:2501.12948) takes 10.
    """

    low: float
    high: float
    dual: float = inf
    """c of dual-clip PPO (arXiv:1912.09729): where A < 0 the loss is at most c·|A|, however likely the token has become."""


Surrogate = Callable[[Tensor, Tensor, Tensor, Clip], Tensor]
"""ratio_BT, logp_BT, advantage_BT and clip to loss_BT."""


def clipped(ratio_BT: Tensor, logp_BT: Tensor, advantage_BT: Tensor, clip: Clip) -> Tensor:  # noqa: ARG001  # one of three
    """The pessimistic surrogate, −min(ρA, clip(ρ)A). PPO, arXiv:1707.06347, eq. 7."""
    bounded_BT = ratio_BT.clamp(1 - clip.low, 1 + clip.high)
    loss_BT = -torch.minimum(ratio_BT * advantage_BT, bounded_BT * advantage_BT)
    if not isfinite(clip.dual):
        return loss_BT
    return torch.where(advantage_BT < 0, torch.minimum(loss_BT, -clip.dual * advantage_BT), loss_BT)


def reweighted(ratio_BT: Tensor, logp_BT: Tensor, advantage_BT: Tensor, clip: Clip) -> Tensor:
    """−sg[clip(ρ)]·A·log π: a clipped token keeps its gradient, and the clip bounds how much. CISPO, arXiv:2506.13585, eq. 4 and 5."""
    bounded_BT = ratio_BT.detach().clamp(1 - clip.low, 1 + clip.high)
    return -bounded_BT * advantage_BT * logp_BT


def score(ratio_BT: Tensor, logp_BT: Tensor, advantage_BT: Tensor, clip: Clip) -> Tensor:  # noqa: ARG001  # no ratio, so nothing to clip
    """−A·log π, right on-policy. REINFORCE, Williams 1992; RLOO, arXiv:2402.14740."""
    return -advantage_BT * logp_BT
