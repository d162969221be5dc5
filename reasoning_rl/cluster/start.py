"""How a sampler's engine is started, in its own process."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.cluster.home import go_home
from reasoning_rl.cluster.sampler import BoundedEngine
from reasoning_rl.cluster.transfer import Way
from reasoning_rl.learner.worker import Open
from reasoning_rl.policy.blank import blank_policy
from reasoning_rl.policy.policy import load_policy
from reasoning_rl.rollout.engine import engine_for
from reasoning_rl.rollout.local import LocalEngine

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where a sampler finds the GPUs of learners."""

    node: str
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """What a sampler's process is told."""

    open: Open
    home: Path
    """The driver's folder."""
    threads: int
    processes: int
    """Of a vLLM engine."""
    way: Way
    """How weights come to it."""

    def engine(self) -> BoundedEngine:
        """Of the policy. It has no weights of its own yet, or none that count."""
        import torch

        go_home(self.home)
        torch.set_num_threads(self.threads)
        asked = self.open
        if engine_for(asked.sampling.engine, on_gpu=torch.cuda.is_available()) == "local":
            return LocalEngine(load_policy(asked.model, asked.config, asked.revision), asked.sampling.batch_rows)
        from reasoning_rl.rollout.vllm import VLLMEngine

        policy = blank_policy(asked.model, asked.config, asked.revision)
        transfer = None if self.way == "object_store" else self.way
        return VLLMEngine(policy, asked.model, asked.sampling, asked.revision, self.threads, self.processes, transfer)

    def from_files(self) -> "Iterable[tuple[str, Tensor]]":
        """The weights that the policy was opened with."""
        config = self.open.config.model_copy(update={"device": "cpu"})
        return load_policy(self.open.model, config, self.open.revision).weights()


def take_gpus(place: Place | None) -> None:
    """Those of the place, before torch looks for any; without one, those that Ray has given."""
    if place is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(place.gpus)
