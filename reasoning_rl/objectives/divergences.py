"""Three ways to estimate KL(π_θ‖π_ref) from one sampled token. Schulman 2020, http://joschu.net/blog/kl-approx.html.

# ρ = π_ref / π_θ at a token drawn from π_θ; B rows, T tokens

What an estimator is worth as a figure and what it does as a term of the loss are two questions, and the answers differ:

    estimator          value                    gradient through π_θ, on-policy
    k1   −log ρ        unbiased, may be < 0     0 in expectation: useless in the loss
    k2   (log ρ)²/2    biased                   that of KL(π_θ‖π_ref)
    k3   ρ − 1 − log ρ unbiased, never < 0      that of KL(π_ref‖π_θ), the reverse order

Multiplied by π_θ/π_old, with the gradient through both, k1 and k3 have that of KL(π_θ‖π_ref), on-policy and off it, and k2 has not.

So the paper's "unbiased estimator" (DeepSeekMath, eq. 4) is unbiased in value, not in gradient (arXiv:2510.01555, arXiv:2512.21852).

The gradients are those at one token, given what stands before it. In the loss they leave out what a token leads to: that it brings about
prefixes on which the policies differ. k1 in the reward credits it with that too, and follows the gradient of KL between whole answers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], Tensor]
"""logp_BT of the distribution that was sampled from and reference_logp_BT to an estimate per token, in nats."""


def k1(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """−log ρ. Unbiased in value; ∇k1 = ∇log π_θ, whose mean under π_θ is 0: it belongs in the reward, or needs the ratio."""
    return logp_BT - reference_logp_BT


def k2(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """(log ρ)²/2. Biased in value; E ∇k2 = ∇KL(π_θ‖π_ref) at each token, so in the loss it pulls where k1 does in the reward."""
    return (reference_logp_BT - logp_BT).square() / 2


def k3(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """ρ − 1 − log ρ. DeepSeekMath, arXiv:2402.03300, eq. 4. Unbiased in value; ∇k3 = (1 − ρ) ∇log π_θ, whose mean is ∇KL(π_ref‖π_θ)."""
    log_rho_BT = reference_logp_BT - logp_BT
    return torch.expm1(log_rho_BT) - log_rho_BT
