"""Adding up gradients and numbers over data-parallel processes, by torch.distributed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among `size` equals; with `size` 1 nothing is communicated and torch.distributed isn't touched."""

    rank: int = 0
    size: int = 1

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum over processes, in place: one message for all parameters."""
        if self.size == 1:
            return
        gradients = [parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype)

    def add_numbers(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Sum over processes by name; a name that one process lacks counts 0 there."""
        if self.size == 1:
            return dict(numbers)
        gathered: list[dict[str, float]] = [{} for _ in range(self.size)]
        torch.distributed.all_gather_object(gathered, dict(numbers))
        names = sorted({name for part in gathered for name in part})
        return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}


ALONE = Ranks()
