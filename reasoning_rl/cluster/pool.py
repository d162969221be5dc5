"""Many samplers that answer as one engine: prompts are handed out as samplers get free, and none is lost when one dies.

    generate ─► calls ─► Dispatcher ─(items)─► Hand ─► Sampler, on whichever machine
                  ◄──────────────────(answers)──┘

A thread does the dispatching; whoever calls `generate` hears of the answers in a thread of its own.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from reasoning_rl.cluster.calls import Call, Edition
from reasoning_rl.cluster.dispatcher import Dispatcher
from reasoning_rl.cluster.hand import Hand
from reasoning_rl.cluster.tally import Tally
from reasoning_rl.errors import EngineDied, EngineError, first_line
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import OnFinished, Sampling, require_room

T = TypeVar("T")


class Pool:
    """Close it. After EngineDied, make another."""

    def __init__(
        self, start: Callable[[int], Hand], samplers: int, *, rows: int, patience_s: float, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """`start` begins the sampler of a number, also in place of a dead one, and returns at once; it is called in the pool's thread.

        `rows` are the answers that a sampler may have in hand. Calls fail where no sampler is there for `patience_s`. `say` hears
        of deaths, in the pool's thread.
        """
        self._patience_s, self._alone_since = patience_s, time.monotonic()
        self._editions: dict[int, Edition] = {}
        """By version, in the order in which they were published."""
        self._published = 0
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._watches: list[tuple[Callable[[], Any], Future[Any]]] = []
        """What somebody waits for: something other than None."""
        self._closed, self._closing = False, threading.Lock()
        self._tally = Tally(time.monotonic())
        self._started: Future[Dispatcher] = Future()
        self._thread = threading.Thread(target=self._live, args=(start, samplers, rows, say), name="pool", daemon=True)
        self._thread.start()
        self._dispatcher = self._started.result()

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, *, version: int | None = None
    ) -> list[list[Completion]]:
        """See Engine; for any number of threads. By the weights that were published last when it is called, or by those of `version`.

        EngineError where these are not kept any more, EngineDied where samplers die of whatever they are asked.
        """
        call = self._ask(lambda: self._called(prompts, sampling, version))
        try:
            return call.results(on_finished)
        finally:
            self._later(lambda: self._dispatcher.forget(call))

    def publish(self, version: int, weights: Any, keep: int, holders: Collection[Hand] | None = None) -> int:
        """Calls from now on are answered by these weights, and can ask for the last `keep` versions, this one included; their edition.

        `holders`: see Edition. Calls fail with EngineDied when the last of these has died.
        """
        return self._ask(lambda: self._publish(version, weights, keep, holders))

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer, at most. Waits for the first sampler, which knows."""
        return self._when(self._context)

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See SharedEngine."""
        require_room(prompts, max_tokens, self.context)

    def break_off(self) -> None:
        """Have all calls there are fail with EngineError. What is in hand is let be."""
        self._later(lambda: self._dispatcher.fail(EngineError("sampling was broken off: nobody waits for the answers any more")))

    def settled(self) -> list[Hand]:
        """The samplers that have started, when there are any, nothing waits and nothing is in hand: other things can be done with them."""
        return self._when(lambda: None if self._dispatcher.busy else self._hands() or None)

    def hands(self) -> list[Hand]:
        """The samplers that have started."""
        return self._ask(self._hands)

    def metrics(self) -> dict[str, float]:
        """Samplers at work now, and since the last time: deaths, prompts handed out again, seconds, and the share of idle time."""
        return self._ask(lambda: {"cluster/samplers": float(len(self._dispatcher.at_work)), **self._tally.taken()})

    def close(self) -> None:
        """End all samplers. Calls fail, those to come too. Calling it twice does no harm."""
        with self._closing:
            self._closed = True
            self._events.put(lambda: None)
        self._thread.join()

    def _called(self, prompts: Sequence[Prompt], sampling: Sampling, version: int | None) -> Call:
        if not self._editions:
            raise EngineError("the samplers have had no weights; they are published first")
        wanted = next(reversed(self._editions)) if version is None else version
        if wanted not in self._editions:
            kept = ", ".join(map(str, self._editions))
            raise EngineError(f"weights of version {wanted} are not kept for sampling any more; those of {kept} are")
        call = Call(prompts, sampling, self._editions[wanted])
        self._dispatcher.add(call)
        return call

    def _publish(self, version: int, weights: Any, keep: int, holders: Collection[Hand] | None) -> int:
        self._published += 1
        self._editions.pop(version, None)
        self._editions[version] = Edition(self._published, version, weights, holders)
        for old in list(self._editions)[:-keep]:
            del self._editions[old]
        return self._published

    def _hands(self) -> list[Hand]:
        return [seat.hand for seat in self._dispatcher.at_work]

    def _context(self) -> int | None:
        return min((seat.ready.context for seat in self._dispatcher.at_work if seat.ready), default=None)

    def _later(self, event: Callable[[], None]) -> None:
        with self._closing:
            if not self._closed:
                self._events.put(event)

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer of the pool's thread."""
        return self._asked(lambda answer: _resolve(answer, question))

    def _when(self, condition: Callable[[], T | None]) -> T:
        """Wait until it is something; the error of the samplers when they fail before."""
        return self._asked(lambda answer: self._watches.append((condition, answer)))

    def _asked(self, how: "Callable[[Future[T]], None]") -> T:
        answer: Future[T] = Future()
        with self._closing:
            if self._closed:
                raise EngineError("the samplers are closed")
            self._events.put(lambda: how(answer))
        return answer.result()

    def _live(self, start: Callable[[int], Hand], samplers: int, rows: int, say: Callable[[str], None]) -> None:
        try:
            dispatcher = Dispatcher(start, samplers, rows, self._tally, self._later, say)
        except Exception as failure:  # noqa: BLE001  # it belongs to whoever makes the pool
            self._started.set_exception(failure)
            return
        self._started.set_result(dispatcher)
        while not (self._closed and self._events.empty()):
            self._next(dispatcher)
        dispatcher.close()
        self._look(dispatcher)

    def _next(self, dispatcher: Dispatcher) -> None:
        """Wait for something to happen, and see to all that has."""
        events = []
        try:
            events.append(self._events.get(timeout=self._patience(dispatcher)))
        except Empty:
            self._lose_patience(dispatcher)
        while not self._events.empty():
            events.append(self._events.get())
        now, at_work = time.monotonic(), dispatcher.at_work
        self._tally.pass_time(now, len(at_work), sum(seat.idle for seat in at_work))
        if at_work:
            self._alone_since = now
        for event in (*events, dispatcher.hand_out):
            try:
                event()
            except Exception as failure:  # noqa: BLE001  # whoever waits has to know, and the other events have people waiting too
                dispatcher.give_up(EngineDied(f"handing out prompts broke down: {type(failure).__name__}: {first_line(failure)}"))
        self._look(dispatcher)

    def _look(self, dispatcher: Dispatcher) -> None:
        """Answer those who wait for something that has come about, or that never will."""
        watches, self._watches = self._watches, []
        for condition, answer in watches:
            found = None if dispatcher.error else condition()
            if dispatcher.error:
                answer.set_exception(dispatcher.error)
            elif found is not None:
                answer.set_result(found)
            else:
                self._watches.append((condition, answer))

    def _patience(self, dispatcher: Dispatcher) -> float | None:
        """Seconds that whoever waits still has."""
        if dispatcher.at_work or not (dispatcher.asked or self._watches):
            return None
        return max(0.0, self._alone_since + self._patience_s - time.monotonic())

    def _lose_patience(self, dispatcher: Dispatcher) -> None:
        error = EngineError(
            f"cluster.samplers: none of {len(dispatcher.seats)} found room or had started within cluster.wait_s ({self._patience_s:g} s); "
            "a node that has what a sampler needs, or a longer wait, would help"
        )
        dispatcher.fail(error)
        watches, self._watches = self._watches, []
        for _, answer in watches:
            answer.set_exception(error)


def _resolve(answer: "Future[T]", question: Callable[[], T]) -> None:
    try:
        answer.set_result(question())
    except Exception as failure:  # noqa: BLE001  # it belongs to whoever asked
        answer.set_exception(failure)
