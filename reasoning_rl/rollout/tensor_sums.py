"""A tensor's numbers as one number: the same on every device, in whatever order they are added, and as a sum over its pieces."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_AT_A_TIME = {"cpu": 2**16, "cuda": 2**24}
"""Numbers: on a CPU as many as its cache holds, which makes three times the speed; on a GPU, few beside its memory."""
_FACTORS = (-7046029254386353131, -4658895280553007687)
"""Of splitmix64 (Steele et al. 2014), as signed numbers: what mixes the bits of a word before words are added. Without it a number that
grew and another that shrank as much would leave the sum as it was."""


def tensor_sum(tensor: Tensor) -> int:
    """The sum of its mixed bit patterns, modulo 2⁶⁴. Another type makes other patterns."""
    words = tensor.detach().contiguous().view(-1).view(_WORDS[tensor.element_size()])
    parts = words.split(_AT_A_TIME[tensor.device.type])
    return sum(int(_mixed(part.to(torch.int64, copy=True)).sum()) for part in parts) % 2**64


def _mixed(words: Tensor) -> Tensor:
    """In place."""
    words.add_(1).mul_(_FACTORS[0])  # 0 would stay 0
    words.bitwise_xor_(words >> 30).mul_(_FACTORS[1])
    return words.bitwise_xor_(words >> 27)


def fingerprint_of(sums: Mapping[str, tuple[int, str, tuple[int, ...]]]) -> str:
    """Of all weights: sum, type and shape of each by its name."""
    lines = "\n".join(f"{name} {sums[name]}" for name in sorted(sums))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
