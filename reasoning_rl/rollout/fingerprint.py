"""Whether a model of vLLM's computes with the tensors it was sent.

It holds them in another form: q, k and v in one matrix, gate and up in another, the vocabulary padded; and on a CPU every matrix is packed
for the kernels, with no copy left to read, or with one that nothing computes with: behind it the head of tied embeddings goes stale. What
can be read is therefore compared entry by entry, and what is packed is asked: a one-hot row picks a column of the matrix, exactly, since
all other products are 0.

Log-probabilities of a probe prompt would not do. They differ between two implementations by rounding, and a step at a small learning rate
moves them by less.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_COLUMNS = 8
"""That a packed matrix is asked for, others in each version. A matrix is replaced as a whole, so any of them tells; so does every row."""


def differences(model: nn.Module, sent: Mapping[str, Tensor], version: int) -> Iterator[str]:
    """In words, what the model has not taken as it was sent, and what it holds that was not sent. Tensors have the model's type."""
    places = _places(sent, getattr(model, "packed_modules_mapping", {}))
    for name, _ in model.named_parameters(remove_duplicate=False):
        if name not in places:
            yield f"{name} is in vLLM's model, but was not sent"
    for place, names in places.items():
        module = _module(model, place)
        missing = [name for name in names if name not in sent]
        if module is None:
            yield f"{names[0]} was sent, but vLLM's model has no such tensor"
        elif missing:
            yield f"{missing[0]} is in vLLM's model, but was not sent"
        else:
            yield from _stale(module, place.rpartition(".")[2], {name: sent[name] for name in names}, version)


def _places(sent: Mapping[str, Tensor], packed: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """For each parameter of vLLM's model, the tensors it is made of, from its first row to its last."""
    whole_of = {part: whole for whole, parts in packed.items() for part in parts}
    places: dict[str, list[str]] = {}
    for name in sent:
        *above, layer, parameter = name.split(".")
        whole = whole_of.get(layer, layer)
        parts = packed[whole] if layer in whole_of else [layer]
        places[".".join((*above, whole, parameter))] = [".".join((*above, part, parameter)) for part in parts]
    return places


def _module(model: nn.Module, place: str) -> Any:
    """The module that holds a parameter, None if there is no such module or parameter."""
    path, _, parameter = place.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    return module if getattr(module, parameter, None) is not None else None


def _stale(module: Any, parameter: str, parts: Mapping[str, Tensor], version: int) -> Iterator[str]:
    held: Tensor = getattr(module, parameter)
    packed = parameter == "weight" and hasattr(module, "cpu_linear")
    if held.numel() or not packed:
        yield from _unequal(held, parts)
    if packed:
        width = next(iter(parts.values())).shape[1]
        columns = (torch.arange(_COLUMNS) + version * _COLUMNS) % width
        yield from _unequal(_asked(module, columns, width, held), {name: tensor[:, columns] for name, tensor in parts.items()})


def _asked(module: Any, columns: Tensor, width: int, like: Tensor) -> Tensor:
    """These columns of a packed matrix, by the computation that the model itself does."""
    picks = nn.functional.one_hot(columns, width).to(like)
    answer: Tensor = module.quant_method.apply(module, picks)
    return answer.T


def _unequal(held: Tensor, parts: Mapping[str, Tensor]) -> Iterator[str]:
    """The parts that the rows of what is held don't equal; rows behind them pad the vocabulary."""
    start = 0
    for name, tensor in parts.items():
        found = held[start : start + len(tensor)]
        start += len(tensor)
        if not torch.equal(found, tensor.to(held)):
            yield f"vLLM computes with another {name} than it was sent"
