"""Low-rank adapters in the policy's own model, by peft: LoRA, arXiv:2106.09685.

They are put into the model in place, so that packing, attention and sampling need not know of them. Only they are trained. With them off
the model is what it was when they came: the reference needs no copy. What leaves the process has them merged into the weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reasoning_rl.config import LoRAConfig
from reasoning_rl.errors import ConfigError, RunError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTERS = "adapter"
"""Folder beside the merged weights of a checkpoint, as peft loads it."""
_NAME = "default"
_WRAPPED = "base_model.model."
"""What peft writes before every name, after its own wrapper of whole models."""
_FILE = "adapter_model.safetensors"


def adapter_library() -> Any:
    """peft. ConfigError where it is missing."""
    try:
        return import_module("peft")
    except ImportError as failure:
        raise ConfigError("policy.lora needs peft; pip install 'reasoning-rl[peft]', or leave policy.lora out") from failure


def add_adapters(model: "PreTrainedModel", config: LoRAConfig) -> None:
    """Put adapters into the model that change nothing yet, the same in every process, and freeze its weights.

    They are float32 whatever the weights are, as updates would be too small for bfloat16. ConfigError where peft is missing, or a target is
    not among the model's linear layers or is tied to the input embedding.
    """
    peft = adapter_library()
    asked = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=config.targets or _linear(model),
        base_model_name_or_path=model.name_or_path,
        task_type="CAUSAL_LM",
    )
    require_linear(model, config.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        peft.inject_adapter_in_model(asked, model, _NAME)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _linear(model: "PreTrainedModel") -> list[str]:
    """Ends of the names of all linear layers but the output embedding. Fused experts are none, though peft's `all-linear` takes them."""
    head = model.get_output_embeddings()
    return sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head})


def require_linear(model: "PreTrainedModel", targets: list[str]) -> None:
    """ConfigError names a target that is no linear layer, or shares its weights with the input embedding.

    peft would take embeddings too, whose two uses merging can't tell apart.
    """
    modules = dict(model.named_modules())
    found = {target: [module for name, module in modules.items() if f".{name}".endswith(f".{target}")] for target in targets}
    shared = [module.weight for module in modules.values() if isinstance(module, nn.Embedding)]
    for target, layers in found.items():
        if not layers or not all(isinstance(layer, nn.Linear) for layer in layers):
            raise ConfigError(f"policy.lora.targets: {target!r} is no linear layer of the model; known: {', '.join(_linear(model))}")
        if any(layer.weight is weight for layer in layers for weight in shared):
            raise ConfigError(f"policy.lora.targets: {target!r} shares its weights with the input embedding in this model; leave it out")


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """The model as it was before the adapters came, for a while."""
    layers = list(_layers(model).values())
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers under the names of the model without adapters, W + (α/r)·B·A where one is, one at a time."""
    layers = _layers(model)
    for name, tensor in model.state_dict().items():
        plain = name.replace(".base_layer.", ".")
        layer = layers.get(plain.removesuffix(".weight"))
        if ".lora_" in name:
            continue
        yield plain, tensor if layer is None else (tensor.float() + layer.get_delta_weight(_NAME).detach()).to(tensor.dtype)


def _layers(model: nn.Module) -> dict[str, Any]:
    layer = adapter_library().tuners.lora.LoraLayer
    return {name: module for name, module in model.named_modules() if isinstance(module, layer)}


def save_adapters(model: "PreTrainedModel", folder: Path) -> None:
    """As peft loads them, in the precision they are trained in."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({_WRAPPED + name: tensor.contiguous() for name, tensor in _adapters(model).items()}, folder / _FILE)
    model.peft_config[_NAME].save_pretrained(folder)  # put there by peft


def load_adapters(model: "PreTrainedModel", folder: Path) -> None:
    """Those of a checkpoint. RunError where they are missing, damaged, or not those of this model."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = {name.removeprefix(_WRAPPED): tensor for name, tensor in load_file(folder / _FILE).items()}
    except (OSError, SafetensorError) as failure:
        raise RunError(
            f"{folder / _FILE} can't be read: {first_line(failure)}; remove {folder.parent} to go on from the one before"
        ) from failure
    own = _adapters(model)
    if {name: tensor.shape for name, tensor in state.items()} != {name: tensor.shape for name, tensor in own.items()}:
        raise RunError(f"{folder / _FILE} holds adapters of other layers or ranks than policy.lora asks for")
    adapter_library().set_peft_model_state_dict(model, state, adapter_name=_NAME)


def _adapters(model: "PreTrainedModel") -> dict[str, Tensor]:
    state: dict[str, Tensor] = adapter_library().get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    return state
