"""A team on one machine, of workers that hold the same policy: one in process, the others in processes of one thread each.

Sampling is dealt out by prompts, learning by groups; gradients are
summed over workers by torch.distributed, so all of them take the same step. On two cores, two workers of one thread are faster than one
worker with two threads.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from reasoning_rl.config import PolicyConfig
from reasoning_rl.errors import ConfigError, EngineError, ReasoningRLError
from reasoning_rl.learner.failures import UnforeseenError
from reasoning_rl.learner.memory import PeakMemory
from reasoning_rl.learner.process import Other
from reasoning_rl.policy.policy import device_of
from reasoning_rl.records import Completion, Prompt, Sample
from reasoning_rl.rollout.engine import OnFinished, Sampling, renumbered

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from reasoning_rl.learner.learner import Learned
    from reasoning_rl.learner.worker import Open, Prepare, Warm, Worker

_LAST_WORDS_S = 1.0
"""How long a worker that broke off a collective is given to say why."""


class Crew:
    """`processes` workers under one roof: a Team. Close it, or use it as a context manager. After EngineDied, make another."""

    def __init__(self, processes: int = 1) -> None:
        self._others: list[Other] = []
        self._at_work = True
        self._threads = torch.get_num_threads()
        self._folder = tempfile.TemporaryDirectory(prefix="reasoning-rl-")
        try:
            self.local = self._started(processes)
        except BaseException:  # Ctrl-C too: those that have started would be nobody's
            self._end()
            raise
        self._at_work = False

    def _started(self, processes: int) -> "Worker":
        """The worker of this process, when the others have started too."""
        from reasoning_rl.learner.worker import one_of

        with _one_thread_each():
            for rank in range(1, processes):
                self._others.append(Other(rank, processes, self._folder.name))
            for other in self._others:
                other.receive()
        return one_of(0, processes, Path(self._folder.name))

    @property
    def size(self) -> int:
        return 1 + len(self._others)

    @property
    def apart(self) -> bool:
        """See SharedEngine."""
        return self.local.engine.apart

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """See Team."""
        return self.local.policy.tokenizer

    @property
    def context(self) -> int:
        """See Team."""
        return self.local.policy.context

    def warm(self, work: "Warm", on_step: Callable[[int, float], None]) -> None:
        """See Team."""
        self._require_cpu(work.policy)
        self.everyone(work, mine=replace(work, on_step=on_step))

    def open(self, work: "Open") -> None:
        """See Team."""
        self._require_cpu(work.config)
        self.everyone(work)

    def prepare(self, work: "Prepare") -> int:
        """See Team."""
        return int(self.everyone(work)[0])

    def update(self, batches: Sequence[Sequence[Sample]], step: int, settle: Callable[[], None]) -> "Learned":
        """See Team."""
        from reasoning_rl.learner.worker import Update

        work = Update(batches, step)
        learned: Learned = self.everyone(work, mine=replace(work, settle=settle))[0]
        return learned

    def save(self, folder: Path, step: int, state: Mapping[str, Any]) -> None:
        """See Team."""
        from reasoning_rl.learner.worker import Save

        self.everyone(Save(folder, step), mine=Save(folder, step, state))

    def peaks(self) -> list[tuple[int, int]]:
        """See Team."""
        return self.everyone(PeakMemory())

    def metrics(self) -> dict[str, float]:
        """See Team. The learner's say it all."""
        return {}

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See SharedEngine."""
        self.local.engine.require_fit(prompts, max_tokens)

    def everyone(self, work: "Callable[[Worker], Any]", *, mine: "Callable[[Worker], Any] | None" = None) -> list[Any]:
        """Let every worker do the same; `work` must be picklable, `mine` is done here in its stead."""
        return self.each([work] * self.size, mine=mine)

    def each(self, works: "Sequence[Callable[[Worker], Any]]", *, mine: "Callable[[Worker], Any] | None" = None) -> list[Any]:
        """One piece of work for each worker, by rank; results by rank. An error of any worker is raised here, EngineDied if one is gone."""
        if self._others and self._at_work:
            raise EngineError(
                "work of this crew was broken off, and what comes of it could be taken for results; close it and make another"
            )
        self._at_work = True
        for other, work in zip(self._others, works[1:], strict=True):
            other.send(work)
        results = self._together(mine or works[0])
        self._at_work = False
        return results

    def _together(self, mine: "Callable[[Worker], Any]") -> list[Any]:
        """What comes of it here and elsewhere."""
        try:
            return [mine(self.local), *self._results()]
        except (RuntimeError, UnforeseenError):
            self._raise_theirs()  # if another's end of a collective is gone, its error is the one to tell
            raise

    def _results(self) -> list[Any]:
        """Of the others, by rank. Who is gone is noticed while the rest still work."""
        waiting: dict[Any, Other] = {other.pipe: other for other in self._others}
        results: dict[int, Any] = {}
        while waiting:
            for pipe in wait(list(waiting)):
                other = waiting.pop(pipe)
                results[other.rank] = other.receive()
        return [results[other.rank] for other in self._others]

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """See Engine. `on_finished` hears of what this process samples."""
        from reasoning_rl.learner.worker import Generate

        on_finished = self._watched(on_finished)
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

    def _require_cpu(self, config: PolicyConfig) -> None:
        if self._others and device_of(config).type != "cpu":
            raise ConfigError(f"learner.processes: {self.size} share the cores of a CPU; with a GPU it is 1, and a cluster takes more")

    def _watched(self, on_finished: OnFinished | None) -> OnFinished | None:
        """Looks after the others with every answer: the last may take long, and would be for nothing."""
        if not self._others:
            return on_finished

        def hear(index: int, row: int, completion: Completion) -> None:
            for other in self._others:
                other.require_alive()
            if on_finished:
                on_finished(index, row, completion)

        return hear

    def _raise_theirs(self) -> None:
        """What has gone wrong elsewhere, if anything. Broken collectives of others come last: they have a reason that somebody knows."""
        errors: list[Exception] = []
        for other in self._others:
            if other.pipe.poll(_LAST_WORDS_S):
                try:
                    other.receive()
                except (ReasoningRLError, MemoryError) as failure:
                    errors.append(failure)
        if errors:
            raise min(errors, key=lambda error: isinstance(error, UnforeseenError))

    def close(self) -> None:
        """End the other processes; those that don't end are killed, and at once those whose work was broken off."""
        for other in self._others:
            other.dismiss(at_once=self._at_work)
        try:
            self.local.close()
        finally:
            self._end()

    def _end(self) -> None:
        for other in self._others:
            other.dismiss(at_once=self._at_work)
            other.end()
        self._others = []
        torch.set_num_threads(self._threads)
        self._folder.cleanup()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """For processes started inside: two with two threads each would fight over two cores."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
