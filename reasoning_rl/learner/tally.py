"""What the updates of a step add up to, and the means that are reported of it.

# B rows, T completion tokens at most
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan

import torch
from torch import Tensor

from reasoning_rl.learner.mismatch import Mismatch
from reasoning_rl.learner.parallel import ALONE, Ranks
from reasoning_rl.objectives.objective import Batch, Loss
from reasoning_rl.policy.packing import Packing

SKIPPED, BUDGET = "guards/skipped_updates", "guards/token_budget"
_UNKNOWN = "tokens of unknown probability"
_PER_UPDATE = ("loss", "grad_norm", "value/grad_norm")
_SHARES = {"learner/padding": "flat", "learner/attention_padding": "cells"}


def sums(loss: Loss, batch: Batch, logp_BT: Tensor) -> dict[str, float]:
    """Numbers of a micro-batch that add up over micro-batches and processes, read from the device at once."""
    tensors = {**loss.sums, "loss": loss.value.detach(), "tokens": batch.mask_BT.sum(), _UNKNOWN: _unknown(batch, logp_BT.detach())}
    numbers: list[float] = torch.stack([value.double().reshape(()) for value in tensors.values()]).tolist()
    return dict(zip(tensors, numbers, strict=True))


def _unknown(batch: Batch, logp_BT: Tensor) -> Tensor:
    """Tokens with a log-probability that is not finite. The loss need not tell: an infinite ratio may be clipped to a finite one."""
    known_BT = logp_BT.isfinite() & batch.old_logp_BT.isfinite()
    if batch.reference_logp_BT is not None:
        known_BT &= batch.reference_logp_BT.isfinite()
    return (batch.mask_BT & ~known_BT).sum()


def padding(packing: Packing) -> dict[str, float]:
    """What was computed for nothing: filler of the flat row, and empty cells of attention. The totals beside them are _SHARES'."""
    filler, empty = len(packing.ids_N) - packing.real, packing.cells - packing.real
    return {"learner/padding": filler, "flat": len(packing.ids_N), "learner/attention_padding": empty, "cells": packing.cells}


def amiss(totals: Mapping[str, float]) -> str:
    """What keeps an update from being made, in words; empty where nothing does.

    >>> amiss({"loss": nan, "grad_norm": 0.1, "tokens of unknown probability": 2.0})
    'loss nan, tokens with a log-probability that is not finite: 2'
    """
    said = [f"{name} {totals[name]}" for name in _PER_UPDATE if not isfinite(totals.get(name, 0.0))]
    if totals.get(_UNKNOWN):
        said.append(f"tokens with a log-probability that is not finite: {totals[_UNKNOWN]:.0f}")
    return ", ".join(said)


@dataclass
class Tally:
    """Of the updates that a step has made so far."""

    totals: Counter[str] = field(default_factory=Counter)
    mismatch: Mismatch = field(default_factory=Mismatch)
    made: int = 0

    def add(self, totals: Mapping[str, float], mismatch: Mismatch | None = None) -> None:
        """One more update, and what was seen of sampler and learner before it if that is to count."""
        self.made += 1
        self.totals.update(totals)
        self.mismatch.differences += mismatch.differences if mismatch else []

    def metrics(self, skipped: int, ranks: Ranks = ALONE) -> dict[str, float]:
        """Of all processes. Without an update loss and norm are 0, or no number if that is because they were all `skipped`."""
        return {**self._means(skipped), **self.mismatch.metrics(ranks), SKIPPED: skipped}

    def _means(self, skipped: int) -> dict[str, float]:
        """Per update or token."""
        if not self.made:
            nothing = nan if skipped else 0.0
            return {"loss": nothing, "grad_norm": nothing, "learner/tokens": 0.0}
        totals, tokens = self.totals, self.totals["tokens"]
        per_update = {name: totals[name] / self.made for name in _PER_UPDATE if name in totals}
        shares = {name: totals[name] / totals[whole] for name, whole in _SHARES.items()}
        others = {*_PER_UPDATE, "tokens", _UNKNOWN, *_SHARES, *_SHARES.values()}
        per_token = {name: value / tokens for name, value in totals.items() if name not in others}
        return {**per_update, **per_token, **shares, "learner/tokens": tokens / self.made}
