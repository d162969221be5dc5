"""One step off-policy: the next step's groups are sampled while the learner still works on this one's.

    learner   | update 0        | update 1        | update 2
    sampler   | groups of 1     | groups of 2     | groups of 3       by the weights from before the update beside it

Every step but the first learns from answers that are one update old, as PPO does from its second mini-batch on, and with the same remedy:
the ratio to the probabilities they were drawn with. Whether sampling runs beside the learner or before it, a step's groups are the same.

Between two steps the answers of the next are there, judged, and the weights that gave them are gone. A checkpoint therefore holds these
answers, and a resumed run learns from them: nothing is sampled twice, and no older weights have to be kept.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives import reckoned_with
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.rollout.clock import Announce
from reasoning_rl.rollout.gather import Gathered, Source

_GATHERED = TypeAdapter(Gathered)
_STATE = "ahead"
"""Under which a checkpoint holds the groups of the step to come."""


class Ahead(Source):
    """Gives each step the groups of another source, asked for one step earlier. A context manager: it may have a thread."""

    def __init__(self, source: Source, steps: int, *, apart: bool = False, state: Mapping[str, Any] | None = None) -> None:
        """`steps` of the run. `apart`: the engine can sample while the learner works. `state`: of the checkpoint to go on from."""
        self._source, self._steps = source, steps
        self._thread = ThreadPoolExecutor(1, "sample") if apart else None
        self._next: Future[Gathered] | None = None
        if state and _STATE in state:
            self._next = _done(lambda: _GATHERED.validate_python(json.loads(state[_STATE])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread:
            self._source.break_off()
            self._thread.shutdown()  # who closes the engine next must find nobody at it

    def gather(self, step: int, announce: Announce) -> Gathered:
        """See Source. Those of the next step are begun."""
        gathered = self._next.result() if self._next else self._source.gather(step, announce)
        self._next = self._begun(step + 1, announce) if step + 1 < self._steps else None
        return gathered

    def _begun(self, step: int, announce: Announce) -> "Future[Gathered]":
        if self._thread is None:
            return _done(lambda: self._source.gather(step, announce))
        return self._thread.submit(self._source.gather, step, _silent)

    def settle(self) -> None:
        """See Source. Raises what the sampling has raised."""
        if self._next:
            self._next.result()

    def state(self) -> dict[str, Any]:
        """See Source. The groups of the next step, once they are there, as JSON: what a verifier returns may hold numbers of NumPy's."""
        if self._next is None:
            return {}
        plain = _GATHERED.dump_python(self._next.result(), warnings=False)
        return {_STATE: json.dumps(plain, default=float)}


def _silent(phase: str) -> None:
    """The learner is what is announced."""


def _done(work: Callable[[], Gathered]) -> "Future[Gathered]":
    future = Future[Gathered]()
    future.set_result(work())
    return future


def refuse_uncorrected(objective: Objective, learner: LearnerConfig) -> None:
    """ConfigError where the objective would take answers of an earlier policy for the policy's own."""
    if not reckoned_with(objective, learner):
        raise ConfigError(
            "train.off_policy_steps: 1 gives answers of an earlier policy, and nothing corrects for that here. objective.correction should "
            "be 'token' or 'sequence' (with learner.old_logprobs 'learner'), or, where the loss has a ratio, learner.old_logprobs 'engine'"
        )
