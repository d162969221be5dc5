"""Models whose weights, gradients and moments are shared out over the ranks: FSDP2, torch's `fully_shard`.

Each layer is gathered when its turn comes, forward and backward, and let go behind it; what stands outside the layers (embeddings, the last
norm) is gathered for the whole pass. Gradients are added up over ranks, not averaged: weights of samples know the whole batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers.modeling_layers import GradientCheckpointingLayer

from reasoning_rl.learner.parallel import Ranks
from reasoning_rl.policy.policy import Policy
from reasoning_rl.policy.values import ValueModel

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel


class _Root(nn.Module):
    """The model as one module whose forward is any computation with it: ours never calls the model's own."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        self.model = model

    def forward(self, work: "Callable[[PreTrainedModel], Any]") -> Any:
        return work(self.model)


def shard(policy: Policy, ranks: Ranks, gather: torch.dtype | None) -> None:
    """In place, before its learner is made. Its weights may lie in the host's memory, which they leave a layer at a time.

    `gather`: the type that weights have while they are gathered, None for their own; shards and the sum of gradients are float32.
    """
    policy.root = _Root(policy.model)
    _share_out(policy.root, ranks, gather)


def shard_values(value: ValueModel, ranks: Ranks, gather: torch.dtype | None) -> None:
    """As `shard`; of a value model whose trunk is whole. Its head stays in float32."""
    _share_out(value.head, ranks, None)
    _share_out(value, ranks, gather)


def _share_out(module: nn.Module, ranks: Ranks, gather: torch.dtype | None) -> None:
    if ranks.mesh is None:
        raise ValueError("to share a model out, the ranks must have met by parallel.meet")
    precision = MixedPrecisionPolicy(param_dtype=gather, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in module.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            _add_up(layer, ranks.mesh, precision)
    _add_up(module, ranks.mesh, precision)


def _add_up(module: nn.Module, mesh: "DeviceMesh", precision: MixedPrecisionPolicy) -> None:
    sharded = fully_shard(module, mesh=mesh, mp_policy=precision)
    assert isinstance(sharded, FSDPModule)
    sharded.set_gradient_divide_factor(1.0)
    sharded.set_force_sum_reduction_for_comms(True)  # NCCL would scale, and gloo knows no scaling
