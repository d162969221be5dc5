"""A rank of the learners, as it lives in a process of Ray's."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasoning_rl.cluster.home import go_home
from reasoning_rl.learner.failures import attempted
from reasoning_rl.learner.parallel import meet
from reasoning_rl.learner.worker import TIMEOUT, Gather, Warm, Worker


class Rank:
    """Does what a worker of a crew does, among ranks on other machines."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._worker = Worker()
        self._heard: tuple[int, float] | None = None

    def address(self) -> str:
        """Where the others can meet this one: a port of its node that is free now."""
        from ray.util import get_node_ip_address

        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{get_node_ip_address()}:{free.getsockname()[1]}"

    def join(self, home: Path, address: str, gather: Gather | None, threads: int) -> Any:
        """Meet the others. None, or Failed."""
        return attempted(lambda _: self._join(home, address, gather, threads), self)

    def _join(self, home: Path, address: str, gather: Gather | None, threads: int) -> None:
        import torch

        go_home(home)
        torch.set_num_threads(threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._worker = Worker(meet(self._rank, self._size, address, device, TIMEOUT), gather)

    def do(self, work: Callable[[Worker], Any]) -> Any:
        """The result of a piece of work, or Failed."""
        if isinstance(work, Warm):
            work = replace(work, on_step=self._hear)
        return attempted(work, self._worker)

    def _hear(self, step: int, loss: float) -> None:
        self._heard = step, loss

    def progress(self) -> tuple[int, float] | None:
        """Step and loss that the cold start is at; asked while it works."""
        return self._heard
