"""Adding up gradients and numbers over data-parallel processes, by torch.distributed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributed import FileStore, ProcessGroup, ProcessGroupGloo  # type: ignore[attr-defined]  # the first is not in its stub

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(eq=False)
class Ranks:
    """This process among `size` equals; with `size` 1 nothing is communicated and torch.distributed isn't touched."""

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = None

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum over processes, in place: one message for all parameters."""
        if self.size == 1:
            return
        gradients = [parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat, group=self.group)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype)

    def add_numbers(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Sum over processes by name; a name that one process lacks counts 0 there."""
        gathered = self._gathered(numbers)
        names = sorted({name for part in gathered for name in part})
        return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}

    def merge(self, mine: Mapping[_Key, _Value]) -> dict[_Key, _Value]:
        """The entries of all processes."""
        return {key: value for part in self._gathered(mine) for key, value in part.items()}

    def _gathered(self, mine: Mapping[_Key, _Value]) -> list[dict[_Key, _Value]]:
        """Everyone's, by rank."""
        gathered: list[dict[_Key, _Value]] = [dict(mine) for _ in range(self.size)]
        if self.size > 1:
            torch.distributed.all_gather_object(gathered, gathered[self.rank], group=self.group)
        return gathered

    def leave(self) -> None:
        """Close the connections: a collective that the others wait in fails now, and not at its timeout."""
        self.group = None


def join(rank: int, size: int, rendezvous: Path, timeout: timedelta) -> Ranks:
    """Meet the others at a file.

    The group is not torch's default one: vLLM makes that its own, in the one process that has an engine, and would wait for all of them.
    """
    if size == 1:
        return Ranks()
    store, kind = FileStore(str(rendezvous), size), ProcessGroup.BackendType.GLOO
    group = ProcessGroup(store, rank, size)
    group._set_default_backend(kind)
    group._register_backend(torch.device("cpu"), kind, ProcessGroupGloo(store, rank, size, timeout))
    return Ranks(rank, size, group)


ALONE = Ranks()
