"""Workers that hold the same policy: one in process, the others in processes of one thread each.

The loop talks to one object whether there is one worker or several. Sampling is dealt out by prompts, learning by groups; gradients are
summed over workers by torch.distributed, so all of them take the same step. On two cores, two workers of one thread are faster than one
worker with two threads.
"""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from reasoning_rl.errors import EngineError, ReasoningRLError
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import OnFinished, Sampling, renumbered
from reasoning_rl.signals import ignoring_interrupts

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_rl.learner.worker import Worker


_LAST_WORDS_S = 1.0
"""How long a worker that broke off a collective is given to say why."""


@dataclass(frozen=True)
class _Failed:
    """An exception of another process: itself if it is ours, since others may not survive the journey, and its traceback."""

    error: ReasoningRLError | None
    text: str


class Crew:
    """`processes` workers under one roof; also an Engine. Close it, or use it as a context manager."""

    def __init__(self, processes: int = 1) -> None:
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._threads = torch.get_num_threads()
        self._folder = tempfile.TemporaryDirectory(prefix="reasoning-rl-")
        if processes > 1:
            self._start(processes)
        from reasoning_rl.learner.worker import Worker

        self.local = Worker(0, processes, Path(self._folder.name) / "rendezvous")

    def _start(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        threads = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # inherited; two processes with two threads each would fight over two cores
        for rank in range(1, processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, processes, self._folder.name, theirs), daemon=True)
            with ignoring_interrupts():
                process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        for pipe in self._pipes:
            self._receive(pipe)  # it has started: nobody waits in vain for a process that died of its imports
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads

    @property
    def size(self) -> int:
        return 1 + len(self._processes)

    @property
    def apart(self) -> bool:
        """See SharedEngine."""
        return self.local.engine.apart

    def everyone(self, work: "Callable[[Worker], Any]", *, mine: "Callable[[Worker], Any] | None" = None) -> list[Any]:
        """Let every worker do the same; `work` must be picklable, `mine` is done here in its stead."""
        return self.each([work] * self.size, mine=mine)

    def each(self, works: "Sequence[Callable[[Worker], Any]]", *, mine: "Callable[[Worker], Any] | None" = None) -> list[Any]:
        """One piece of work for each worker, by rank; results by rank. An error of any worker is raised here."""
        for pipe, work in zip(self._pipes, works[1:], strict=True):
            self._send(pipe, work)
        try:
            first = (mine or works[0])(self.local)
        except RuntimeError:
            self._raise_theirs()  # if another's end of a collective is gone, its error is the one to tell
            raise
        return [first, *(self._receive(pipe) for pipe in self._pipes)]

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """See Engine. `on_finished` hears of what this process samples."""
        from reasoning_rl.learner.worker import Generate

        if self.local.engine.for_all:
            return self.local.engine.generate(prompts, sampling, on_finished)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids))
        shares = [order[rank :: self.size] for rank in range(self.size)]
        works = [Generate([prompts[index] for index in own], sampling) for own in shares]
        answers = self.each(works, mine=replace(works[0], on_finished=renumbered(on_finished, shares[0])))
        placed = {index: made for own, part in zip(shares, answers, strict=True) for index, made in zip(own, part, strict=True)}
        return [placed[index] for index in range(len(prompts))]

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:
        """See Engine."""
        from reasoning_rl.learner.worker import LoadWeights

        self.everyone(LoadWeights(dict(named_tensors), version))

    def _send(self, pipe: Connection, work: Any) -> None:
        try:
            pipe.send(work)
        except (BrokenPipeError, OSError) as failure:
            self._raise_theirs()
            raise EngineError(f"a worker process has ended: {failure}") from failure

    def _receive(self, pipe: Connection) -> Any:
        try:
            result = pipe.recv()
        except (EOFError, OSError) as failure:
            raise EngineError("a worker process has ended without a word; was it killed for memory?") from failure
        if isinstance(result, _Failed):
            raise result.error or EngineError(f"in a worker process: {result.text}")
        return result

    def _raise_theirs(self) -> None:
        for pipe in self._pipes:
            if pipe.poll(_LAST_WORDS_S):
                self._receive(pipe)

    def close(self) -> None:
        """End the other processes; those that don't end are killed."""
        for pipe in self._pipes:
            pipe.close()
        try:
            self.local.close()
        finally:
            self._end()

    def _end(self) -> None:
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes = [], []
        torch.set_num_threads(self._threads)
        self._folder.cleanup()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _serve(rank: int, size: int, folder: str, pipe: Connection) -> None:
    """The life of another process: do what comes through the pipe until it closes."""
    from reasoning_rl.learner.worker import Worker

    pipe.send("started")
    worker = Worker(rank, size, Path(folder) / "rendezvous")
    while True:
        try:
            work = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            result = work(worker)
        except Exception as failure:  # noqa: BLE001  # whatever it is belongs to the process that asked
            result = _Failed(failure if isinstance(failure, ReasoningRLError) else None, traceback.format_exc())
        with suppress(OSError):  # the first process is gone: the next read says so
            pipe.send(result)
        if isinstance(result, _Failed):
            break  # ends this worker's side of the collectives, so that the others don't wait
    worker.close()
