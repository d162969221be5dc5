"""Advantages and returns of single answers, against numbers worked out by hand and the papers' sums."""

import pytest
import torch
from torch import Tensor

from reasoning_rl.objectives.divergences import k1
from reasoning_rl.objectives.returns import gae, to_go, token_rewards


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_equation_16(reward: list[float], value: list[float], gamma: float, lam: float) -> list[float]:
    """Â_t = Σ_l (γλ)^l δ_{t+l}, arXiv:1506.02438, the sum as it is written."""
    T = len(reward)
    after = [*value[1:], 0.0]
    delta = [reward[t] + gamma * after[t] - value[t] for t in range(T)]
    return [sum((gamma * lam) ** k * delta[t + k] for k in range(T - t)) for t in range(T)]


def test_three_tokens_by_hand() -> None:
    # γ = 0.5, λ = 0.5, so γλ = 0.25:  δ_2 = 1 − 0.4 = 0.6;  δ_1 = 0.5·0.4 − 0.8 = −0.6;  δ_0 = 0.5·0.8 − 0.2 = 0.2
    # Â_2 = 0.6;  Â_1 = −0.6 + 0.25·0.6 = −0.45;  Â_0 = 0.2 + 0.25·(−0.45) = 0.0875;  returns are Â + V
    advantage, returns = gae(doubles(0, 0, 1), doubles(0.2, 0.8, 0.4), gamma=0.5, lam=0.5)
    torch.testing.assert_close(advantage, doubles(0.0875, -0.45, 0.6), rtol=0, atol=1e-15)
    torch.testing.assert_close(returns, doubles(0.2875, 0.35, 1.0), rtol=0, atol=1e-15)


def test_without_discount_and_trace_it_is_the_reward_less_the_value() -> None:
    advantage, returns = gae(doubles(0, 0, 1), doubles(0.2, 0.8, 0.4), gamma=1, lam=1)
    torch.testing.assert_close(advantage, doubles(0.8, 0.2, 0.6))  # R − V_t: the values between cancel
    torch.testing.assert_close(returns, doubles(1, 1, 1))


def test_lambda_0_gives_the_error_of_one_step() -> None:
    # δ = (0.8 − 0.2, 0.4 − 0.8, 1 − 0.4)
    advantage, returns = gae(doubles(0, 0, 1), doubles(0.2, 0.8, 0.4), gamma=1, lam=0)
    torch.testing.assert_close(advantage, doubles(0.6, -0.4, 0.6))
    torch.testing.assert_close(returns, doubles(0.8, 0.4, 1.0))  # V_{t+1}, and the reward at the end


def test_values_of_0_give_the_reward_discounted_by_lambda() -> None:
    advantage, returns = gae(doubles(0, 0, 2), doubles(0, 0, 0), gamma=1, lam=0.5)
    assert advantage.tolist() == returns.tolist() == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.0), (0.3, 1.0), (0.0, 0.7)])
def test_a_single_token_has_its_reward_less_its_value(gamma: float, lam: float) -> None:
    advantage, returns = gae(doubles(1.5), doubles(0.25), gamma, lam)
    assert (advantage.tolist(), returns.tolist()) == ([1.25], [1.5])


def test_a_value_model_that_knows_leaves_no_advantage() -> None:
    reward = doubles(-0.1, 0.2, 1.0)
    value = doubles(1.1, 1.2, 1.0)  # what is still to come at each token
    advantage, returns = gae(reward, value, gamma=1, lam=0.95)
    torch.testing.assert_close(advantage, doubles(0, 0, 0))
    torch.testing.assert_close(returns, to_go(reward))


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("T", [1, 2, 9])
def test_it_is_the_papers_sum(gamma: float, lam: float, T: int) -> None:
    random = torch.Generator().manual_seed(T)
    reward, value = torch.randn(2, T, generator=random, dtype=torch.float64)
    advantage, returns = gae(reward, value, gamma, lam)
    expected = doubles(*by_equation_16(reward.tolist(), value.tolist(), gamma, lam))
    torch.testing.assert_close(advantage, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(returns, expected + value, rtol=0, atol=1e-12)


def test_a_token_pays_for_its_distance_from_the_reference() -> None:
    # log π − log π_ref = (0.5, −1), β = 0.1: −0.05 and +0.1, and the reward of 1 on the last
    logp, reference = doubles(-1.0, -3.0), doubles(-1.5, -2.0)
    rewards = token_rewards(1.0, logp, reference, kl=0.1)
    torch.testing.assert_close(rewards, doubles(-0.05, 1.1))
    torch.testing.assert_close(rewards.sum(), 1.0 - 0.1 * k1(logp, reference).sum())
    assert logp.tolist() == [-1.0, -3.0]  # as they were


def test_without_a_reference_only_the_last_token_is_rewarded() -> None:
    assert token_rewards(0.7, doubles(-1, -2, -3)).tolist() == [0, 0, 0.7]
    assert token_rewards(0.7, doubles(-1)).tolist() == [0.7]


def test_a_policy_that_is_the_reference_pays_nothing() -> None:
    assert token_rewards(1.0, doubles(-1, -2), doubles(-1, -2), kl=5.0).tolist() == [0, 1]


def test_what_is_to_go_counts_the_token_itself() -> None:
    assert to_go(doubles(1, 2, 4)).tolist() == [7, 6, 4]
    assert to_go(doubles(3)).tolist() == [3]
    assert to_go(doubles()).tolist() == []
