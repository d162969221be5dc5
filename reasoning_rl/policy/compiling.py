"""torch.compile for the layers of a model: norms, projections and activations are fused; attention asks the layout and stays as it is."""

from typing import TYPE_CHECKING

import torch
from transformers import AttentionInterface
from transformers.modeling_layers import GradientCheckpointingLayer

from reasoning_rl.errors import ModelError
from reasoning_rl.policy.attention import GROUPED, grouped_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def compile_layers(model: "PreTrainedModel", backend: str = "inductor") -> None:
    """In place, and when they are first called: a graph on either side of attention, for any number of tokens.

    ModelError where there is no C++ compiler to build what `inductor` writes, which else would fail at the first step.
    """
    if backend == "inductor":
        _require_compiler()
    AttentionInterface.register(GROUPED, torch.compiler.disable(grouped_attention))
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile(dynamic=True, backend=backend)


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler  # seconds, that only those who compile should wait for
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as failure:
        raise ModelError(
            "policy.compile: torch.compile needs a C++ compiler; install g++, name one in CXX, or set it to false"
        ) from failure
