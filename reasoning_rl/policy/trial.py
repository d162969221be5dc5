"""Whether a model computes from packed samples what it computes by itself: tried on a few tokens, when it is loaded.

Settings don't tell: some architectures mix tokens outside attention (state spaces, convolutions), add to its scores (ALiBi), or scale their
logits. Nothing would fail: another model than the one that was loaded would be trained.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from reasoning_rl.errors import ModelError, first_line
from reasoning_rl.policy.attention import GROUPED
from reasoning_rl.policy.forward import hidden_states
from reasoning_rl.policy.packing import pack
from reasoning_rl.records import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Of the error relative to the logits. In float32, architectures that pack alike were off by 1e-6, and others by 0.07 to 15."""
_SAMPLES = [
    Sample((3, 1, 4), (1, 5, 9, 2), (), 1.0, group=0),
    Sample((3, 1, 4), (6, 5, 3), (), 1.0, group=0),
    Sample((5, 8, 9, 7, 9), (3, 2), (), 1.0, group=1),
]


def without_dropout(model: nn.Module) -> None:
    """In place: the learner must score the policy that sampled."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def require_alike(model: "PreTrainedModel", name: str) -> None:
    """ModelError unless packed samples get the logits that each gets by itself, under the model's own attention and without dropout."""
    try:
        error = _error(model)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as failure:
        raise ModelError(f"policy.model: {name!r} can't compute packed samples, which is needed: {first_line(failure)}") from failure
    if not math.isfinite(error):
        raise ModelError(f"{name}: its logits are not finite, so that it can't be sampled from; begin with an earlier checkpoint")
    if not error <= _TOLERANCE[model.dtype]:
        raise ModelError(
            f"policy.model: {name!r} gives other logits where samples are packed, off by {error:.2g} of their size: "
            f"its architecture, {model.config.model_type!r}, is not supported"
        )


@torch.no_grad()
def _error(model: "PreTrainedModel") -> float:
    """Of the logits at all predictions, relative to them."""
    packed_MV = _packed(model.train())
    model.eval().set_attn_implementation("eager")
    own_MV = torch.cat([_alone(model, sample) for sample in _SAMPLES]).float()
    model.set_attn_implementation(GROUPED)
    return float((packed_MV - own_MV).norm() / own_MV.norm())


def _packed(model: "PreTrainedModel") -> Tensor:
    packing = pack(_SAMPLES, model.device)
    logits_MV: Tensor = model.get_output_embeddings()(hidden_states(model.base_model, packing))
    return logits_MV[: sum(packing.lengths_R)].float()


def _alone(model: "PreTrainedModel", sample: Sample) -> Tensor:
    """Its logits before each completion token."""
    ids_1T = torch.tensor([sample.prompt_ids + sample.completion_ids], device=model.device)
    logits_TV: Tensor = model(input_ids=ids_1T, use_cache=False).logits[0]
    return logits_TV[len(sample.prompt_ids) - 1 : -1]
