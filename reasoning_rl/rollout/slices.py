"""Which part of a tensor one of several processes of vLLM holds: columns of one layer, rows of another, the whole of a norm."""

from typing import Any

from torch import Tensor


def slice_of(module: Any, place: int, tensor: Tensor) -> Tensor:
    """What the process of `module` holds of a tensor, the `place`-th of those that lie in one matrix: of q, k and v, v has place 2."""
    rows = getattr(module, "shard_indices", None)
    if rows is not None:
        return tensor[rows.org_vocab_start_index : rows.org_vocab_end_index]
    dim, piece, pieces = _cut(module, place, tensor.ndim)
    return tensor.chunk(pieces, dim)[piece]


def pieces_of(module: Any, place: int, dims: int) -> int:
    """Into how many pieces such a tensor is cut. Each is held by equally many processes."""
    return int(module.tp_size) if hasattr(module, "shard_indices") else _cut(module, place, dims)[2]


def _cut(module: Any, place: int, dims: int) -> tuple[int, int, int]:
    """Dimension, number of the piece and number of pieces, by what vLLM's layers say of themselves.

    The keys and values of a head are held twice or more where there are fewer of them than processes.
    """
    rank, size = getattr(module, "tp_rank", 0), getattr(module, "tp_size", 1)
    if hasattr(module, "input_is_parallel") and dims == 2:  # its bias is whole, and added once
        return 1, rank, size
    if hasattr(module, "gather_output"):
        alike = getattr(module, "num_kv_head_replicas", 1) if place else 1
        return 0, rank // alike, size // alike
    return 0, 0, 1
