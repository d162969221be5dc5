"""A place in the pool, and the sampler that has it at present."""

from reasoning_rl.cluster.calls import Task
from reasoning_rl.cluster.hand import Hand, Ready
from reasoning_rl.rollout.engine import Sampling


class Seat:
    """Outlives its samplers: a dead one is followed by another."""

    def __init__(self, number: int, hand: Hand) -> None:
        self.number = number
        self.deaths = 0
        """In a row, without an answer in between."""
        self.tasks: dict[int, Task] = {}
        """That the sampler has in hand, by key."""
        self.answers = 0
        """That they ask for."""
        self._kind: tuple[int, Sampling] | None = None
        self.seat(hand)

    def seat(self, hand: Hand) -> None:
        """It has a new sampler, which has not started yet."""
        self.hand = hand
        self.ready: Ready | None = None
        self._edition = 0

    @property
    def idle(self) -> bool:
        """Whether its sampler has nothing to do."""
        return not self.tasks

    def can_take(self, task: Task, rows: int) -> bool:
        """One that works on something else would keep it waiting for the longest of those answers, while another gets free."""
        if not self.tasks:
            return self.ready is not None and task.call.edition.suits(self.hand)
        return self._kind == task.kind and self.answers + task.call.sampling.n <= rows

    def rank(self, task: Task) -> tuple[int, bool, int]:
        """The lowest should have it: few answers in hand, and the weights that it needs."""
        return self.answers, self._edition != task.call.edition.number, self.number

    def take(self, task: Task) -> None:
        """Its sampler is given it."""
        self.tasks[task.key] = task
        self.answers += task.call.sampling.n
        self._kind, self._edition = task.kind, task.call.edition.number

    def done(self, key: int) -> Task | None:
        """The task, which is in hand no more; None where it never was, or an earlier sampler had it."""
        task = self.tasks.pop(key, None)
        if task:
            self.answers -= task.call.sampling.n
        return task

    def emptied(self) -> list[Task]:
        """What its sampler has not answered."""
        tasks, self.tasks, self.answers = list(self.tasks.values()), {}, 0
        return tasks
