"""What is worth watching in an update, token by token.

# B rows, T tokens, padded on the right
"""

from collections.abc import Mapping

from torch import Tensor

from reasoning_rl.objectives.divergences import k3
from reasoning_rl.objectives.objective import Batch, Now
from reasoning_rl.objectives.surrogates import Clip


def measured(now: Now, ratio_BT: Tensor, batch: Batch, clip: Clip | None) -> dict[str, Tensor]:
    """Sums over the tokens: `entropy`, `ratio`, `policy_kl`, `kl` where there is a π_ref; with a clip `clip_ratio/low`, `/high`, `/region`.

    `clip_ratio/*` count tokens that are being pushed on from beyond an edge of the clip: the clipped surrogate lets go of them, CISPO's
    bounds how hard they are pushed.
    """
    logp_BT, ratio_BT = now.logp_BT.detach().masked_fill(~batch.mask_BT, 0), ratio_BT.detach()
    measures = {
        "entropy": now.entropy_BT.detach(),
        "ratio": ratio_BT,
        "policy_kl": k3(batch.old_logp_BT, logp_BT),  # KL(π_old‖π_θ): π_old drew the tokens
        **({} if clip is None else _beyond(ratio_BT, batch.advantage_BT, clip)),
    }
    if batch.reference_logp_BT is not None:
        measures["kl"] = k3(logp_BT, batch.reference_logp_BT)
    return summed(measures, batch.mask_BT)


def _beyond(ratio_BT: Tensor, advantage_BT: Tensor, clip: Clip) -> dict[str, Tensor]:
    low_BT = (ratio_BT < 1 - clip.low) & (advantage_BT < 0)
    high_BT = (ratio_BT > 1 + clip.high) & (advantage_BT > 0)
    return {"clip_ratio/low": low_BT, "clip_ratio/high": high_BT, "clip_ratio/region": low_BT | high_BT}


def summed(measures: Mapping[str, Tensor], mask_BT: Tensor) -> dict[str, Tensor]:
    """Over the tokens that are there."""
    return {name: value_BT[mask_BT].sum() for name, value_BT in measures.items()}
