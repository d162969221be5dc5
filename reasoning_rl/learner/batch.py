"""From credited samples to micro-batches: what one forward and backward sees.

# B rows, T completion tokens at most, M completion tokens in all
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from reasoning_rl.objectives.objective import Batch, Before, Credit
from reasoning_rl.policy.packing import Packing, pack
from reasoning_rl.records import Sample

_FEWEST_TOKENS = 64
"""Of a budget that is worth halving to: the model itself takes more memory than these."""


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together."""

    samples: Sequence[Sample]
    packing: Packing
    batch: Batch
    on_policy: bool = False
    """Whether π_old is the policy of the coming forward pass itself, so that `old_logp_BT` is filled in from there."""
    entropy_BT: Tensor | None = None
    """Before the update, where it was computed."""
    idle: bool = False
    """Whether it is there only to go through the models, and teaches nothing: see lockstep.py."""


def by_group(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Neighbours of the same group, together."""
    return [list(rows) for _, rows in groupby(samples, key=lambda sample: sample.group)]


def share(samples: Sequence[Sample], rank: int, size: int) -> list[Sample]:
    """Whole groups for one of `size` processes, dealt by length so that all have about as much to do."""
    dealt = sorted(by_group(samples), key=lambda rows: sum(len(sample.completion_ids) for sample in rows))
    return [sample for rows in dealt[rank::size] for sample in rows]


def split(samples: Sequence[Sample], tokens: int, together: int = 1) -> Iterator[list[Sample]]:
    """Parts whose padded size stays under `tokens`. Groups of similar length go together, and stay whole where they fit.

    Of a group that doesn't fit, `together` rows stay neighbours; where not even those fit they are a part of their own: nothing is dropped.
    """
    part: list[Sample] = []
    for rows in sorted(by_group(samples), key=_longest):
        pieces = [rows] if _cells(rows) <= tokens else [rows[start : start + together] for start in range(0, len(rows), together)]
        for piece in pieces:
            if part and _cells(part + piece) > tokens:
                yield part
                part = []
            part = part + piece
    if part:
        yield part


def halved(tokens: int, samples: Iterable[Sample]) -> int | None:
    """The next smaller budget of `split`; None where it is as small as makes sense: below the longest sample nothing more can be split."""
    longest = max((len(sample.prompt_ids) + len(sample.completion_ids) for sample in samples), default=0)
    smaller = max(tokens // 2, longest, _FEWEST_TOKENS)
    return smaller if smaller < tokens else None


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
    return MicroBatch(samples, packing, batch)


def key_of(sample: Sample) -> tuple[int, int]:
    """Of a sample within its optimiser batch."""
    return sample.group, sample.row


def told(micro: MicroBatch) -> dict[tuple[int, int], Before]:
    """What the models said of each of its samples before the update."""
    if micro.idle:
        return {}
    batch, lengths = micro.batch, micro.packing.lengths_R
    assert micro.entropy_BT is not None

    def rows(values_BT: Tensor | None) -> list[Tensor | None]:
        if values_BT is None:
            return [None] * len(lengths)
        return [row[:length].double() for row, length in zip(values_BT.cpu(), lengths, strict=True)]

    columns = zip(*map(rows, (batch.old_logp_BT, micro.entropy_BT, batch.reference_logp_BT, batch.old_value_BT)), strict=True)
    return {key_of(sample): Before(*column) for sample, column in zip(micro.samples, columns, strict=True)}


def credited(micro: MicroBatch, credit_of: Mapping[tuple[int, int], Credit]) -> MicroBatch:
    """The micro-batch with the advantages that its samples were given, and the returns if they were."""
    if micro.idle:
        return micro
    given = [credit_of[key_of(sample)] for sample in micro.samples]
    columns = {
        "advantage_BT": [credit.advantage_T for credit in given],
        "return_BT": [credit.return_T for credit in given if credit.return_T is not None],
    }
    mask_BT = micro.batch.mask_BT
    filled = {name: padded(torch.cat(rows).to(mask_BT.device, torch.float32), mask_BT) for name, rows in columns.items() if rows}
    return replace(micro, batch=replace(micro.batch, **filled))


def mask_of(lengths: Sequence[int], device: torch.device) -> Tensor:
    """(B, T): True where a row still has tokens."""
    lengths_B1 = torch.tensor(lengths, device=device)[:, None]
    return torch.arange(int(lengths_B1.max()), device=device) < lengths_B1


def padded(values_M: Tensor, mask_BT: Tensor) -> Tensor:
    """Values of all completion tokens, row by row, as (B, T) with zeros behind each row. Differentiable."""
    return values_M.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values_M)
