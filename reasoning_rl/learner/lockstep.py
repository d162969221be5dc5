"""Ranks of a sharded learner keep step: a layer is gathered from all of them, so each has to call it as often as any other.

Who has less to do idles: a token goes through the models, for a gradient of 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from reasoning_rl.learner.batch import MicroBatch, micro_batch
from reasoning_rl.learner.parallel import Ranks
from reasoning_rl.records import Sample


def in_step(micros: Sequence[MicroBatch], samples: Sequence[Sample], device: torch.device, ranks: Ranks) -> list[MicroBatch]:
    """As many as any rank has of the optimiser batch `samples`."""
    if not samples:
        return []
    most = max(ranks.merge({ranks.rank: len(micros)}).values())
    return [*micros, *[idling(samples[0], device)] * (most - len(micros))]


def in_turn(pieces: Sequence[MicroBatch], idle: MicroBatch, ranks: Ranks) -> Iterator[MicroBatch]:
    """The pieces of one rank after another while the others idle, as a gradient is always that of all ranks."""
    counts = ranks.merge({ranks.rank: len(pieces)})
    for rank in range(ranks.size):
        yield from pieces if rank == ranks.rank else [idle] * counts[rank]


def idling(sample: Sample, device: torch.device) -> MicroBatch:
    """One token of a sample, which counts nothing."""
    first = replace(
        sample, prompt_ids=sample.prompt_ids[:1], completion_ids=sample.completion_ids[:1], advantages=(0.0,), weight=0.0,
        sampled_logprobs=sample.sampled_logprobs[:1],
    )  # fmt: skip
    return replace(micro_batch([first], device), idle=True)
