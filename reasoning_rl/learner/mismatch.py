"""How far the sampler's probabilities are from the learner's: two programs compute them, from the same weights or from two an update apart.

The policy gradient holds for tokens drawn from the policy itself. Where kernels, precision or weights of sampler and learner differ it is
biased, and training can break down on that (arXiv:2510.26788). `objective.correction` weighs tokens by the ratio.

# M tokens of a step, B rows, T tokens at most
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from reasoning_rl.learner.parallel import Ranks
from reasoning_rl.objectives.divergences import k3

KL = "sampling/mismatch_kl"
_QUANTILES = (0.5, 0.95, 0.99)


@dataclass
class Mismatch:
    """log π_learner − log π_sampler of each token of a step, as far as this process has come."""

    differences: list[Tensor] = field(default_factory=list)

    def add(self, learner_logp_BT: Tensor, sampled_logp_BT: Tensor | None, mask_BT: Tensor) -> None:
        """The tokens of these rows; nothing where the engine reported no log-probabilities."""
        if sampled_logp_BT is not None:
            self.differences.append((learner_logp_BT.detach() - sampled_logp_BT)[mask_BT].double().cpu())

    def metrics(self, ranks: Ranks) -> dict[str, float]:
        """See `measured`; of the tokens of all processes. Empty when there are none."""
        mine = torch.cat(self.differences) if self.differences else torch.zeros(0, dtype=torch.float64)
        return measured(torch.cat(list(ranks.merge({ranks.rank: mine}).values())))


def measured(difference_M: Tensor) -> dict[str, float]:
    """Of log π_learner − log π_sampler, float64. TRL's names where it has one.

    `sampling/mismatch_kl` estimates KL(π_sampler‖π_learner) a token, by k3; `sampling/sampling_logp_difference/*` are mean, maximum and
    quantiles of |difference|; `sampling/importance_sampling_ratio/*` are of each token's π_learner/π_sampler as it is: in TRL of what is
    left of it after the correction.
    """
    if not len(difference_M):
        return {}
    size_M, ratio_M = difference_M.abs(), difference_M.exp()
    quantiles = zip(_QUANTILES, np.quantile(size_M.numpy(), _QUANTILES), strict=True)
    return {
        KL: float(k3(torch.zeros_like(difference_M), difference_M).mean()),
        "sampling/sampling_logp_difference/mean": float(size_M.mean()),
        **{f"sampling/sampling_logp_difference/p{100 * share:.0f}": float(value) for share, value in quantiles},
        "sampling/sampling_logp_difference/max": float(size_M.max()),
        "sampling/importance_sampling_ratio/min": float(ratio_M.min()),
        "sampling/importance_sampling_ratio/mean": float(ratio_M.mean()),
        "sampling/importance_sampling_ratio/max": float(ratio_M.max()),
    }


@dataclass
class Watch:
    """Says once that the mismatch is above `limit`; None for never."""

    limit: float | None
    say: Callable[[str], None]
    reckoned: bool = False
    """Whether the loss allows for it: see objectives.reckoned_with."""
    said: bool = False

    def look(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """`sampling/mismatch_high`: 1 in a step whose KL is above the limit, else 0; nothing where none was measured or limited."""
        if self.limit is None or KL not in metrics:
            return {}
        high = not metrics[KL] <= self.limit  # nor if it is no number
        if high and not self.said:
            self.said = True
            self.say(
                f"Step {step}: sampler and learner disagree by a KL of {metrics[KL]:.2g} nats a token, which is above {self.limit:g} "
                f"(train.warn_mismatch_kl). {self._remedy(metrics)}; docs/faq.md has the likely causes"
            )
        return {"sampling/mismatch_high": float(high)}

    def _remedy(self, metrics: Mapping[str, float]) -> str:
        if not self.reckoned:
            return "objective.correction=token (with learner.old_logprobs=learner) corrects it"
        if metrics.get("sampling/staleness"):
            return "The answers are an update old, which the objective allows for; a smaller learner.learning_rate brings them closer"
        return "The objective allows for it, within its cap or clip"
