"""From hidden states to log-probabilities and entropies, with the logits of a chunk of tokens at a time.

Nothing of size M × V ever exists: the backward computes a chunk's logits again, turns them into their own gradient in place, and adds what
they say of the output embedding to one gradient of its shape, which is the parameter's own `.grad` wherever that is wide enough.

# M predictions, C of them in a chunk, D model width, V vocabulary
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

BYTES_PER_LOGIT = 12
"""Of a chunk at its peak, at most: two float32 tensors and a bfloat16 copy of each."""
_CHUNK_MULTIPLE = 256
"""Predictions come in multiples of it (packing.PREDICTION_MULTIPLE): chunks that do too have few shapes."""
_BLOCK = 16_384
"""Rows of the output embedding whose gradient is there twice, where it is computed in one precision and added up in another."""


def chunk_within(mib: int, vocabulary: int) -> int:
    """Tokens whose logits, with all that is computed from them, fit into `mib` MiB; at least one.

    >>> chunk_within(512, 151_936), chunk_within(64, 151_936), chunk_within(1, 151_936)
    (256, 36, 1)
    """
    tokens = max(1, mib * 2**20 // (BYTES_PER_LOGIT * vocabulary))
    return tokens if tokens < _CHUNK_MULTIPLE else tokens - tokens % _CHUNK_MULTIPLE


def project(
    head: nn.Module, hidden_MD: Tensor, tokens_M: Tensor, *, chunk: int, temperature: float = 1.0, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    """log π(token) and the entropy of π at each prediction, in nats: float32, or float64 where the head computes in it.

    The head runs under the autocast that holds now. The backward itself adds to the `.grad` of float32 parameters, so call `backward()`:
    `torch.autograd.grad` would not see them.
    """
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    asked = _Asked(head, _autocast_dtype(hidden_MD.device), chunk, temperature, entropy_gradient)
    logp_M, entropy_M = _Project.apply(asked, tokens_M, hidden_MD, *trained)  # type: ignore[no-untyped-call]
    return logp_M, entropy_M


class _Head(Protocol):
    """An output embedding, as the projection needs it."""

    def logits(self, hidden_CD: Tensor) -> Tensor:
        """(C, V), without a graph, to be overwritten."""

    def pull(self, hidden_CD: Tensor, gradient_CV: Tensor) -> Tensor:
        """The gradient of `hidden_CD`, given that of its logits. Those of the parameters are added up."""

    def gradients(self) -> list[Tensor | None]:
        """What is left for autograd to add to each parameter that is trained; None where its `.grad` has it already."""


@dataclass(frozen=True)
class _Asked:
    module: nn.Module
    autocast: torch.dtype | None
    chunk: int
    temperature: float
    entropy_gradient: bool

    def head(self) -> "_Head":
        """For one pass: what it holds beside the parameters goes with it."""
        plain = type(self.module) is nn.Linear and not (self.module._forward_hooks or self.module._forward_pre_hooks)
        return (_Linear if plain else _Wrapped)(self.module, self.autocast)

    def chunks(self, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Tensors of M rows, a chunk of each at a time."""
        return zip(*(column.split(self.chunk) for column in columns), strict=True)

    def logits(self, head: "_Head", hidden_CD: Tensor) -> Tensor:
        """(C, V), at the temperature."""
        logits_CV = head.logits(hidden_CD)
        wide_CV = logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32))
        return wide_CV if self.temperature == 1 else wide_CV.div_(self.temperature)


class _Project(torch.autograd.Function):
    """What outlives a chunk has its place before the first: allocated between two, it would split the memory that the next could reuse."""

    @staticmethod
    def forward(ctx: Any, asked: _Asked, tokens_M: Tensor, hidden_MD: Tensor, *trained: Tensor) -> tuple[Tensor, Tensor]:
        head, wide = asked.head(), torch.promote_types(hidden_MD.dtype, torch.float32)
        logp_M, entropy_M, total_M = columns = [hidden_MD.new_empty(len(tokens_M), dtype=wide) for _ in range(3)]
        for hidden_CD, tokens_C, *out in asked.chunks(hidden_MD, tokens_M, *columns):
            _read(asked.logits(head, hidden_CD), tokens_C, *out)
        ctx.asked = asked
        ctx.save_for_backward(hidden_MD, tokens_M, total_M, entropy_M, *trained)  # the last, so that a change in between is noticed
        if not asked.entropy_gradient:
            ctx.mark_non_differentiable(entropy_M)
        return logp_M, entropy_M

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        asked: _Asked = ctx.asked
        head, scaled = asked.head(), [gradient / asked.temperature for gradient in gradients]
        hidden_MD, *saved = ctx.saved_tensors[:4]
        pulled_MD = torch.empty_like(hidden_MD)
        for pulled_CD, hidden_CD, *rest in asked.chunks(pulled_MD, hidden_MD, *saved, *scaled):
            gradient_CV = _gradient(asked.logits(head, hidden_CD), *rest, entropy_too=asked.entropy_gradient)
            pulled_CD.copy_(head.pull(hidden_CD, gradient_CV))
            del gradient_CV  # or it would be there beside the next chunk's logits
        return None, None, pulled_MD, *head.gradients()


