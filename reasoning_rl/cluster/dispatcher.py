"""Who answers what: tasks go to the samplers that have room, and those of dead samplers to others.

Earlier calls go first, and a sampler answers one kind of task (weights and sampling) at a time. Everything here happens in one thread.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from reasoning_rl.cluster.calls import Call, Task
from reasoning_rl.cluster.hand import Hand, Ready
from reasoning_rl.cluster.sampler import Answered
from reasoning_rl.cluster.seats import Seat
from reasoning_rl.cluster.tally import Tally
from reasoning_rl.errors import EngineDied, EngineError, ReasoningRLError, first_line

IN_A_ROW = 3
"""Deaths of a sampler without an answer in between, after which another would only die too."""
SUSPECT = 5
"""Samplers that died with a prompt in hand, after which it is taken for the reason."""

Later = Callable[[Callable[[], None]], None]
"""Has something done in the dispatcher's thread; may be called from any."""


class Dispatcher:
    """Holds what waits and what is in hand."""

    def __init__(
        self, start: Callable[[int], Hand], samplers: int, rows: int, tally: Tally, later: Later, say: Callable[[str], None]
    ) -> None:
        """`start` begins a sampler for the place of this number; `rows` are the answers that one may have in hand."""
        self._start, self._rows, self._tally, self._later, self._say = start, rows, tally, later, say
        self._keys = count()
        self._calls: list[Call] = []
        self._waiting: list[Task] = []
        """A heap."""
        self._began = False
        """Whether any sampler ever did."""
        self.error: ReasoningRLError | None = None
        """What keeps it from answering anything more."""
        self.seats = [Seat(number, start(number)) for number in range(samplers)]
        for seat in self.seats:
            self._expect(seat)

    @property
    def at_work(self) -> list[Seat]:
        """Those whose samplers have started."""
        return [seat for seat in self.seats if seat.ready]

    @property
    def busy(self) -> bool:
        """Whether anything waits or is in hand."""
        return bool(self._waiting) or any(seat.tasks for seat in self.seats)

    @property
    def asked(self) -> bool:
        """Whether anybody waits for an answer."""
        return bool(self._calls)

    def add(self, call: Call) -> None:
        """A call is made."""
        if self.error:
            call.fail(self.error)
            return
        self._calls.append(call)
        for index in range(len(call.prompts)):
            heappush(self._waiting, Task(next(self._keys), call, index))

    def forget(self, call: Call) -> None:
        """Nobody waits for it any more. What is in hand of it is let be."""
        call.over = True
        self._calls = [other for other in self._calls if other is not call]
        self._waiting = [task for task in self._waiting if task.call is not call]
        heapify(self._waiting)

    def fail(self, error: ReasoningRLError) -> None:
        """All calls there are."""
        for call in list(self._calls):
            self._fail(call, error)

    def give_up(self, error: ReasoningRLError) -> None:
        """All calls fail, those to come too."""
        self.error = error
        self.fail(error)

    def _fail(self, call: Call, error: ReasoningRLError) -> None:
        call.fail(error)
        self.forget(call)

    def hand_out(self) -> None:
        """Give all that waits to whoever has room. It is dealt out before any is sent, so that a sampler gets its share at once."""
        shares: dict[Seat, list[Task]] = {}
        while self._waiting and (able := [seat for seat in self.seats if seat.can_take(self._waiting[0], self._rows)]):
            task = heappop(self._waiting)
            seat = min(able, key=lambda seat: seat.rank(task))
            seat.take(task)
            shares.setdefault(seat, []).append(task)
        for seat, tasks in shares.items():
            self._send(seat, tasks)
        if self._waiting and not any(self._waiting[0].call.edition.suits(seat.hand) for seat in self.seats):
            version = self._waiting[0].call.edition.version
            self.give_up(EngineDied(f"no sampler is left that has the weights of version {version}, and others can't get them any more"))

    def _send(self, seat: Seat, tasks: Sequence[Task]) -> None:
        items, weights = [task.item for task in tasks], {task.call.edition.number: task.call.edition.weights for task in tasks}
        self._try(seat, lambda: self._heed(seat, seat.hand.give(items, weights), self._arrived))

    def _expect(self, seat: Seat) -> None:
        """That its sampler starts."""
        self._try(seat, lambda: self._heed(seat, seat.hand.ready(), self._started))

    def _listen(self, seat: Seat) -> None:
        self._try(seat, lambda: self._heed(seat, seat.hand.collect(), self._collected))

    def _heed(self, seat: Seat, future: "Future[Any]", then: Callable[[Seat, "Future[Any]"], None]) -> None:
        """When it is done, and unless the sampler was given up meanwhile: its tasks are in other hands then."""
        hand = seat.hand
        future.add_done_callback(lambda done: self._later(lambda: then(seat, done) if seat.hand is hand else None))

    def _try(self, seat: Seat, work: Callable[[], None]) -> None:
        """What is asked of a dead sampler may fail at once."""
        hand = seat.hand
        try:
            work()
        except Exception as failure:  # noqa: BLE001  # whatever it is, this sampler can't be asked
            reason = failure
            self._later(lambda: self._died(seat, reason) if seat.hand is hand else None)

    def _started(self, seat: Seat, future: "Future[Ready]") -> None:
        failure = future.exception()
        if failure is None:
            seat.ready, self._began = future.result(), True
            self._listen(seat)
        elif isinstance(failure, ReasoningRLError) and not isinstance(failure, EngineDied) and not self._began:
            self.give_up(failure)
        else:
            self._died(seat, failure)

    def _arrived(self, seat: Seat, future: "Future[None]") -> None:
        """Or not, and nobody else would ever say so."""
        if failure := future.exception():
            self._died(seat, failure)

    def _collected(self, seat: Seat, future: "Future[list[Answered]]") -> None:
        if failure := future.exception():
            self._died(seat, failure)
            return
        for answered in future.result():
            if task := seat.done(answered.key):
                seat.deaths = 0
                self._tally.count(answered)
                self._accept(task, answered, seat)
        self._listen(seat)

    def _accept(self, task: Task, answered: Answered, seat: Seat) -> None:
        call = task.call
        if call.over:
            return
        error = answered.error or _mistake(task, answered, seat)
        if error:
            self._fail(call, error)
        else:
            call.tell(task.index, answered.completions)

    def _died(self, seat: Seat, failure: BaseException) -> None:
        """Its tasks wait again, before those of later calls, and another takes its seat."""
        seat.hand.kill()
        seat.ready = None
        seat.deaths += 1
        tasks = [task for task in seat.emptied() if not task.call.over]
        for task in tasks:
            task.deaths += 1
            heappush(self._waiting, task)
        if hopeless := _hopeless(seat, tasks, failure):
            self.give_up(hopeless)
            return
        self._say(f"{first_line(failure)}. Another takes its place; {len(tasks)} prompts that it had in hand go out again")
        self._tally.replaced += 1
        self._tally.handed_again += len(tasks)
        seat.seat(self._start(seat.number))
        self._expect(seat)

    def close(self) -> None:
        """End all samplers."""
        self.give_up(EngineError("the samplers are closed"))
        for seat in self.seats:
            seat.hand.kill()


def _hopeless(seat: Seat, tasks: list[Task], failure: BaseException) -> EngineDied | None:
    """Why another sampler would only die too; None where there is hope."""
    reason = f"{type(failure).__name__}: {first_line(failure)}"
    for task in tasks:
        if task.deaths >= SUSPECT:
            asked = task.call.prompts[task.index].problem.id
            return EngineDied(f"problem {asked}: {task.deaths} samplers died while they had it in hand, the last of {reason}")
    if seat.deaths >= IN_A_ROW:
        return EngineDied(f"sampler {seat.number} died {seat.deaths} times in a row without an answer in between, last of {reason}")
    return None


def _mistake(task: Task, answered: Answered, seat: Seat) -> EngineError | None:
    """Something else came back than was asked for."""
    asked, wanted, version = task.call.prompts[task.index].problem.id, task.call.sampling.n, task.call.edition.version
    versions = {completion.policy_version for completion in answered.completions}
    if len(answered.completions) != wanted or versions != {version}:
        return EngineError(
            f"problem {asked}: sampler {seat.number} gave {len(answered.completions)} answers by weights of versions {sorted(versions)}, "
            f"{wanted} by those of version {version} were asked for"
        )
    return None
