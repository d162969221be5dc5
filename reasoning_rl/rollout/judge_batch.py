"""Items to be judged and the verdicts so far. Items may come in, from another thread, while the first are being judged."""

import contextlib
import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from multiprocessing import Pipe
from types import TracebackType
from typing import Self

from reasoning_rl.records import Verdict
from reasoning_rl.rollout.judge_messages import Item

CHUNK = 256
"""Completions sent to a worker at a time, at most: enough to hide the sending. They shrink towards the end of a batch, to be fair."""
CHUNK_SIZE = 1_000_000
"""Characters and tokens of a chunk, at most, one item excepted: it must not fill the memory of the worker that reads it."""
GATHER_S = 0.005
"""Others that come in as soon after an item are taken up with it: a judge that wakes for each takes time from the sampling."""


class Batch:
    """`add` and `complete` are for whoever has the items, all else for whoever has them judged. A context manager."""

    def __init__(self, workers: int) -> None:
        self.items: list[Item] = []
        self.verdicts: dict[int, Verdict] = {}
        self.bell, self._rope = Pipe(duplex=False)
        """Can be read when something came in."""
        os.set_blocking(self.bell.fileno(), False)
        os.set_blocking(self._rope.fileno(), False)
        self._workers = workers
        self._untaken: deque[int] = deque()
        self._changing = threading.Lock()
        self._complete = threading.Event()
        self._given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bell.close()
        self._rope.close()

    def add(self, items: Iterable[Item]) -> None:
        with self._changing:
            before = len(self.items)
            self.items.extend(items)
            self._untaken.extend(range(before, len(self.items)))
        self._ring()

    def complete(self) -> None:
        """No further items come."""
        self._complete.set()
        self._ring()

    def give_up(self) -> None:
        """Nobody waits for the verdicts any more."""
        self._given_up = True
        self.complete()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been ringing for long
            os.write(self._rope.fileno(), b".")

    def listen(self) -> None:
        """Stop the bell, and wait a moment for more unless there is none to come."""
        with contextlib.suppress(BlockingIOError):  # it doesn't ring
            os.read(self.bell.fileno(), 1 << 16)
            self._complete.wait(GATHER_S)

    @property
    def answered(self) -> bool:
        """Whether all items are here and have a verdict."""
        return self._complete.is_set() and len(self.verdicts) == len(self.items)

    @property
    def unfinished(self) -> bool:
        return not (self.answered or self._given_up)

    @property
    def left(self) -> int:
        """Items that no worker has."""
        return len(self._untaken)

    def take(self) -> list[int]:
        """The next chunk: half of a fair share of what is left, within the bounds of a chunk."""
        with self._changing:
            fair = min(CHUNK, math.ceil(self.left / self._workers / 2))
            sizes = accumulate(_size(self.items[index]) for index in self._untaken)
            fitting = sum(1 for size in islice(sizes, fair) if size <= CHUNK_SIZE)
            return [self._untaken.popleft() for _ in range(max(1, fitting))]

    def give_back(self, indices: Sequence[int]) -> None:
        with self._changing:
            self._untaken.extendleft(reversed(indices))

    def results(self) -> list[Verdict]:
        return [self.verdicts[index] for index in range(len(self.items))]


def _size(item: Item) -> int:
    completion, problem = item
    return sum(map(len, (completion.text, completion.token_ids, completion.logprobs, problem.question, problem.gold)))
