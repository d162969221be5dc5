"""Training state that is shared out over ranks, in a folder of torch.distributed.checkpoint: written by some, read by any number of ranks.

Each rank writes what it has, and reads what it needs. In training.pt a tensor of the same shape without content (on torch's `meta` device)
stands wherever the content is here, under its path in the tree: `optimizer/state/0/exp_avg`.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from reasoning_rl.errors import RunError, first_line
from reasoning_rl.learner.checkpoint import SHARDS


def taken_apart(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state without the content of sharded tensors, and these by their path."""
    sharded: dict[str, Tensor] = {}

    def plain(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(inner, f"{path}/{key}") for key, inner in value.items()}
        if not isinstance(value, DTensor):
            return value
        sharded[path[1:]] = value
        return torch.empty(value.shape, dtype=value.dtype, device="meta")

    return {key: plain(value, f"/{key}") for key, value in state.items()}, sharded


def save_shards(folder: Path, sharded: Mapping[str, Tensor]) -> None:
    """By all ranks of the default group together. OSError, on all of them, where one can't write its own."""
    from torch.distributed.checkpoint.state_dict_saver import save  # which takes its time to import

    with _failing_as(OSError):
        save(dict(sharded), checkpoint_id=folder)


def restored(state: Mapping[str, Any], like: Mapping[str, Any], saved: Path) -> dict[str, Any]:
    """The state with content from the checkpoint `saved`, shared out as the tensors at the same place of `like` are.

    A tensor of `like` stands for all below its place that have its shape. RunError where the shards can't be read.
    """
    wanted: dict[str, Tensor] = {}

    def placed(value: Any, model: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            inside = model if isinstance(model, Mapping) else dict.fromkeys(value, model)
            return {key: placed(inner, inside.get(key), f"{path}/{key}") for key, inner in value.items()}
        if not isinstance(value, Tensor):
            return value
        sharded = model if isinstance(model, DTensor) and model.shape == value.shape else None
        if not value.is_meta:
            return value if sharded is None else _shared_out(value, sharded)
        wanted[path[1:]] = torch.empty(value.shape, dtype=value.dtype) if sharded is None else _empty(value, sharded)
        return wanted[path[1:]]

    made = {key: placed(value, like.get(key), f"/{key}") for key, value in state.items()}
    if wanted:
        _fill(wanted, saved / SHARDS)
    return made


def _shared_out(whole: Tensor, like: DTensor) -> DTensor:
    """Every rank has the whole, and cuts out its own."""
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _empty(value: Tensor, like: DTensor) -> Tensor:
    return torch.empty_like(like.detach(), dtype=value.dtype)


def _fill(wanted: dict[str, Tensor], folder: Path) -> None:
    """Each rank by itself."""
    from torch.distributed.checkpoint.state_dict_loader import load

    with _failing_as(RunError, f"{folder} can't be read; remove {folder.parent} to go on from the one before"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        load(wanted, checkpoint_id=folder, no_dist=True)


@contextmanager
def _failing_as(kind: type[Exception], words: str = "") -> Iterator[None]:
    """In the stead of torch's exception, which is no Exception and holds those of all ranks."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as failure:
        reasons = [first_line(reason) for reason, _ in failure.failures.values()]
        raise kind(": ".join(filter(None, [words, *reasons[:1]]))) from failure
