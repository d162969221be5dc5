"""Which samples an update broke on: each goes through the models by itself.

# B rows, T completion tokens at most
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace

from torch import Tensor

from reasoning_rl.learner.batch import MicroBatch, key_of
from reasoning_rl.objectives.objective import Batch
from reasoning_rl.policy.packing import pack


@dataclass(frozen=True)
class Skipped:
    """An update that was not made, since a number in it was not finite."""

    batch: int
    """Which of the step's optimiser batches."""
    found: str
    """Such as `loss nan, grad_norm nan, tokens with a log-probability that is not finite: 3`."""
    rows: tuple[tuple[int, int], ...]
    """The samples it broke on, as `batch.key_of`; all of the batch where none stands out."""


def offenders(pieces: Iterable[MicroBatch], broken: Callable[[MicroBatch], bool]) -> set[tuple[int, int]]:
    """Keys of the samples that are broken by themselves; those of a piece, which have one loss, break together."""
    return {key_of(sample) for piece in pieces if broken(piece) and not piece.idle for sample in piece.samples}


def apart(micro: MicroBatch, together: int = 1) -> Iterator[MicroBatch]:
    """Its rows, `together` at a time, with all that is known of them."""
    for start in range(0, len(micro.samples), together):
        samples = micro.samples[start : start + together]
        packing = pack(samples, micro.batch.mask_BT.device)
        batch = _rows(micro.batch, slice(start, start + together), max(packing.lengths_R))
        yield replace(micro, samples=samples, packing=packing, batch=batch, entropy_BT=None)


def _rows(batch: Batch, rows: slice, longest: int) -> Batch:
    columns: dict[str, Tensor | None] = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: column_BT[rows, :longest] for name, column_BT in columns.items() if column_BT is not None})
