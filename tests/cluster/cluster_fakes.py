"""Samplers that live nowhere: a test says what they do, and when."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from reasoning_rl.cluster.hand import Ready
from reasoning_rl.cluster.pool import Pool
from reasoning_rl.cluster.sampler import Answered, Item
from reasoning_rl.errors import EngineDied
from reasoning_rl.records import Completion, Problem, Prompt
from reasoning_rl.rollout.engine import Sampling

SAMPLING = Sampling(n=2, max_tokens=8)


def prompts_of(count: int, name: str = "p") -> list[Prompt]:
    return [Prompt(Problem(f"{name}{index}", "toy", "test", "?", "1"), "?", (1,)) for index in range(count)]


def answer_to(item: Item) -> tuple[Completion, ...]:
    """A function of prompt, sampling and weights alone, as an engine's is."""
    said = f"{item.prompt.problem.id} {item.sampling.stream}"
    return tuple(Completion(f"{said} {row}", (7,), policy_version=item.version) for row in range(item.sampling.n))


def expected(prompts: Sequence[Prompt], sampling: Sampling, version: int) -> list[list[Completion]]:
    return [list(answer_to(Item(0, prompt, sampling, version, 0))) for prompt in prompts]


class FakeHand:
    """Answers when it is told to."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.got: list[Item] = []
        """All that it was ever given, in that order."""
        self.gifts: list[int] = []
        """How many items came at a time."""
        self.weights: dict[int, Any] = {}
        self.killed = self.cut_off = False
        """`cut_off`: it is taken for dead when it is given something, and answers all the same."""
        self.deaf = False
        """What it is given never arrives."""
        self._death: EngineDied | None = None
        self._changing = threading.RLock()
        self._answered: set[int] = set()
        self._told: list[Answered] = []
        self._starting: Future[Ready] = Future()
        self._asked: Future[list[Answered]] | None = None

    def ready(self) -> "Future[Ready]":
        return self._starting

    def collect(self) -> "Future[list[Answered]]":
        with self._changing:
            asked = self._asked = Future()
            self._deliver()
        return asked

    def give(self, items: Sequence[Item], weights: Mapping[int, Any]) -> "Future[None]":
        self.gifts.append(len(items))
        self.weights |= weights
        self.got.extend(items)
        if self.cut_off:
            raise EngineDied("cut off")
        arrived: Future[None] = Future()
        if self.deaf:
            arrived.set_exception(EngineDied("unheard"))
        else:
            arrived.set_result(None)
        return arrived

    def kill(self) -> None:
        self.killed = True

    def start(self, context: int = 128) -> None:
        self._starting.set_result(Ready(context, "here"))

    def refuse(self, error: Exception) -> None:
        self._starting.set_exception(error)

    @property
    def started(self) -> bool:
        return self._starting.done()

    @property
    def pending(self) -> list[Item]:
        """What it has not answered."""
        return [item for item in self.got if item.key not in self._answered]

    @property
    def dead(self) -> bool:
        return self._death is not None

    def answer(self, *items: Item, error: EngineDied | None = None, version: int | None = None) -> None:
        """These, whether it is dead or alive; `version` is said instead of that of the weights."""
        for item in items:
            self._answered.add(item.key)
            made = answer_to(item if version is None else replace(item, version=version))
            self._told.append(Answered(item.key, () if error else made, error, seconds=0.5))
        self._deliver()

    def die(self, reason: str = "killed") -> None:
        self._death = EngineDied(reason)
        self._deliver()

    def _deliver(self) -> None:
        with self._changing:
            if self._asked is None or self._asked.done():
                return
            if self._told:
                told, self._told = self._told, []
                self._asked.set_result(told)
            elif self._death:
                self._asked.set_exception(self._death)


class Stage:
    """A pool, and the fakes that it has started so far."""

    def __init__(self, samplers: int, *, rows: int = 100, patience_s: float = 60, started: bool = True) -> None:
        self.hands: list[FakeHand] = []
        self._started = started
        self.pool = Pool(self._start, samplers, rows=rows, patience_s=patience_s)
        self.pool.publish(0, "weights 0", keep=2)
        self._threads = ThreadPoolExecutor(8)

    def _start(self, number: int) -> FakeHand:
        hand = FakeHand(number)
        self.hands.append(hand)
        if self._started:
            hand.start()
        return hand

    def asked(self, prompts: list[Prompt], sampling: Sampling = SAMPLING, version: int | None = None) -> "Future[list[list[Completion]]]":
        """Who asks waits in a thread; the call is in the queue when this returns."""
        future = self._threads.submit(self.pool.generate, prompts, sampling, version=version)
        until(lambda: self.pool.metrics() is not None and (future.done() or self._queued(prompts)))
        return future

    def _queued(self, prompts: list[Prompt]) -> bool:
        return any(call.prompts == prompts for call in self.pool._dispatcher._calls)

    def close(self) -> None:
        self.pool.close()
        self._threads.shutdown()


@contextmanager
def stage(samplers: int, *, rows: int = 100, patience_s: float = 60, started: bool = True) -> Iterator[Stage]:
    made = Stage(samplers, rows=rows, patience_s=patience_s, started=started)
    try:
        yield made
    finally:
        made.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.0005)


def ids(hand: FakeHand) -> list[str]:
    return [item.prompt.problem.id for item in hand.got]
