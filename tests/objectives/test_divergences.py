"""The three estimators summed exactly over a distribution of three tokens: unbiased in what, and in what not."""

import pytest
import torch
from torch import Tensor

from reasoning_rl.objectives.divergences import Divergence, k1, k2, k3

REFERENCE_LOGP = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()


def policy() -> Tensor:
    """Logits of π = (0.5, 0.25, 0.25), a leaf."""
    return torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().requires_grad_()


def expectation(divergence: Divergence, logits: Tensor) -> Tensor:
    """E over x~π of the estimate. The sampling probabilities are constants to the gradient, as they are in training."""
    logp = logits.log_softmax(-1)
    return (logp.detach().exp() * divergence(logp, REFERENCE_LOGP)).sum()


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum()


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("divergence", [k1, k3])
def test_k1_and_k3_are_unbiased_in_value(divergence: Divergence) -> None:
    logits = policy()
    assert expectation(divergence, logits).item() == pytest.approx(kl(logits.log_softmax(-1), REFERENCE_LOGP).item(), abs=1e-14)


def test_k2_is_biased_in_value() -> None:
    logits = policy()
    assert abs(expectation(k2, logits) - kl(logits.log_softmax(-1), REFERENCE_LOGP)) > 0.01


def test_k1_has_no_gradient_on_average() -> None:
    logits = policy()
    assert gradient(expectation(k1, logits), logits).tolist() == pytest.approx([0, 0, 0], abs=1e-15)


def test_k2_has_the_gradient_of_the_divergence() -> None:
    logits = policy()
    truth = gradient(kl(logits.log_softmax(-1), REFERENCE_LOGP), logits)
    assert gradient(expectation(k2, logits), logits).tolist() == pytest.approx(truth.tolist(), abs=1e-15)


def test_k3_has_the_gradient_of_the_reverse_divergence() -> None:
    logits = policy()
    forward = gradient(kl(logits.log_softmax(-1), REFERENCE_LOGP), logits)
    reverse = gradient(kl(REFERENCE_LOGP, logits.log_softmax(-1)), logits)
    found = gradient(expectation(k3, logits), logits)
    assert found.tolist() == pytest.approx(reverse.tolist(), abs=1e-15)
    assert (found - forward).abs().max() > 0.01, "or the two directions were not told apart"


def test_values_by_hand() -> None:
    # ρ = 0.25/0.5: −log ρ = 0.6931, its square halved 0.2402, 0.5 − 1 + 0.6931 = 0.1931
    logp, reference = torch.tensor(0.5).log(), torch.tensor(0.25).log()
    assert [f(logp, reference).item() for f in (k1, k2, k3)] == pytest.approx([0.6931, 0.2402, 0.1931], abs=1e-4)


def test_k3_is_never_negative_in_single_precision() -> None:
    # ρ − 1 − log ρ computed as written loses log ρ = 1e-4 to rounding; expm1 does not: 1e-8/2
    log_rho = torch.tensor([1e-4, -1e-4, 1e-6, 0.0], dtype=torch.float32)
    estimate = k3(torch.zeros(4), log_rho)
    assert (estimate >= 0).all()
    assert estimate[0].item() == pytest.approx(5e-9, rel=0.01)


@pytest.mark.parametrize("divergence", [k1, k3])
def test_weighed_by_the_ratio_k1_and_k3_have_the_gradient_of_the_divergence(divergence: Divergence) -> None:
    # E_old[ρ_θ·k] is E_θ[k], which is KL(π_θ‖π_ref) for every θ: on-policy and off it
    logits, old = policy(), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    truth = gradient(kl(logits.log_softmax(-1), REFERENCE_LOGP), logits)
    for drawn_from in (old, logits.detach().softmax(-1)):
        found = gradient(reweighed(divergence, logits, drawn_from), logits)
        assert found.tolist() == pytest.approx(truth.tolist(), abs=1e-14)


def test_weighed_by_the_ratio_k2_has_not() -> None:
    logits = policy()
    truth = gradient(kl(logits.log_softmax(-1), REFERENCE_LOGP), logits)
    found = gradient(reweighed(k2, logits, logits.detach().softmax(-1)), logits)
    assert (found - truth).abs().max() > 0.01


def reweighed(divergence: Divergence, logits: Tensor, old: Tensor) -> Tensor:
    """Σ_x π_old(x)·π_θ(x)/π_old(x)·k(x), the gradient through both factors."""
    logp = logits.log_softmax(-1)
    return (old * (logp - old.log()).exp() * divergence(logp, REFERENCE_LOGP)).sum()
