"""What a recipe may decide otherwise about equality; the defaults are the rules of docs/verifiers.md."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Percent = Literal["optional", "value"]
Units = Literal["optional", "required", "ignored"]
Tolerance = Annotated[float, Field(ge=0, lt=1)]
Order = Literal["tuples", "all", "none"]


@dataclass(frozen=True, slots=True)
class Rules:
    """Options of the verifiers `math` and `gsm8k`."""

    percent: Percent = "optional"
    """`optional`: 50% is 0.5 and, its sign left out, 50. `value`: 50% is 0.5 and nothing else."""
    units: Units = "optional"
    """`optional`: one may be left out but not be another. `required`: both sides have the same or none. `ignored`: nobody looks."""
    tolerance: float = 0.0
    """Numbers are equal if they differ by no more than this share of the larger; 0 wants exact equality."""
    order: Order = "tuples"
    """In which collections order counts: in `tuples`, in `all` (sets and lists too), in `none`."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: found {self.tolerance}; it should be a share of at least 0 and below 1")


DEFAULT = Rules()
