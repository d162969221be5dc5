"""What each token of an answer counts in the loss: the one place where algorithms differ in how they average.

# N answers in the optimiser batch, all of them: those of groups without a signal add nothing to the sum, yet the mean is over them too

A weight is fixed over the whole optimiser batch before it is split, so losses and gradients of micro-batches add up to exactly those of the
batch, whatever the split. Every function gives the weight of one token in each of the N rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the answers of an optimiser batch are, and might have been."""

    tokens_N: Tensor
    """|o_i|, float64; 0 for an answer that is not to be learned from."""
    budget: int
    """L, the most tokens an answer may have."""


Weight = Callable[[Lengths], Tensor]


def per_sequence(lengths: Lengths) -> Tensor:
    """1 / (N·|o_i|): every answer counts the same, its tokens share. GRPO, DeepSeekMath, arXiv:2402.03300, eq. 3.

    A token of a long wrong answer is thereby punished less than one of a short wrong answer (Dr. GRPO, arXiv:2503.20783, §3).
    """
    return 1 / (len(lengths.tokens_N) * lengths.tokens_N.clamp(min=1))


def per_token(lengths: Lengths) -> Tensor:
    """1 / Σ|o|: every token of the batch counts the same. DAPO, arXiv:2503.14476, eq. 8, the sum taken over the whole batch."""
    return (1 / lengths.tokens_N.sum().clamp(min=1)).expand_as(lengths.tokens_N)


def per_budget(lengths: Lengths) -> Tensor:
    """1 / (N·L): every token counts the same in every batch. Dr. GRPO, arXiv:2503.20783, §3."""
    return torch.full_like(lengths.tokens_N, 1 / (max(len(lengths.tokens_N), 1) * lengths.budget))


def per_answer(lengths: Lengths) -> Tensor:
    """1 / N: an answer counts as the sum of its tokens, log π(o) as a whole. RLOO, arXiv:2402.14740; REINFORCE."""
    return torch.full_like(lengths.tokens_N, 1 / max(len(lengths.tokens_N), 1))
