"""Weights through Ray's object store: written once by the learner, and read by every sampler where they lie in its machine's memory."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasoning_rl.errors import EngineError
from reasoning_rl.rollout.tensor_sums import fingerprint_of, tensor_sum

_CHUNK_BYTES = 2**28
"""Of an object in the store, unless a single tensor is larger: small ones cost a message each, and a large one is room needed at once."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor as the store keeps it without copies: numpy has no bfloat16, so its bits lie there as integers."""

    name: str
    dtype: str
    bits: np.ndarray


@dataclass(frozen=True, slots=True)
class Weights:
    """All tensors of a policy, after `version` steps."""

    version: int
    chunks: tuple[Any, ...]
    """Ray's references, each to a list of Packed."""
    fingerprint: str


def put(named_tensors: Iterable[tuple[str, Tensor]], version: int) -> Weights:
    """Write these into the store, a chunk at a time; they stay there for as long as somebody has the result."""
    import ray

    sums: dict[str, tuple[int, str, tuple[int, ...]]] = {}
    chunks = tuple(ray.put(chunk) for chunk in pack(_summed(named_tensors, sums)))
    return Weights(version, chunks, fingerprint_of(sums))


def take(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Read them. The tensors lie in the store itself: they can't be written to.

    EngineError, before the first of them, when they are not what was written.
    """
    import ray

    sums: dict[str, tuple[int, str, tuple[int, ...]]] = {}
    tensors = list(_summed(unpack(ray.get(list(weights.chunks))), sums))
    found = fingerprint_of(sums)
    if found != weights.fingerprint:
        raise EngineError(f"weights of version {weights.version}: fingerprint {weights.fingerprint} was written, and {found} was read")
    yield from tensors


def pack(named_tensors: Iterable[tuple[str, Tensor]], chunk_bytes: int = _CHUNK_BYTES) -> Iterator[list[Packed]]:
    """Tensors in their order, as many together as there is room for in a chunk."""
    chunk: list[Packed] = []
    for name, tensor in named_tensors:
        packed = _packed(name, tensor)
        if chunk and sum(other.bits.nbytes for other in chunk) + packed.bits.nbytes > chunk_bytes:
            yield chunk
            chunk = []
        chunk.append(packed)
    if chunk:
        yield chunk


def unpack(chunks: Sequence[Sequence[Packed]]) -> Iterator[tuple[str, Tensor]]:
    """What `pack` was given. The tensors share the memory of the chunks."""
    for chunk in chunks:
        for packed in chunk:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch has no tensors that are only for reading; nobody writes to these
                bits = torch.from_numpy(packed.bits)
            yield packed.name, bits.view(getattr(torch, packed.dtype))


def _packed(name: str, tensor: Tensor) -> Packed:
    whole = tensor.detach().cpu().contiguous()
    bits = whole.view(torch.int16) if whole.dtype == torch.bfloat16 else whole
    return Packed(name, str(whole.dtype).removeprefix("torch."), bits.numpy())


def _summed(named_tensors: Iterable[tuple[str, Tensor]], sums: dict[str, tuple[int, str, tuple[int, ...]]]) -> Iterator[tuple[str, Tensor]]:
    """The same; `sums` gets what their fingerprint is made of."""
    for name, tensor in named_tensors:
        sums[name] = (tensor_sum(tensor), str(tensor.dtype), tuple(tensor.shape))
        yield name, tensor
