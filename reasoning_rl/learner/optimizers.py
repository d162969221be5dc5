"""The optimiser: AdamW as torch or bitsandbytes has it, on the weights themselves or on float32 copies of them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import ConfigError

_EIGHT_BITS = {"adamw8bit": "AdamW8bit", "paged_adamw8bit": "PagedAdamW8bit"}
_KERNELS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def make_optimizer(rated: Sequence[tuple[Sequence[Tensor], float]], config: LearnerConfig) -> torch.optim.Optimizer:
    """One for all, with a group for each list of parameters, at the rate beside it. ConfigError where its library is missing."""
    groups = [{"params": list(parameters), "lr": rate} for parameters, rate in rated]
    shared: dict[str, Any] = {"betas": config.betas, "weight_decay": config.weight_decay}
    device = rated[0][0][0].device.type
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, **shared, **_kernel(config, device))
    made: torch.optim.Optimizer = getattr(optimizer_library(config, device), _EIGHT_BITS[config.optimizer])(groups, **shared)
    return made


def optimizer_library(config: LearnerConfig, device: str | None = None) -> Any:
    """The module that the optimiser is in. ConfigError where it is missing, or can't serve the device if one is given."""
    if config.optimizer == "adamw":
        return torch.optim
    if config.optimizer == "paged_adamw8bit" and device == "cpu":
        raise ConfigError("learner.optimizer: 'paged_adamw8bit' moves memory between a GPU and its host; a CPU takes 'adamw8bit'")
    try:
        return import_module("bitsandbytes.optim")
    except ImportError as failure:
        raise ConfigError(
            f"learner.optimizer: {config.optimizer!r} needs bitsandbytes; pip install 'reasoning-rl[bitsandbytes]', or take 'adamw'"
        ) from failure


def _kernel(config: LearnerConfig, device: str) -> dict[str, Any]:
    """`foreach` is torch's own choice on a GPU, and takes as much again as the weights for its intermediate results."""
    automatic = "fused" if device == "cuda" else "loop"
    return _KERNELS[automatic if config.adamw_kernel == "auto" else config.adamw_kernel]


def clip(parameters: Sequence[Tensor], most: float) -> float:
    """Scale gradients to a norm of `most` at most; what it was. That of sharded parameters is of all ranks, each of which has to ask."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, most)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


class Masters:
    """float32 copies of narrower weights: gradients are added up in them, the optimiser steps them, and the weights follow, rounded.

    A weight's own gradient is handed over and freed as soon as the backward has it.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def of(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """What to step in their stead; itself, where a parameter is wide enough."""
        return [parameter if parameter.dtype is torch.float32 else self._copy(parameter) for parameter in parameters]

    def _copy(self, narrow: Tensor) -> Tensor:
        wide = narrow.detach().to(torch.float32, copy=True).requires_grad_()
        narrow.register_post_accumulate_grad_hook(partial(_hand_over, wide))
        self._pairs.append((narrow, wide))
        return wide

    @torch.no_grad()
    def publish(self) -> None:
        """Round the copies to the weights."""
        for narrow, wide in self._pairs:
            narrow.copy_(wide)

    def state(self) -> dict[str, Any]:
        """For a checkpoint; nothing where nothing is copied."""
        return {"masters": [wide.detach() for _, wide in self._pairs]} if self._pairs else {}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        for (_, wide), saved in zip(self._pairs, state.get("masters", []), strict=True):
            wide.copy_(saved)


def _hand_over(wide: Tensor, narrow: Tensor) -> None:
    assert narrow.grad is not None
    wide.grad = narrow.grad.float() if wide.grad is None else wide.grad.add_(narrow.grad)
    narrow.grad = None
