"""The update: log-probabilities, loss, gradient, step. Blind to the objective it serves.

Weights are computed over the whole optimiser batch before anything is split, so micro-batches and processes only add up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import EngineError, is_out_of_memory
from reasoning_rl.learner.batch import MicroBatch, credited, halved, key_of, micro_batch, padded, share, split, told
from reasoning_rl.learner.checkpoint import load_state
from reasoning_rl.learner.lockstep import idling, in_step, in_turn
from reasoning_rl.learner.mismatch import Mismatch
from reasoning_rl.learner.offenders import Skipped, apart, offenders
from reasoning_rl.learner.optimizers import Masters, clip, make_optimizer
from reasoning_rl.learner.parallel import ALONE, Ranks
from reasoning_rl.learner.schedule import warmup_then_linear
from reasoning_rl.learner.shards import restored
from reasoning_rl.learner.tally import BUDGET, Tally, amiss, padding, sums
from reasoning_rl.objectives.objective import Batch, Before, Loss, Now, Objective
from reasoning_rl.policy.logprobs import LOGITS_MIB, token_logprobs
from reasoning_rl.policy.policy import Policy
from reasoning_rl.policy.values import ValueModel
from reasoning_rl.records import Sample


@dataclass(frozen=True)
class Models:
    """What the learner holds: up to three of PPO's four, since rules give the reward."""

    policy: Policy
    reference: Policy | None = None
    value: ValueModel | None = None


@dataclass(frozen=True)
class Learned:
    """What an update says of itself."""

    metrics: dict[str, float]
    advantages: list[list[float]]
    """Of each batch, each sample's mean over its tokens."""
    skipped: tuple[Skipped, ...] = ()
    """Updates that were not made."""


