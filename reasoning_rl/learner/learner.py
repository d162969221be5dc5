"""The update: log-probabilities, loss, gradient, step. Blind to the objective it serves.

Weights are computed over the whole optimiser batch before anything is split, so micro-batches and processes only add up.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import EngineError, TrainingError
from reasoning_rl.learner.batch import MicroBatch, micro_batch, padded, share, split
from reasoning_rl.learner.parallel import ALONE, Ranks
from reasoning_rl.learner.schedule import warmup_then_linear
from reasoning_rl.objectives.objective import Batch, Loss, Objective
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Sample


class Learner:
    """Holds the policy, the reference where the objective needs one, and the optimiser."""

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        config: LearnerConfig,
        *,
        steps: int,
        temperature: float = 1.0,
        chunk: int = 4096,
        reference: Policy | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """`temperature` is that of sampling, and π the distribution at it, before any top-p or top-k. `steps`: length of the schedule."""
        self.policy, self.objective, self.config, self.ranks = policy, objective, config, ranks
        self._reference = reference
        self._steps, self._temperature, self._chunk = steps, temperature, chunk
        self.parameters = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)

    def update(self, batches: Sequence[Sequence[Sample]], step: int) -> dict[str, float]:
        """One optimiser step per batch and epoch. Returns means over tokens of what the objective reports, and the gradient norm.

        Empty batches (no group carried a signal) leave the weights alone. TrainingError if the loss or gradient is not finite.
        """
        share_of_rate = warmup_then_linear(step, self._steps, warmup=self.config.warmup_steps, final=self.config.final_fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share_of_rate
        self.policy.model.train()
        on_policy = len(batches) * self.config.epochs == 1
        prepared = [self._prepare(samples, on_policy) for samples in batches if samples]
        totals: Counter[str] = Counter()
        for _ in range(self.config.epochs):
            for micro_batches in prepared:
                totals.update(self._optimise(micro_batches, step))
        return _means(totals, updates=self.config.epochs * len(prepared)) | {"learning_rate": self.config.learning_rate * share_of_rate}

    def _prepare(self, samples: Sequence[Sample], on_policy: bool) -> list[MicroBatch]:
        """This process's micro-batches, with the log-probabilities that must come from before the update."""
        own = share(samples, self.ranks.rank, self.ranks.size)
        micros = [micro_batch(part, self.policy.device) for part in split(own, self.config.tokens_per_microbatch)]
        return [self._before_update(micro, on_policy) for micro in micros]

    def _before_update(self, micro: MicroBatch, on_policy: bool) -> MicroBatch:
        batch = micro.batch
        if self._reference is not None:
            batch = replace(batch, reference_logp_BT=self._logprobs(self._reference, micro))
        if self.config.old_logprobs == "engine":
            if batch.sampled_logp_BT is None:
                raise EngineError("learner.old_logprobs: 'engine', but this engine reports none; use 'learner'")
            batch = replace(batch, old_logp_BT=batch.sampled_logp_BT)
        elif on_policy:  # a single update: its own forward pass gives π_old for nothing
            return replace(micro, batch=batch, on_policy=True)
        else:
            batch = replace(batch, old_logp_BT=self._logprobs(self.policy, micro))
        return replace(micro, batch=batch)

    @torch.no_grad()
    def _logprobs(self, policy: Policy, micro: MicroBatch) -> Tensor:
        logp_M, _ = token_logprobs(policy, micro.packing, temperature=self._temperature, chunk=self._chunk)
        return padded(logp_M, micro.batch.mask_BT)

    def _optimise(self, micro_batches: Sequence[MicroBatch], step: int) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=False)
        sums: Counter[str] = Counter()
        for micro in micro_batches:
            loss, batch, mismatch = self._loss(micro)
            loss.value.backward()
            sums.update(_sums(loss, batch, mismatch))
        self.ranks.add_gradients(self.parameters)
        totals = self.ranks.add_numbers(sums)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        if not (math.isfinite(norm) and math.isfinite(totals["loss"])):
            raise TrainingError(
                f"step {step + 1}: loss {totals['loss']}, gradient norm {norm}; this update was not made, and the last checkpoint is good"
            )
        self.optimizer.step()
        return {**totals, "grad_norm": norm}

    def _loss(self, micro: MicroBatch) -> tuple[Loss, Batch, Tensor | None]:
        """The loss, what it was computed from, and |log π − what the engine reported|, (B, T)."""
        logp_M, entropy_M = token_logprobs(self.policy, micro.packing, temperature=self._temperature, chunk=self._chunk)
        batch = micro.batch
        logp_BT, entropy_BT = padded(logp_M, batch.mask_BT), padded(entropy_M, batch.mask_BT)
        if micro.on_policy:
            batch = replace(batch, old_logp_BT=logp_BT.detach())
        mismatch_BT = None if batch.sampled_logp_BT is None else (logp_BT.detach() - batch.sampled_logp_BT).abs() * batch.mask_BT
        return self.objective.loss(logp_BT, entropy_BT, batch), batch, mismatch_BT

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs besides the weights."""
        return {"optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def _sums(loss: Loss, batch: Batch, mismatch_BT: Tensor | None) -> dict[str, float]:
    """Numbers that add up over micro-batches and processes."""
    sums = {name: float(value) for name, value in loss.sums.items()}
    mismatch = {} if mismatch_BT is None else {"sampling/sampling_logp_difference/mean": float(mismatch_BT.sum())}
    return {**sums, **mismatch, "loss": float(loss.value.detach()), "tokens": float(batch.mask_BT.sum())}


def _means(totals: Mapping[str, float], updates: int) -> dict[str, float]:
    if not updates:
        return {"loss": 0.0, "grad_norm": 0.0, "learner/tokens": 0.0}
    tokens = totals["tokens"]
    per_update = {name: totals[name] / updates for name in ("loss", "grad_norm")}
    per_token = {name: value / tokens for name, value in totals.items() if name not in {"loss", "grad_norm", "tokens"}}
    return {**per_update, **per_token, "learner/tokens": tokens / updates}