def _read(logits_CV: Tensor, tokens_C: Tensor, logp_C: Tensor, entropy_C: Tensor, total_C: Tensor) -> None:
    """Fill in log π(token), H(π), and the logarithm of the sum that normalises π. Overwrites the logits."""
    top_C1 = logits_CV.amax(-1, keepdim=True)
    logits_CV = logits_CV.sub_(top_C1)
    chosen_C = logits_CV.gather(1, tokens_C[:, None])[:, 0]
    odds_CV = logits_CV.exp()
    sum_C = odds_CV.sum(-1)
    mean_C = odds_CV.mul_(logits_CV).sum(-1) / sum_C
    torch.sub(chosen_C, sum_C.log(), out=logp_C)
    torch.sub(sum_C.log(), mean_C, out=entropy_C)
    torch.add(top_C1[:, 0], sum_C.log(), out=total_C)


def _gradient(
    logits_CV: Tensor,
    tokens_C: Tensor,
    total_C: Tensor,
    entropy_C: Tensor,
    by_logp_C: Tensor,
    by_entropy_C: Tensor,
    *,
    entropy_too: bool,
) -> Tensor:
    """∂/∂z_j = g·(1[j = token] − p_j) − h·p_j·(log p_j + H), for gradients g of log π and h of H. Overwrites the logits."""
    logp_CV = logits_CV.sub_(total_C[:, None])
    if entropy_too:
        factor_CV = (logp_CV + entropy_C[:, None]).mul_(by_entropy_C[:, None]).add_(by_logp_C[:, None])
        gradient_CV = logp_CV.exp_().mul_(factor_CV).neg_()
    else:
        gradient_CV = logp_CV.exp_().mul_(-by_logp_C[:, None])
    return gradient_CV.scatter_add_(1, tokens_C[:, None], by_logp_C[:, None])


class _Linear:
    """A plain output embedding: its gradient is added up in place, and no chunk has one of its own."""

    def __init__(self, head: nn.Module, autocast: torch.dtype | None) -> None:
        self._parameters = dict(head.named_parameters())
        self._dtype = autocast or self._parameters["weight"].dtype
        self._cast = {name: parameter.detach().to(self._dtype) for name, parameter in self._parameters.items()}

    def logits(self, hidden_CD: Tensor) -> Tensor:
        with torch.autocast(hidden_CD.device.type, enabled=False):
            return linear(hidden_CD.to(self._dtype), **self._cast)

    def pull(self, hidden_CD: Tensor, gradient_CV: Tensor) -> Tensor:
        with torch.autocast(hidden_CD.device.type, enabled=False):
            if "bias" in self._sums:
                self._sums["bias"].total.add_(gradient_CV.sum(0))
            gradient_CV = gradient_CV.to(self._dtype)
            if "weight" in self._sums:
                _add_product(self._sums["weight"].total, gradient_CV, hidden_CD.to(self._dtype))
            return (gradient_CV @ self._cast["weight"]).to(hidden_CD.dtype)

    def gradients(self) -> list[Tensor | None]:
        return [one.left() for one in self._sums.values()]

    @cached_property
    def _sums(self) -> "dict[str, _Sum]":
        return {name: _Sum(parameter) for name, parameter in self._parameters.items() if parameter.requires_grad}


class _Sum:
    """Where the gradient of a parameter is added up: in its `.grad`, or in float32 beside it where that is narrower."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._narrow = parameter.dtype if parameter.dtype.itemsize < torch.float32.itemsize else None
        if self._narrow:
            self.total = torch.zeros_like(parameter, dtype=torch.float32, requires_grad=False)
            return
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        self.total = parameter.grad

    def left(self) -> Tensor | None:
        """See _Head.gradients."""
        return self.total.to(self._narrow) if self._narrow else None


def _add_product(total_VD: Tensor, gradient_CV: Tensor, hidden_CD: Tensor) -> None:
    """total += gradientᵀ · hidden, by blocks of rows where the precisions differ."""
    if total_VD.dtype == gradient_CV.dtype:
        total_VD.addmm_(gradient_CV.T, hidden_CD)
        return
    for rows_BD, columns_CB in zip(total_VD.split(_BLOCK), gradient_CV.split(_BLOCK, dim=1), strict=True):
        rows_BD.add_(columns_CB.T @ hidden_CD)


class _Wrapped:
    """Any other module, such as one with an adapter: autograd goes through it, chunk by chunk."""

    def __init__(self, head: nn.Module, autocast: torch.dtype | None) -> None:
        self._head, self._autocast = head, autocast

    def logits(self, hidden_CD: Tensor) -> Tensor:
        with torch.no_grad(), self._precision(hidden_CD.device):
            logits_CV: Tensor = self._head(hidden_CD)
        return logits_CV

    def pull(self, hidden_CD: Tensor, gradient_CV: Tensor) -> Tensor:
        with torch.enable_grad(), self._precision(hidden_CD.device):
            leaf_CD = hidden_CD.detach().requires_grad_()
            logits_CV = self._head(leaf_CD)
        torch.autograd.backward(logits_CV, gradient_CV.to(logits_CV.dtype))
        assert leaf_CD.grad is not None
        return leaf_CD.grad

    def gradients(self) -> list[Tensor | None]:
        return [None for parameter in self._head.parameters() if parameter.requires_grad]

    def _precision(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device.type, dtype=self._autocast, enabled=self._autocast is not None)


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