class Learner:
    """Holds the models that the objective needs, and the optimiser."""

    def __init__(
        self,
        models: Models,
        objective: Objective,
        config: LearnerConfig,
        *,
        steps: int,
        temperature: float = 1.0,
        logits_mib: int = LOGITS_MIB,
        ranks: Ranks = ALONE,
    ) -> None:
        """`temperature` is that of sampling, and π the distribution at it, before any top-p or top-k. `steps`: length of the schedule."""
        self.models, self.objective, self.config, self.ranks = models, objective, config, ranks
        self._steps, self._temperature, self._logits_mib = steps, temperature, logits_mib
        self._tokens, self._stepped = config.tokens_per_microbatch, False
        self._together = 2 if "pairs" in objective.needs else 1
        self._sharded = models.policy.root is not None
        self._masters = Masters()
        stepped = self._masters.of if config.master_weights else list
        self.parameters = stepped(_trained(models.policy.model.parameters()))
        self.value_parameters = stepped(_trained(models.value.parameters()) if models.value else [])
        rated = [(self.parameters, config.learning_rate), (self.value_parameters, config.value_learning_rate or config.learning_rate)]
        self._rated = [(parameters, rate) for parameters, rate in rated if parameters]
        self.optimizer = make_optimizer(self._rated, config)

    def update(self, batches: Sequence[Sequence[Sample]], step: int) -> Learned:
        """One optimiser step per batch and epoch. Metrics are means over tokens of what the objective reports, and the gradient norm.

        Empty batches (no group carried a signal) leave the weights alone, and so does one with a loss, gradient or log-probability that is
        not finite: see `Learned.skipped`. Out of memory, it begins anew with half the token budget if the config says so.
        """
        while (learned := self._tried(batches, step)) is None:
            self._make_room()
        return learned

    def _tried(self, batches: Sequence[Sequence[Sample]], step: int) -> Learned | None:
        """None when memory was short and the budget is smaller now. An update that has changed a weight can't begin anew."""
        self._stepped = False
        try:
            return self._updated(batches, step)
        except (RuntimeError, MemoryError) as failure:
            smaller = halved(self._tokens, chain.from_iterable(batches))
            alone = self.ranks.size == 1 and not self._sharded  # a pass that broke off leaves layers gathered
            allowed = self.config.halve_when_out_of_memory and alone and not self._stepped
            if not (allowed and smaller and is_out_of_memory(failure)):
                raise
            self._tokens = smaller
        return None

    def _make_room(self) -> None:
        """After a failure whose tensors are gone with it."""
        self.optimizer.zero_grad()
        self.models.policy.model.zero_grad()  # where masters are stepped, those of the weights themselves
        if self.models.value is not None:
            self.models.value.zero_grad()
        if self.models.policy.device.type == "cuda":
            torch.cuda.empty_cache()

    def _updated(self, batches: Sequence[Sequence[Sample]], step: int) -> Learned:
        share_of_rate = warmup_then_linear(step, self._steps, warmup=self.config.warmup_steps, final=self.config.final_fraction)
        for group, (_, rate) in zip(self.optimizer.param_groups, self._rated, strict=True):
            group["lr"] = rate * share_of_rate
        self._begin(step)
        on_policy = len(batches) * self.config.epochs == 1
        prepared = [self._prepare(samples, on_policy) for samples in batches]
        tally = Tally()
        skipped: list[Skipped] = []
        for epoch, (index, samples) in product(range(self.config.epochs), enumerate(batches)):
            if samples:
                micro_batches, mismatch = prepared[index][0], Mismatch()
                totals = self._optimise(micro_batches, mismatch)
                if found := amiss(totals):
                    skipped.append(Skipped(index, found, self._offenders(samples, micro_batches)))
                else:
                    tally.add(totals, mismatch if epoch == 0 else None)  # later, there is to see how far the policy has moved
        followed = {"learning_rate": self.config.learning_rate * share_of_rate, **self._budget()}
        metrics = {**tally.metrics(len(skipped), self.ranks), **followed}
        return Learned(metrics, [advantages for _, advantages in prepared], tuple(skipped))

    def _budget(self) -> dict[str, float]:
        """`guards/token_budget`, where it is smaller than the config's."""
        return {BUDGET: self._tokens} if self._tokens < self.config.tokens_per_microbatch else {}

    def _begin(self, step: int) -> None:
        """π_ref ← π_θ where it is due: iterative GRPO, DeepSeekMath, arXiv:2402.03300, §4.1.4 and Algorithm 1."""
        self.models.policy.model.train()
        if self.models.value is not None:
            self.models.value.train()
        every = self.config.reference_every
        if self.models.reference is not None and every and step and step % every == 0:
            self.models.reference.model.load_state_dict(self.models.policy.model.state_dict())

    def _prepare(self, samples: Sequence[Sample], on_policy: bool) -> tuple[list[MicroBatch], list[float]]:
        """This process's micro-batches, with what must come from before the update, and all samples' advantages."""
        own = share(samples, self.ranks.rank, self.ranks.size)
        parts = [micro_batch(part, self.models.policy.device) for part in split(own, self._tokens, self._together)]
        if self._sharded:
            parts = in_step(parts, samples, self.models.policy.device, self.ranks)
        micros = [self._before_update(micro, on_policy) for micro in parts]
        if samples and "before" in self.objective.needs:
            return self._credited(samples, micros)
        return micros, [fmean(sample.advantages) for sample in samples]

    @torch.no_grad()
    def _before_update(self, micro: MicroBatch, on_policy: bool) -> MicroBatch:
        batch, foreseen = micro.batch, "before" in self.objective.needs
        if self.models.reference is not None:
            batch = replace(batch, reference_logp_BT=self._forward(self.models.reference, micro)[0])
        batch = replace(batch, old_value_BT=self._values(micro))
        if not (self.objective.uses_old_policy or foreseen):
            return replace(micro, batch=batch)
        sampled_logp_BT = self._sampled(batch) if self.config.old_logprobs == "engine" else None
        if on_policy and not foreseen and sampled_logp_BT is None:
            return replace(micro, batch=batch, on_policy=True)  # a single update: its own forward pass gives π_old for nothing
        if sampled_logp_BT is not None and not foreseen:
            return replace(micro, batch=replace(batch, old_logp_BT=sampled_logp_BT))
        logp_BT, entropy_BT = self._forward(self.models.policy, micro)
        old_logp_BT = logp_BT if sampled_logp_BT is None else sampled_logp_BT
        return replace(micro, batch=replace(batch, old_logp_BT=old_logp_BT), entropy_BT=entropy_BT)

    def _sampled(self, batch: Batch) -> Tensor:
        if batch.sampled_logp_BT is None:
            raise EngineError("learner.old_logprobs: 'engine', but this engine reports none; use 'learner'")
        return batch.sampled_logp_BT

    def _credited(self, samples: Sequence[Sample], micros: Sequence[MicroBatch]) -> tuple[list[MicroBatch], list[float]]:
        """Advantages that follow from what the models say of the whole batch, wherever its parts were computed."""
        own: dict[tuple[int, int], Before] = {}
        for micro in micros:
            own |= told(micro)
        before = self.ranks.merge(own)
        given = self.objective.credit(samples, [before[key_of(sample)] for sample in samples])
        by_key = dict(zip(map(key_of, samples), given, strict=True))
        return [credited(micro, by_key) for micro in micros], [float(credit.advantage_T.mean()) for credit in given]

    def _optimise(self, micro_batches: Sequence[MicroBatch], mismatch: Mismatch) -> dict[str, float]:
        """An optimiser step, unless its totals are amiss."""
        self.optimizer.zero_grad(set_to_none=False)
        own: Counter[str] = Counter()
        for micro in micro_batches:
            own.update(self._pull(micro, mismatch))
        self.ranks.add_gradients([*self.parameters, *self.value_parameters])
        totals = {**self.ranks.add_numbers(own), "grad_norm": clip(self.parameters, self.config.max_grad_norm)}
        if self.value_parameters:
            totals["value/grad_norm"] = clip(self.value_parameters, self.config.max_grad_norm)
        if not amiss(totals):
            self._stepped = True
            self.optimizer.step()
            self._masters.publish()
        if self.models.policy.device.type == "cuda":
            self.optimizer.zero_grad()  # the sampler needs the room; the next backward makes them anew
        return totals

    def _pull(self, micro: MicroBatch, mismatch: Mismatch) -> dict[str, float]:
        """Adds the gradient of a micro-batch; what else of it is to be added up."""
        if micro.idle:
            self._idle(micro)
            return {}
        loss, batch, logp_BT = self._loss(micro, mismatch)
        loss.value.backward()
        return {**sums(loss, batch, logp_BT), **padding(micro.packing)}

    def _idle(self, micro: MicroBatch) -> None:
        """The passes of a micro-batch, for a gradient of 0."""
        said = [self._forward(self.models.policy, micro)[0], self._values(micro)]
        sum((values_BT.sum() * 0 for values_BT in said if values_BT is not None), torch.zeros(())).backward()

    def _offenders(self, samples: Sequence[Sample], micro_batches: Sequence[MicroBatch]) -> tuple[tuple[int, int], ...]:
        """Those of all processes; every sample, where each is sound by itself."""
        pieces = [piece for micro in micro_batches if not micro.idle for piece in apart(micro, self._together)]
        turns = in_turn(pieces, idling(samples[0], self.models.policy.device), self.ranks) if self._sharded else pieces
        own = offenders(turns, self._broken)
        self.optimizer.zero_grad()
        found = self.ranks.merge(dict.fromkeys(own, True))
        return tuple(sorted(found or map(key_of, samples)))

    def _broken(self, micro: MicroBatch) -> bool:
        """Whether these rows by themselves have a loss, gradient or log-probability that is not finite."""
        self.optimizer.zero_grad()
        said = self._pull(micro, Mismatch())
        norms = [clip(parameters, self.config.max_grad_norm) for parameters in (self.parameters, self.value_parameters)]
        return bool(amiss({**said, "grad_norm": norms[0], "value/grad_norm": norms[1]}))

    def _loss(self, micro: MicroBatch, mismatch: Mismatch) -> tuple[Loss, Batch, Tensor]:
        """The loss, and what it was computed from, log-probabilities last.

        `mismatch` hears of the policy before the update, or if that wasn't asked, as it is.
        """
        batch = micro.batch
        logp_BT, entropy_BT = self._forward(self.models.policy, micro)
        now = Now(logp_BT, entropy_BT, self._values(micro))
        if micro.on_policy:
            batch = replace(batch, old_logp_BT=logp_BT.detach())
        asked = self.objective.uses_old_policy or "before" in self.objective.needs  # else `old_logp_BT` holds zeros
        before_BT = batch.old_logp_BT if asked and self.config.old_logprobs == "learner" else logp_BT
        mismatch.add(before_BT, batch.sampled_logp_BT, batch.mask_BT)
        return self.objective.loss(now, batch), batch, logp_BT

    def _forward(self, policy: Policy, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies, (B, T) each."""
        logp_M, entropy_M = token_logprobs(
            policy,
            micro.packing,
            temperature=self._temperature,
            logits_mib=self._logits_mib,
            entropy_gradient="entropy" in self.objective.needs,
        )
        return padded(logp_M, micro.batch.mask_BT), padded(entropy_M, micro.batch.mask_BT)

    def _values(self, micro: MicroBatch) -> Tensor | None:
        return None if self.models.value is None else padded(self.models.value(micro.packing), micro.batch.mask_BT)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs besides the policy's weights."""
        reference, value = self.models.reference, self.models.value
        moved = {"reference": reference.model.state_dict()} if reference and self.config.reference_every else {}
        learned = {"value": value.state_dict()} if value else {}
        return {"optimizer": self.optimizer.state_dict(), **self._masters.state(), **moved, **learned, **self._budget()}

    def resume(self, checkpoint: Path) -> int:
        """Take up what a checkpoint holds besides the policy's weights, whatever ranks wrote it; the number of steps done.

        Every rank of a sharded learner reads what is its own.
        """
        state = load_state(checkpoint)
        stepped = chain.from_iterable(group["params"] for group in self.optimizer.param_groups)
        like = {**self.state(), "optimizer": {"state": dict(enumerate(stepped))}}
        self.load_state(restored(state, like, checkpoint))
        return int(state["step"])

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self._masters.load_state(state)
        if self.config.halve_when_out_of_memory:
            self._tokens = min(self.config.tokens_per_microbatch, state.get(BUDGET, self._tokens))
        if "reference" in state and self.models.reference:
            self.models.reference.model.load_state_dict(state["reference"])
        if "value" in state and self.models.value:
            self.models.value.load_state_dict(state["value"])


def _trained(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter for parameter in parameters if parameter.requires_grad]
