"""Attention over groups: one copy of each prompt, real tokens only, on unmodified Hugging Face models.

Every linear layer sees the tokens of a batch in one flat row without padding. Only attention needs to know which token belongs to which
sequence: it hands the flat queries, keys and values to a `Layout`, which pads them, attends, and gives a flat row back. A prompt that G
completions share is computed once, in sampling and in learning.

Works for every architecture that takes its attention from transformers' AttentionInterface and mixes tokens nowhere else (see trial.py).
Sliding windows longer than the text are fine, shorter ones are refused.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from reasoning_rl.errors import ModelError

GROUPED = "grouped"


class Layout(Protocol):
    """Which flat token belongs where. N tokens, H query heads, K key heads, D head width."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, prompt included."""

    def attend(self, layer: int, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float) -> Tensor:
        """Attention output, (N, H, D)."""


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001  # the layout knows which tokens see which
    *,
    layout: Layout,
    scaling: float,
    **options: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in place of its own: tensors are (1, heads, N, D), the result (1, N, H, D).

    Runs in float32 on CPUs whatever the autocast, since attention's backward in bfloat16 is several times slower there; the result has the
    precision of the values all the same, as the weights behind it may have no other.
    """
    _refuse_unknown(module, options, layout)
    query_NHD, key_NKD, value_NKD = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # every attention module of transformers has one
    if query.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            output_NHD = layout.attend(layer, query_NHD.float(), key_NKD.float(), value_NKD.float(), scaling)
    else:  # rotary positions leave queries and keys in float32 under autocast; caches are kept in the precision of the values
        output_NHD = layout.attend(layer, query_NHD.to(value.dtype), key_NKD.to(value.dtype), value_NKD, scaling)
    return output_NHD.to(value.dtype).unsqueeze(0), None


def _refuse_unknown(module: nn.Module, options: Mapping[str, Any], layout: Layout) -> None:
    """Features that change the scores would be lost silently. Some architectures have a window in the mask alone, and in the settings."""
    window = options.get("sliding_window", getattr(module.config, "sliding_window", None))
    if window and layout.longest > window:
        raise ModelError(
            f"policy.model: its sliding window of {window} tokens is shorter than a text of {layout.longest}, which is not supported"
        )
    for feature in ("softcap", "s_aux"):
        if options.get(feature) is not None:
            raise ModelError(f"policy.model: its attention uses {feature!r}, which is not supported")


AttentionInterface.register(GROUPED, grouped_attention)
