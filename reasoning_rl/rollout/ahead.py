"""Off-policy by k steps: groups of the steps to come are sampled while the learner still works on earlier ones.

    k = 1:  learner   | update 0        | update 1        | update 2
            sampler   | groups of 1     | groups of 2     | groups of 3       by the weights from before the update beside it

The groups of step s are those by the weights that have learned max(0, s − k) steps, whatever the timing: an engine that keeps older
weights is bound to them when a gathering begins, any other has finished before its weights change. So what is learned is a function of
settings and seed. All but the first steps learn from answers that are k updates old, as PPO does from its second mini-batch on, and with
the same remedy: the ratio to the probabilities they were drawn with.

Between two steps the answers of the next k are there or on their way, and the weights that gave them are gone. A checkpoint therefore
holds these answers, judged, and a resumed run learns from them: nothing is sampled twice, and no older weights have to be kept. Where a
run is made longer, the steps behind its old end begin with younger answers, as the first ones did.
"""

import json
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives import reckoned_with
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.rollout.clock import Announce, Clock
from reasoning_rl.rollout.gather import Gathered, Source

_WAITING = TypeAdapter(list[Gathered])
_STATE = "ahead"
"""Under which a checkpoint holds the groups of the steps to come, in their order."""


class Ahead(Source):
    """Gives each step the groups of another source, asked for `lag` steps earlier. A context manager: it may have threads."""

    def __init__(self, source: Source, steps: int, lag: int = 1, *, apart: bool = False, state: Mapping[str, Any] | None = None) -> None:
        """`steps` of the run. `apart`: the engine can sample while the learner works. `state`: of the checkpoint to go on from."""
        self._source, self._steps, self._lag = source, steps, lag
        self._keeps = source.pinned() is not None
        """Whether the engine can sample by older weights while it is given new ones, and for several steps at a time."""
        self._threads = ThreadPoolExecutor(lag + 1 if self._keeps else 1, "sample") if apart else None
        self._waiting = deque(map(_done, _waiting_in(state or {})))
        """Groups of the next step and those behind it, there or on their way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._source.break_off()
            self._threads.shutdown()  # who closes the engine next must find nobody at it

    def gather(self, step: int, announce: Announce) -> Gathered:
        """See Source. Those of `lag` steps later are begun. `seconds` says how long the learner had to `wait`."""
        last = min(step + self._lag, self._steps - 1)
        for further in range(step + len(self._waiting), last + 1):
            self._waiting.append(self._begun(further, announce))
        clock = Clock(announce if self._threads else _silent)
        with clock.phase("wait"):
            gathered = self._waiting.popleft().result()
        return replace(gathered, seconds={**gathered.seconds, **clock.seconds}) if self._threads else gathered

    def _begun(self, step: int, announce: Announce) -> "Future[Gathered]":
        """Bound to the weights of now, whenever a thread comes to it."""
        source = self._source.pinned() or self._source
        if self._threads is None:
            return _done(source.gather(step, announce))
        return self._threads.submit(source.gather, step, _silent)

    def settle(self) -> None:
        """See Source. Raises what the sampling has raised."""
        if not self._keeps:
            self._finished()

    def _finished(self) -> list[Gathered]:
        """What is waiting, once all of it is there."""
        return [future.result() for future in self._waiting]

    def state(self) -> dict[str, Any]:
        """See Source. The groups of the steps to come, once they are there, as JSON: a verdict may hold numbers of NumPy's."""
        if not self._waiting:
            return {}
        plain = _WAITING.dump_python(self._finished(), warnings=False)
        return {_STATE: json.dumps(plain, default=float)}


def _waiting_in(state: Mapping[str, Any]) -> list[Gathered]:
    """Of a checkpoint. Those from before `lag` could be more than 1 hold the groups of one step, by themselves."""
    found = json.loads(state.get(_STATE, "[]"))
    return _WAITING.validate_python(found if isinstance(found, list) else [found])


def _silent(phase: str) -> None:
    """The learner is what is announced."""


def _done(gathered: Gathered) -> "Future[Gathered]":
    future = Future[Gathered]()
    future.set_result(gathered)
    return future


def refuse_uncorrected(objective: Objective, learner: LearnerConfig, lag: int = 1) -> None:
    """ConfigError where the objective would take answers of an earlier policy for the policy's own."""
    if not reckoned_with(objective, learner):
        raise ConfigError(
            f"train.off_policy_steps: {lag} gives answers of an earlier policy, and nothing corrects for that here. objective.correction "
            "should be 'token' or 'sequence' (with learner.old_logprobs 'learner'), or, where the loss has a ratio, learner.old_logprobs "
            "'engine'"
        )
