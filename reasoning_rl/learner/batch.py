"""From credited samples to micro-batches: what one forward and backward sees.

# B rows, T completion tokens at most, M completion tokens in all
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from reasoning_rl.objectives.objective import Batch
from reasoning_rl.policy.packing import Packing, pack
from reasoning_rl.records import Sample


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together."""

    packing: Packing
    batch: Batch
    on_policy: bool = False
    """Whether π_old is the policy of the coming forward pass itself, so that `old_logp_BT` is filled in from there."""


def by_group(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Neighbours of the same group, together."""
    return [list(rows) for _, rows in groupby(samples, key=lambda sample: sample.group)]


def share(samples: Sequence[Sample], rank: int, size: int) -> list[Sample]:
    """Whole groups for one of `size` processes, dealt by length so that all have about as much to do."""
    dealt = sorted(by_group(samples), key=lambda rows: sum(len(sample.completion_ids) for sample in rows))
    return [sample for rows in dealt[rank::size] for sample in rows]


def split(samples: Sequence[Sample], tokens: int) -> Iterator[list[Sample]]:
    """Parts whose padded size stays under `tokens`. Groups of similar length go together, and stay whole where they fit.

    A row longer than `tokens` is a part of its own: nothing is dropped.
    """
    part: list[Sample] = []
    for rows in sorted(by_group(samples), key=_longest):
        pieces = [rows] if _cells(rows) <= tokens else [[sample] for sample in rows]
        for piece in pieces:
            if part and _cells(part + piece) > tokens:
                yield part
                part = []
            part = part + piece
    if part:
        yield part


def _longest(rows: Sequence[Sample]) -> int:
    return max(len(sample.completion_ids) for sample in rows)


def _cells(rows: Sequence[Sample]) -> int:
    """Tokens of the rectangles inside attention."""
    prompts = {sample.group: len(sample.prompt_ids) for sample in rows}
    most = max(Counter(sample.group for sample in rows).values())
    return len(prompts) * (max(prompts.values()) + most * _longest(rows))


def micro_batch(samples: Sequence[Sample], device: torch.device) -> MicroBatch:
    """Everything but the log-probabilities, which the learner fills in."""
    packing = pack(samples, device)
    advantages = [torch.tensor(sample.advantages, device=device) for sample in samples]
    weights = [torch.full((len(sample.completion_ids),), sample.weight, device=device) for sample in samples]
    sampled = [torch.tensor(sample.sampled_logprobs, device=device) for sample in samples]
    mask_BT = mask_of(packing.lengths_R, device)
    has_sampled = all(len(logp) == length for logp, length in zip(sampled, packing.lengths_R, strict=True))
    batch = Batch(
        mask_BT=mask_BT,
        advantage_BT=padded(torch.cat(advantages), mask_BT),
        weight_BT=padded(torch.cat(weights), mask_BT),
        old_logp_BT=torch.zeros_like(mask_BT, dtype=torch.float32),
        sampled_logp_BT=padded(torch.cat(sampled), mask_BT) if has_sampled else None,
    )
    return MicroBatch(packing, batch)


def mask_of(lengths: Sequence[int], device: torch.device) -> Tensor:
    """(B, T): True where a row still has tokens."""
    lengths_B1 = torch.tensor(lengths, device=device)[:, None]
    return torch.arange(int(lengths_B1.max()), device=device) < lengths_B1


def padded(values_M: Tensor, mask_BT: Tensor) -> Tensor:
    """Values of all completion tokens, row by row, as (B, T) with zeros behind each row. Differentiable."""
    return values_M.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_M)
