"""What goes wrong in another process, in a form that travels."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reasoning_rl.errors import EngineError, ReasoningRLError, first_line, is_out_of_memory


class UnforeseenError(EngineError):
    """An exception of another process that is none of ours. From a collective, it may be the echo of what happened elsewhere."""


@dataclass(frozen=True)
class Failed:
    """An exception of another process: itself if it is ours, since others may not survive the journey, and its traceback."""

    error: Exception | None
    text: str

    def told(self, place: str) -> Exception:
        """To be raised where the work was asked for."""
        return self.error or UnforeseenError(f"in {place}: {self.text}")


def attempted(work: Callable[[Any], Any], worker: Any) -> Any:
    """What comes of a piece of work, or Failed."""
    try:
        return work(worker)
    except Exception as failure:  # noqa: BLE001  # whatever it is belongs to the process that asked
        return Failed(_fit_to_travel(failure), traceback.format_exc())


def _fit_to_travel(failure: Exception) -> Exception | None:
    """Ours travel as they are; torch's of memory as Python's."""
    if isinstance(failure, ReasoningRLError):
        return failure
    return MemoryError(first_line(failure)) if is_out_of_memory(failure) else None
