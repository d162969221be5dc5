"""What the data stage asks of a source, and the table of sources by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from reasoning_rl.config import DataConfig
from reasoning_rl.records import Problem
from reasoning_rl.registry import Registry

Role = Literal["train", "eval"]
Stage = Literal["row", "limit", "duplicate", "near_duplicate", "contamination", "gold", "length"]


class RowError(ValueError):
    """A row that can't become a problem; the message says why. It is listed with its place, or ends the run when `data.strict` is set."""


@dataclass(frozen=True, slots=True)
class Row:
    """A problem and the place it was read from, as `file:line`."""

    problem: Problem
    where: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was set aside, by which stage and why."""

    split: Role
    problem_id: str
    where: str
    stage: Stage
    reason: str
    related: str = ""
    """Id of the problem it repeats, where there is one."""


@dataclass(frozen=True, slots=True)
class Worked:
    """A problem with a worked answer to imitate; the answer may be wrong when the source makes it so on purpose."""

    problem: Problem
    working: str
    """Empty where the answer comes at once."""
    answer: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that a source gives: every row it read is a problem or a rejection."""

    train: Sequence[Row]
    eval: Sequence[Row]
    broken: Sequence[Rejection] = ()
    worked: Sequence[Worked] | None = None
    """Demonstrations of the source's own; None lets the training problems' solutions serve."""


class Source(Protocol):
    """Where problems come from."""

    def inputs(self, config: DataConfig) -> Mapping[str, str]:
        """What would be read (file, or data set on the hub), each with its SHA-256 or revision. DataError when a file is missing."""

    def read(self, config: DataConfig, seed: int) -> Loaded:
        """Both splits. DataError when a file, a column or a split is missing or empty, or at the first broken row when `config.strict`."""


SOURCES: Registry[Source] = Registry("source", entry_point_group="reasoning_rl.sources")
SOURCES.add_lazily("arithmetic", "reasoning_rl.data.arithmetic:SOURCE")
SOURCES.add_lazily("gsm8k", "reasoning_rl.data.gsm8k:SOURCE")
SOURCES.add_lazily("hendrycks_math", "reasoning_rl.data.hendrycks:SOURCE")
SOURCES.add_lazily("files", "reasoning_rl.data.files:SOURCE")
