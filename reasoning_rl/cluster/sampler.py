"""One engine and the thread that owns it. Items are handed in and answers collected from any other thread.

    hand ─► inbox ─(all items of the same weights and sampling)─► engine ─(a prompt, when its last answer is there)─► collect

While the engine is at work, further items of the same kind join them, as long as nothing else waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from reasoning_rl.errors import EngineDied, EngineError, ReasoningRLError, first_line
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import Sampling, SharedEngine

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Callable[[], "Iterable[tuple[str, Tensor]]"]
"""Brings the weights, when they are needed."""


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt to be answered `sampling.n` times."""

    key: int
    prompt: Prompt
    sampling: Sampling
    version: int
    """Of the weights, which the completions carry."""
    edition: int
    """Which publication of weights that is: another model may be of the same version. What `hand` calls the weights by."""

    @property
    def kind(self) -> tuple[int, Sampling]:
        """Items of one kind can be asked of an engine together."""
        return self.edition, self.sampling


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of an item: all its completions, or an error of ours."""

    key: int
    completions: tuple[Completion, ...] = ()
    error: ReasoningRLError | None = None
    seconds: float = 0.0
    """Since the engine was asked for it."""
    loading_s: float = 0.0
    """That the engine took to load weights first; told with one of the items it did so for."""


class BoundedEngine(SharedEngine, Protocol):
    """An engine that knows its limit."""

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer, at most."""


@dataclass
class _Errand:
    """Something else to be done with the engine."""

    work: Callable[[BoundedEngine], Any]
    holds: int | None
    done: Future[Any] = field(default_factory=Future)


class Sampler:
    """Close it; after EngineDied, make another. Its thread ends with the process at the latest."""

    def __init__(self, start: Callable[[], BoundedEngine]) -> None:
        """`start` makes the engine, in the thread that owns it from then on."""
        self._inbox: deque[Item | _Errand] = deque()
        self._weights: dict[int, Tensors] = {}
        self._answered: list[Answered] = []
        self._holds: int | None = None
        """Edition of the weights that the engine has."""
        self._context: int | None = None
        self._end: ReasoningRLError | None = None
        """Why it samples no more."""
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._live, args=(start,), name="sampler", daemon=True)
        self._thread.start()

    def context(self) -> int:
        """Of the engine, in tokens, when it has started. Raises what keeps it from starting."""
        with self._change:
            self._change.wait_for(lambda: self._context or self._end)
            if self._context is None:
                raise self._end or EngineError("this sampler is closed")
            return self._context

    def hand(self, items: Sequence[Item], weights: Mapping[int, Tensors]) -> None:
        """Have these answered; returns at once. `weights` of the editions that they need: they are read if the engine has others."""
        with self._change:
            self._weights.update(weights)
            self._inbox.extend(items)
            self._change.notify_all()

    def collect(self, patience_s: float) -> list[Answered]:
        """What has been answered since the last time; waits for the first, and after `patience_s` there is none.

        EngineDied when the engine broke down, once all that it had answered before was collected.
        """
        with self._change:
            self._change.wait_for(lambda: self._answered or self._end, patience_s)
            if not self._answered and self._end:
                raise self._end
            answered, self._answered = self._answered, []
            return answered

    def run(self, work: Callable[[BoundedEngine], Any], holds: int | None = None) -> Future[Any]:
        """Have this done with the engine, behind the items that were handed in before; what it raises is the future's alone.

        `holds`: edition of the weights that the engine has afterwards; with None they are loaded again.
        """
        errand = _Errand(work, holds)
        with self._change:
            if self._end:
                errand.done.set_exception(self._end)
            else:
                self._inbox.append(errand)
                self._change.notify_all()
        return errand.done

    def close(self) -> None:
        """End the engine when the call it is in has ended. Calling it twice does no harm."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _live(self, start: Callable[[], BoundedEngine]) -> None:
        end: ReasoningRLError = EngineError("this sampler is closed")
        try:
            with closing(start()) as engine:
                self._serve(engine)
        except ReasoningRLError as failure:
            end = failure
        except BaseException as failure:  # noqa: BLE001  # whoever collects has to know of it, and may be another process
            end = EngineDied(f"the sampler's engine broke down: {type(failure).__name__}: {first_line(failure)}")
        with self._change:
            self._end = end
            for errand in (waiting for waiting in self._inbox if isinstance(waiting, _Errand)):
                errand.done.set_exception(end)
            self._change.notify_all()

    def _serve(self, engine: BoundedEngine) -> None:
        with self._change:
            self._context = engine.context
            self._change.notify_all()
        while first := self._first():
            if isinstance(first, _Errand):
                self._do(first, engine)
            else:
                self._answer(first, engine)

    def _first(self) -> Item | _Errand | None:
        """What is to be done next, when there is something; an item stays in the inbox. None when it is closed."""
        with self._change:
            self._change.wait_for(lambda: self._inbox or self._closed)
            if self._closed:
                return None
            return self._inbox.popleft() if isinstance(self._inbox[0], _Errand) else self._inbox[0]

    def _do(self, errand: _Errand, engine: BoundedEngine) -> None:
        self._holds = None
        try:
            result = errand.work(engine)
        except EngineDied as failure:
            errand.done.set_exception(failure)
            raise
        except Exception as failure:  # noqa: BLE001  # whatever it is belongs to whoever asked
            errand.done.set_exception(failure)
        else:
            self._holds = errand.holds
            errand.done.set_result(result)

    def _answer(self, first: Item, engine: BoundedEngine) -> None:
        """All items of the same kind, in one call of the engine."""
        call = _Call(self._tell, engine)
        try:
            call.loading_s = self._load(first, engine)
            prompts = call.join(self._taken(first, among_others=True))
            made = engine.generate(prompts, first.sampling, call.hear, lambda: call.join(self._taken(first)))
            call.complete(made)
        except EngineDied:
            raise
        except ReasoningRLError as failure:
            call.join(self._taken(first, among_others=True))
            call.fail(failure)

    def _taken(self, first: Item, *, among_others: bool = False) -> list[Item]:
        """Out of the inbox, all items of this kind; unless `among_others`, none where others wait, whose turn is next."""
        with self._change:
            own = [item for item in self._inbox if isinstance(item, Item) and item.kind == first.kind]
            if len(own) < len(self._inbox) and not among_others:
                return []
            self._inbox = deque(item for item in self._inbox if isinstance(item, _Errand) or item.kind != first.kind)
            return own

    def _load(self, item: Item, engine: BoundedEngine) -> float:
        """Give the engine the item's weights unless it has them; seconds that it took. Those that nobody waits for are let go."""
        began = time.monotonic()
        with self._change:
            needed = {waiting.edition for waiting in self._inbox if isinstance(waiting, Item)}
            self._weights = {edition: weights for edition, weights in self._weights.items() if edition in needed}
            weights = self._weights.get(item.edition)
        if self._holds == item.edition:
            return 0.0
        if weights is None:
            raise EngineError(f"weights of version {item.version} are needed, and the sampler was not given any")
        self._holds = None
        engine.load_weights(weights(), item.version)
        self._holds = item.edition
        return time.monotonic() - began

    def _tell(self, answered: Answered) -> None:
        with self._change:
            self._answered.append(answered)
            self._change.notify_all()


