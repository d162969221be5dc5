"""A sampler in a process of Ray's, and the driver's end of it."""

import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from reasoning_rl.cluster.deaths import cause
from reasoning_rl.cluster.hand import Ready
from reasoning_rl.cluster.publishing import Transferred
from reasoning_rl.cluster.sampler import Answered, Item, Sampler, Tensors
from reasoning_rl.cluster.start import Place, Start, take_gpus
from reasoning_rl.cluster.weights import Weights, take
from reasoning_rl.errors import EngineDied
from reasoning_rl.learner.failures import Failed, attempted
from reasoning_rl.learner.memory import PeakMemory

_COLLECT_S = 30.0
"""That a process waits for answers before it says that there are none yet."""
_THREADS = 4
"""Of its calls: one waits for answers, and the others must come through meanwhile."""


class Process:
    """Lives in Ray's process. What fails in it comes back as Failed."""

    def __init__(self, start: Start, place: Place | None) -> None:
        self._start = start
        self._edition = 0
        take_gpus(place)

    def ready(self) -> Any:
        """Ready when the engine has started."""
        return attempted(Process._begin, self)

    def _begin(self) -> Ready:
        self._sampler = Sampler(self._start.engine)
        return Ready(self._sampler.context(), socket.gethostname())

    def give(self, items: Sequence[Item], weights: Mapping[int, Weights | Transferred | None]) -> None:
        """See Hand."""
        self._sampler.hand(items, {edition: self._brought(one) for edition, one in weights.items()})

    def _brought(self, weights: Weights | Transferred | None) -> Tensors:
        """Weights that were not published are those of the policy's files."""
        if weights is None:
            return self._start.from_files
        return weights.missed if isinstance(weights, Transferred) else partial(take, weights)

    def collect(self) -> Any:
        """See Sampler.collect."""
        return attempted(lambda sampler: sampler.collect(_COLLECT_S), self._sampler)

    def sleep(self) -> Any:
        """See SharedEngine: when what was asked before is done."""
        return attempted(lambda sampler: sampler.run(lambda engine: engine.sleep()).result(), self._sampler)

    def expect(self, edition: int) -> None:
        """The weights that are transferred next are of this edition."""
        self._edition = edition

    def transfer(self, step: str, given: Mapping[str, Any]) -> Any:
        """See VLLMEngine."""
        return attempted(lambda sampler: sampler.run(lambda engine: engine.transfer(step, **given)).result(), self._sampler)

    def require_transferred(self, sums: Mapping[str, int], version: int) -> Any:
        """See VLLMEngine."""
        look = partial(_require, sums=sums, version=version)
        return attempted(lambda sampler: sampler.run(look, holds=self._edition).result(), self._sampler)

    def peak(self) -> tuple[int, int]:
        """See PeakMemory."""
        return PeakMemory()()


def _require(engine: Any, sums: Mapping[str, int], version: int) -> None:
    engine.require_transferred(sums, version)


class RemoteSampler:
    """A Hand."""

    def __init__(self, start: Start, needs: Mapping[str, float], places: Sequence[Place], number: int) -> None:
        """`needs` are CPUs and GPUs to be set aside by Ray. With `places` it uses the GPUs of learners, which are there."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = places[number] if places else None
        kind = ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_concurrency=_THREADS)(Process)
        if place:
            kind = kind.options(scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False))
        self._name = f"sampler {number}"
        self.process = kind.remote(start, place)

    def ready(self) -> "Future[Ready]":
        """See Hand."""
        return self._future(self.process.ready.remote())

    def give(self, items: Sequence[Item], weights: Mapping[int, Any]) -> "Future[None]":
        """See Hand."""
        return self._future(self.process.give.remote(items, weights))

    def collect(self) -> "Future[list[Answered]]":
        """See Hand."""
        return self._future(self.process.collect.remote())

    def kill(self) -> None:
        """See Hand."""
        import ray

        ray.kill(self.process)

    def sleep(self) -> "Future[None]":
        """Give back the memory that learners can use meanwhile."""
        return self._future(self.process.sleep.remote())

    def expect(self, edition: int) -> "Future[None]":
        """See Process."""
        return self._future(self.process.expect.remote(edition))

    def peak(self) -> "Future[tuple[int, int]]":
        """See PeakMemory."""
        return self._future(self.process.peak.remote())

    def _future(self, ref: Any) -> "Future[Any]":
        """Of what the process answers, or of its error or death in our words."""
        told: Future[Any] = Future()
        ref.future().add_done_callback(partial(_pass_on, told, self._name))
        return told


def _pass_on(told: "Future[Any]", name: str, heard: "Future[Any]") -> None:
    failure = heard.exception()
    if failure is not None:
        told.set_exception(EngineDied(f"{name} died: {cause(failure)}"))
        return
    result = heard.result()
    if isinstance(result, Failed):
        told.set_exception(result.told(name))
    else:
        told.set_result(result)
