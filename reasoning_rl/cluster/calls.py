"""What the pool was asked for: a call for many prompts, and a task for each of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from reasoning_rl.cluster.hand import Hand
from reasoning_rl.cluster.sampler import Item
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import OnFinished, Sampling


@dataclass(frozen=True, eq=False)
class Edition:
    """Weights as they were published."""

    number: int
    """Counts publications: two may be of one version, and differ."""
    version: int
    weights: Any
    holders: Collection[Hand] | None = None
    """The samplers that have these weights, where no other can get them any more."""

    def suits(self, hand: Hand) -> bool:
        """Whether this sampler can answer by these weights."""
        return self.holders is None or hand in self.holders


class Call:
    """One call of `generate`: whoever called waits for news of its prompts."""

    def __init__(self, prompts: Sequence[Prompt], sampling: Sampling, edition: Edition) -> None:
        self.prompts, self.sampling, self.edition = prompts, sampling, edition
        self.over = False
        """Nobody waits for the answers any more."""
        self._news: SimpleQueue[tuple[int, tuple[Completion, ...]] | Exception] = SimpleQueue()

    def tell(self, index: int, completions: tuple[Completion, ...]) -> None:
        """A prompt's completions are there."""
        self._news.put((index, completions))

    def fail(self, error: Exception) -> None:
        """There will be no further answers."""
        self._news.put(error)

    def results(self, on_finished: OnFinished | None) -> list[list[Completion]]:
        """In the order of the prompts. Waits for the last, and raises what it failed of."""
        results: dict[int, tuple[Completion, ...]] = {}
        while len(results) < len(self.prompts):
            news = self._news.get()
            if isinstance(news, Exception):
                raise news
            index, results[news[0]] = news
            for row, completion in enumerate(results[index]):
                if on_finished:
                    on_finished(index, row, completion)
        return [list(results[index]) for index in range(len(self.prompts))]


@dataclass(eq=False)
class Task:
    """A prompt of a call, until it is answered."""

    key: int
    """Those of earlier calls have lower ones."""
    call: Call
    index: int
    """Of the prompt in its call."""
    deaths: int = 0
    """Of samplers that had it in hand."""

    @property
    def kind(self) -> tuple[int, Sampling]:
        """See Item."""
        return self.call.edition.number, self.call.sampling

    @property
    def item(self) -> Item:
        """As a sampler gets it."""
        return Item(self.key, self.call.prompts[self.index], self.call.sampling, self.call.edition.version, self.call.edition.number)

    def __lt__(self, other: "Task") -> bool:
        return self.key < other.key