class _Call:
    """The items that an engine is asked for in one call, and what has come of them."""

    def __init__(self, tell: Callable[[Answered], None], engine: BoundedEngine) -> None:
        self._tell, self._engine = tell, engine
        self._items: list[tuple[Item, float]] = []
        """With the moment at which the engine was asked for it."""
        self._made: dict[int, dict[int, Completion]] = {}
        """By the item's place, then by row; without the items that are answered."""
        self.loading_s = 0.0

    def join(self, items: Sequence[Item]) -> list[Prompt]:
        """The prompts that the engine is asked for. An item that doesn't fit is answered with the error: the others needn't suffer."""
        asked = [item for item in items if self._fits(item)]
        for item in asked:
            self._made[len(self._items)] = {}
            self._items.append((item, time.monotonic()))
        return [item.prompt for item in asked]

    def _fits(self, item: Item) -> bool:
        try:
            self._engine.require_fit([item.prompt], item.sampling.max_tokens)
        except EngineError as failure:
            self._tell(Answered(item.key, error=failure))
            return False
        return True

    def hear(self, index: int, row: int, completion: Completion) -> None:
        """See OnFinished."""
        rows = self._made[index]
        rows[row] = completion
        if len(rows) == self._items[index][0].sampling.n:
            self._answer(index, tuple(rows[place] for place in range(len(rows))))

    def complete(self, made: Sequence[Sequence[Completion]]) -> None:
        """What the engine returned, with the items that it has not told of."""
        for index in list(self._made):
            self._answer(index, tuple(made[index]))

    def fail(self, failure: ReasoningRLError) -> None:
        """Of the items that have no answer."""
        for index in list(self._made):
            self._answer(index, (), failure)

    def _answer(self, index: int, completions: tuple[Completion, ...], error: ReasoningRLError | None = None) -> None:
        del self._made[index]
        item, since = self._items[index]
        self._tell(Answered(item.key, completions, error, time.monotonic() - since, self.loading_s))
        self.loading_s = 0.0
