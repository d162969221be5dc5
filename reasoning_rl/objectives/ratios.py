"""How much likelier the policy makes a token now than when it was sampled.

# B rows, T tokens, padded on the right
"""

from collections.abc import Callable

from torch import Tensor

Ratio = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logp_BT, old_logp_BT (zeros where nothing stands) and mask_BT to ratio_BT. The mask is there for ratios of whole sequences."""


def token_ratio(logp_BT: Tensor, old_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:  # noqa: ARG001  # a token's ratio knows no row
    """π_θ(o_t|·) / π_old(o_t|·), token by token. PPO, arXiv:1707.06347, eq. 6; DeepSeekMath, arXiv:2402.03300, eq. 3."""
    return (logp_BT - old_logp_BT).exp()
