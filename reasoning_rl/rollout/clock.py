"""How long things take, by name."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Announce = Callable[[str], None]
"""Hears what is being done now: sample, judge, learn."""


@dataclass
class Clock:
    """Times phases and announces them."""

    announce: Announce
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each phase."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def elapsed(self) -> float:
        """Seconds since it was made, in a phase or not."""
        return time.perf_counter() - self.began

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside, and say what it is. A phase may come again: its times add up."""
        self.announce(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
