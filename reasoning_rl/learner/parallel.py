"""Adding up gradients and numbers over data-parallel processes, by torch.distributed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributed import FileStore, ProcessGroup, ProcessGroupGloo  # type: ignore[attr-defined]  # the first is not in its stub
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(eq=False)
class Ranks:
    """This process among `size` equals; with `size` 1 nothing is communicated and torch.distributed isn't touched."""

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = None
    """None for torch's default one."""
    mesh: DeviceMesh | None = None
    """The processes as `fully_shard` wants them, where they have met by `meet`."""

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum over processes, in place: one message for all parameters but sharded ones, whose backward has added them up."""
        whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
        if self.size == 1 or not whole:
            return
        gradients = [parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in whole]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat, group=self.group)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for parameter, piece in zip(whole, pieces, strict=True):
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
        if self.mesh is not None:
            self.mesh = None
            torch.distributed.destroy_process_group()


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


def meet(rank: int, size: int, address: str, device: torch.device, timeout: timedelta) -> Ranks:
    """Meet the others at `tcp://host:port`, where rank 0 listens. The group is torch's default one, so one to a process.

    Collectives of a GPU's tensors go by NCCL, which wants a GPU for each process, those of the host's by gloo.
    """
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", init_method=address, rank=rank, world_size=size, timeout=timeout
    )
    return Ranks(rank, size, mesh=init_device_mesh(device.type, (size,)))


ALONE = Ranks()
