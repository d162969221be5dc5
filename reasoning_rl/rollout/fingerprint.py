"""Whether a model of vLLM's computes with the tensors it was sent.

It holds them in another form: q, k and v in one matrix, gate and up in another, the vocabulary padded; and on a CPU every matrix is packed
for the kernels, with no copy left to read, or with one that nothing computes with: behind it the head of tied embeddings goes stale. What
can be read is therefore compared entry by entry, and what is packed is asked: a one-hot row picks a column of the matrix, exactly, since
all other products are 0. Where several processes share a model, each is compared with its shard of what was sent.

Weights that come from one GPU to another, by vLLM's own transfer, are nowhere as a whole to compare with. There each process sums up what
it holds, and the sums are compared with those of the learner: see tensor_sums.py.

Log-probabilities of a probe prompt would not do. They differ between two implementations by rounding, and a step at a small learning rate
moves them by less.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_rl.rollout.slices import pieces_of, slice_of
from reasoning_rl.rollout.tensor_sums import tensor_sum

Held = Mapping[str, tuple[int, int]]
"""What a process holds of each tensor, as a sum, and the number of pieces that the tensor was cut into."""
_COLUMNS = 8
"""That a packed matrix is asked for, others in each version. A matrix is replaced as a whole, so any of them tells; so does every row."""


def first_difference(model: nn.Module, sent: Mapping[str, Tensor], version: int) -> str | None:
    """The first of them, where there are any."""
    return next(differences(model, sent, version), None)


def held(model: nn.Module, shapes: Mapping[str, torch.Size]) -> Held:
    """Of the tensors of these names and shapes. Those that the model has no place for are left out."""
    blank = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    found: dict[str, tuple[int, int]] = {}
    for place, names in _places(shapes, getattr(model, "packed_modules_mapping", {})).items():
        module = _module(model, place)
        if module is not None and blank.keys() >= set(names):
            found.update(_held_in(module, place.rpartition(".")[2], {name: blank[name] for name in names}))
    return found


def _held_in(module: Any, parameter: str, parts: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The same for the tensors that lie in one matrix; of `parts` the shapes count."""
    slices = [slice_of(module, place, tensor) for place, tensor in enumerate(parts.values())]
    whole: Tensor = getattr(module, parameter)
    if _is_packed(module, parameter):
        width = slices[0].shape[1]
        whole = _asked(module, torch.arange(width), width, whole)
    pieces = whole[: sum(map(len, slices))].split([len(part) for part in slices])
    for place, (name, tensor) in enumerate(parts.items()):
        yield name, (tensor_sum(pieces[place]), pieces_of(module, place, tensor.ndim))


def unequal_sums(found: Sequence[Held], sent: Mapping[str, int]) -> Iterator[str]:
    """In words, the tensors whose sums over the processes of one vLLM are not what they are where they were sent from."""
    for name, total in sent.items():
        held_here = [process.get(name, (0, 1)) for process in found]
        copies = len(found) // held_here[0][1]
        if (sum(part for part, _ in held_here) - copies * total) % 2**64:
            yield _other(name)


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


def _places(sent: Iterable[str], packed: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
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
    packed = _is_packed(module, parameter)
    parts = {name: slice_of(module, place, tensor) for place, (name, tensor) in enumerate(parts.items())}
    if held.numel() or not packed:
        yield from _unequal(held, parts)
    if packed:
        width = next(iter(parts.values())).shape[1]
        columns = (torch.arange(_COLUMNS) + version * _COLUMNS) % width
        yield from _unequal(_asked(module, columns, width, held), {name: tensor[:, columns] for name, tensor in parts.items()})


def _is_packed(module: Any, parameter: str) -> bool:
    return parameter == "weight" and hasattr(module, "cpu_linear")


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
            yield _other(name)


def _other(name: str) -> str:
    return f"vLLM computes with another {name} than it was sent"
