"""What follows from a token: rewards that come later, and how much better they are than was predicted.

# T tokens of one answer; everything in float64

An answer is a whole episode: behind its last token there is no state, V is 0 and nothing more comes. That holds for an answer that was cut
off at its budget too, whose reward already says so.
"""

import torch
from torch import Tensor

from reasoning_rl.objectives.divergences import k1


def token_rewards(reward: float, logp_T: Tensor, reference_logp_T: Tensor | None = None, kl: float = 0.0) -> Tensor:
    """r_t = −β(log π_old − log π_ref), and `reward` on the last token besides: k1 in the reward. InstructGPT, arXiv:2203.02155, eq. 2.

    Without a reference there is `reward` alone. An answer needs a token to carry it.
    """
    reward_T = torch.zeros_like(logp_T) if reference_logp_T is None else -kl * k1(logp_T, reference_logp_T)
    reward_T[-1] += reward
    return reward_T


def to_go(reward_T: Tensor) -> Tensor:
    """Σ_{u ≥ t} r_u, undiscounted.

    >>> to_go(torch.tensor([1.0, 0.0, 2.0])).tolist()
    [3.0, 2.0, 2.0]
    """
    return reward_T.flip(0).cumsum(0).flip(0)


def gae(reward_T: Tensor, value_T: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates Â_t = Σ_l (γλ)^l δ_{t+l} and the returns Â_t + V_t. arXiv:1506.02438, eq. 16.

    δ_t = r_t + γV_{t+1} − V_t, with `value_T` the prediction before each token, V_T = 0 behind the last.
    """
    next_value_T = torch.cat((value_T[1:], value_T.new_zeros(1)))
    delta_T = reward_T + gamma * next_value_T - value_T
    advantage, advantages = 0.0, []
    for delta in reversed(delta_T.tolist()):
        advantage = delta + gamma * lam * advantage
        advantages.append(advantage)
    advantage_T = delta_T.new_tensor(advantages[::-1])
    return advantage_T, advantage_T + value_T
