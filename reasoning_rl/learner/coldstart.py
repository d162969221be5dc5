"""Supervised warm-up on demonstrations, with loss on the completion only: R1's cold start (arXiv:2501.12948 §2.3.1).

How it departs from a textbook loop: matrices are stepped by Muon where the recipe says so, which takes a few times fewer steps than AdamW
at this size. Batches are not sorted by length: where short demonstrations answer at once and long ones work, a sorted batch would hold one
kind only, and padding costs nothing outside attention.

# a demonstration is a Sample whose tokens all have advantage 1
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from reasoning_rl.config import ColdStartConfig
from reasoning_rl.errors import DataError, ModelError, TrainingError
from reasoning_rl.learner.batch import split
from reasoning_rl.learner.parallel import ALONE, Ranks
from reasoning_rl.learner.schedule import warmup_then_linear
from reasoning_rl.policy.logprobs import LOGITS_MIB, token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Demonstration, Sample
from reasoning_rl.rollout.randomness import generator


@dataclass(frozen=True)
class Memory:
    """How much goes through the model at a time; the gradient is that of the whole batch all the same."""

    tokens: int = 32_768
    logits_mib: int = LOGITS_MIB


def cold_start(
    policy: Policy,
    demonstrations: Sequence[Demonstration],
    config: ColdStartConfig,
    *,
    seed: int,
    memory: Memory = Memory(),
    ranks: Ranks = ALONE,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Train in place for `config.steps` steps; `on_step` gets the step and its mean loss per token, in nats.

    DataError without demonstrations, TrainingError when a loss or gradient is not finite, before it reaches the weights.
    """
    if not demonstrations:
        raise DataError("cold_start: the data have no demonstrations; set cold_start.enabled=false and name a pretrained policy.model")
    samples = samples_of(policy, demonstrations)
    optimizers = make_optimizers(policy.model, config)
    policy.model.train()
    for step, batch in enumerate(batches(samples, config, seed)):
        rate = warmup_then_linear(step, config.steps, warmup=config.warmup_steps, final=config.final_fraction, flat_until=config.flat_until)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
        loss, norm = _step(policy, batch, optimizers, config.max_grad_norm, memory, ranks)
        if not _finite(loss, norm):
            raise TrainingError(
                f"cold start, step {step + 1}: the loss is {loss} and the norm of its gradient {norm}, so this step was not made; "
                "lower cold_start.learning_rate (with Muon cold_start.muon_learning_rate too) or cold_start.max_grad_norm, "
                "or set policy.autocast=off"
            )
        if on_step is not None:
            on_step(step, loss)


def samples_of(policy: Policy, demonstrations: Sequence[Demonstration]) -> list[Sample]:
    """Each with the token that ends a sequence behind it; those that outgrow the context are left out. DataError if that leaves none."""
    end = policy.tokenizer.eos_token_id
    if end is None:
        raise ModelError("policy.model: its tokenizer has no token that ends a sequence (eos_token)")
    samples = [
        Sample(one.prompt_ids, (*one.completion_ids, end), (), 1.0, group=index)
        for index, one in enumerate(demonstrations)
        if len(one.prompt_ids) + len(one.completion_ids) < policy.context
    ]
    if not samples:
        raise DataError(f"cold_start: every demonstration is longer than the policy's context of {policy.context} tokens")
    return samples


def batches(samples: Sequence[Sample], config: ColdStartConfig, seed: int) -> list[list[Sample]]:
    """`config.steps` batches: as many passes as that takes, each in an order of its own."""
    made: list[list[Sample]] = []
    epoch = 0
    size = min(config.batch_size, len(samples))
    while len(made) < config.steps:
        order = generator(seed, "cold start", epoch).permutation(len(samples))
        made += [[samples[index] for index in order[start : start + size]] for start in range(0, len(order) - size + 1, size)]
        epoch += 1
    return made[: config.steps]


def make_optimizers(model: torch.nn.Module, config: ColdStartConfig) -> list[torch.optim.Optimizer]:
    """AdamW; with Muon for the matrices inside the layers when asked."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inside and config.optimizer == "muon" else others).append(parameter)
    adamw = torch.optim.AdamW(others, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, momentum=0.95))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _step(
    policy: Policy, batch: Sequence[Sample], optimizers: list[torch.optim.Optimizer], max_norm: float, memory: Memory, ranks: Ranks
) -> tuple[float, float]:
    """One step on −Σ log π / tokens, every process with its rows of the batch; none where loss or norm, which it returns, is not finite."""
    tokens = sum(len(sample.completion_ids) for sample in batch)
    parameters = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    total = 0.0
    for part in split(batch[ranks.rank :: ranks.size], memory.tokens):
        logp_M, _ = token_logprobs(policy, pack(part, policy.device), logits_mib=memory.logits_mib)
        loss = -logp_M.sum() / tokens
        loss.backward()
        total += float(loss.detach())
    ranks.add_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    loss_of_all = ranks.add_numbers({"loss": total})["loss"]
    if _finite(loss_of_all, norm):
        for optimizer in optimizers:
            optimizer.step()
    return loss_of_all, norm


def _finite(*numbers: float) -> bool:
    return all(map(math.isfinite, numbers))
