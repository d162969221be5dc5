"""The mismatch between sampler and learner: two programs compute two distributions from one set of weights; the sampler's drew the tokens.

Truncated importance sampling (Ionides 2008; for sampler and learner: Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training"): the surrogate is weighed with w = π_old/π_sampled, bounded above. The cap is a choice; oat takes 2, TRL 3.

# B rows, T tokens, padded on the right
"""

from typing import Literal

import torch
from torch import Tensor

Level = Literal["none", "token", "sequence"]
Beyond = Literal["truncate", "mask"]


def importance(old_logp_BT: Tensor, sampled_logp_BT: Tensor, mask_BT: Tensor, level: Level, cap: float, beyond: Beyond) -> Tensor:
    """w of each token, or of each answer on all its tokens; above `cap` it is `cap` (`truncate`) or 0 (`mask`). No gradient.

    An answer's w is the product over its tokens, the exact weight of a sequence: it spreads with the length. A token's w leaves out what
    came before it, which biases it and keeps it near 1.
    """
    log_BT = (old_logp_BT - sampled_logp_BT).masked_fill(~mask_BT, 0).detach()
    if level == "sequence":
        log_BT = log_BT.sum(dim=1, keepdim=True).expand_as(log_BT)
    weight_BT = log_BT.exp()
    return weight_BT.clamp(max=cap) if beyond == "truncate" else torch.where(weight_BT > cap, 0, weight_BT)
