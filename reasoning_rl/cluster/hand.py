"""What the pool asks of a sampler, wherever that lives. Futures are those of Ray, or of a test."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from reasoning_rl.cluster.sampler import Answered, Item


@dataclass(frozen=True, slots=True)
class Ready:
    """What a sampler says when its engine has started."""

    context: int
    """Tokens of a prompt and its answer, at most."""
    where: str
    """For messages: the name or address of its machine."""


class Hand(Protocol):
    """One sampler. Nothing here waits for it."""

    def ready(self) -> "Future[Ready]":
        """When it can be given items, which may be never: there is no room for it. Asked once.

        Fails with EngineError when the engine can't be started, with EngineDied or anything else when its process is gone.
        """

    def give(self, items: Sequence[Item], weights: Mapping[int, Any]) -> "Future[None]":
        """Have these answered; done when they have arrived. `weights` by edition: all that the items need, whether it has them or not."""

    def collect(self) -> "Future[list[Answered]]":
        """What it has answered since, which may be nothing; asked anew when that is there.

        Fails as `ready` does, and soon, also where the sampler dies with nothing to do.
        """

    def kill(self) -> None:
        """End it at once, dead or alive."""
