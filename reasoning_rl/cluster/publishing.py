"""A version of the weights on its way from the learners to the samplers.

object store    learners put it there, and a sampler reads it when it is given a prompt of that version. Older ones stay as long as
                they are asked for, and a new sampler gets what it needs
nccl, ipc       vLLM's own way between GPUs, into all samplers at once, when none of them is at work. One that comes later has missed it
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from reasoning_rl.cluster.transfer import Fleet, Sender, Way
from reasoning_rl.cluster.weights import Weights, put
from reasoning_rl.config import VLLMConfig
from reasoning_rl.errors import EngineDied
from reasoning_rl.learner.worker import Worker

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Transferred:
    """Weights that samplers hold already."""

    version: int

    def missed(self) -> NoReturn:
        """For a sampler that doesn't: it has come in place of a dead one."""
        raise EngineDied(
            f"weights of version {self.version} went from GPU to GPU before this sampler was there; with cluster.transfer=object_store a "
            "new sampler gets them"
        )


@dataclass(frozen=True)
class Publish:
    """Put the policy's weights where samplers find them. All ranks gather them; the first one's result counts."""

    version: int

    def __call__(self, worker: Worker) -> Weights | None:
        if worker.ranks.rank == 0:
            return put(worker.policy.weights(), self.version)
        _walk(worker.policy.weights())
        return None


@dataclass(frozen=True)
class Meet:
    """Join the samplers in vLLM's way of transfer."""

    way: Way
    samplers: tuple[Any, ...]
    """Ray's handles."""
    processes: int
    """Of each of them."""
    config: VLLMConfig

    def __call__(self, worker: Worker) -> None:
        if worker.sender:
            worker.sender.close()
        policy = worker.policy
        dtype = policy.autocast or policy.model.dtype if self.config.dtype == "auto" else getattr(torch, self.config.dtype)
        fleet = Fleet(self.samplers, self.processes)
        worker.sender = Sender(self.way, worker.ranks.rank, fleet, len(self.samplers) * self.processes, policy.weights, dtype)


@dataclass(frozen=True)
class Send:
    """Give the samplers, which were met, the policy's weights."""

    version: int

    def __call__(self, worker: Worker) -> None:
        assert worker.sender is not None
        worker.sender.send(self.version)


def _walk(tensors: "Iterable[tuple[str, Tensor]]") -> None:
    """Where they are shared out, each is gathered by all ranks."""
    for _ in tensors:
        pass
