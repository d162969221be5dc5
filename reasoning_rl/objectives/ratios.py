"""How much likelier the policy makes a token, or a whole answer, now than when it was sampled.

# B rows, T tokens, padded on the right
"""

from collections.abc import Callable

from torch import Tensor

Ratio = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logp_BT, old_logp_BT (zeros where nothing stands) and mask_BT to ratio_BT. The mask is there for ratios of whole sequences."""


def token_ratio(logp_BT: Tensor, old_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:  # noqa: ARG001  # a token's ratio knows no row
    """π_θ(o_t|·) / π_old(o_t|·), token by token. PPO, arXiv:1707.06347, eq. 6; DeepSeekMath, arXiv:2402.03300, eq. 3."""
    return (logp_BT - old_logp_BT).exp()


def sequence_ratio(logp_BT: Tensor, old_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """(π_θ(o)/π_old(o))^(1/|o|), the geometric mean over an answer, on each of its tokens. GSPO, arXiv:2507.18071, eq. 7."""
    length_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_B1 = (logp_BT - old_logp_BT).sum(dim=1, keepdim=True) / length_B1
    return mean_B1.exp().expand_as(logp_BT)


def sequence_token_ratio(logp_BT: Tensor, old_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """sg[s_i]·π_θ/sg[π_θ]: the value of `sequence_ratio`, with a gradient of the token's own. GSPO-token, arXiv:2507.18071, §4.3."""
    return sequence_ratio(logp_BT, old_logp_BT, mask_BT).detach() * (logp_BT - logp_BT.detach()).exp()
