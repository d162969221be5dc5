"""TRL's side of ../grpo_step.py and ../gpu_step.py: GRPOTrainer with the settings of ours, where it has them."""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sides.loop import config_of, seed_of
from sides.turns import Turns

if TYPE_CHECKING:
    from reasoning_rl.config import Config, LearnerConfig
    from reasoning_rl.policy.policy import Policy
    from reasoning_rl.records import Completion, Prompt

Rewards = Callable[..., list[float]]


def trl(turns: Turns, options: argparse.Namespace) -> None:
    """`generate()` of transformers, the update, and our verifiers."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    from reasoning_rl.data.store import load_prompts
    from reasoning_rl.data.tokenizer import load_tokenizer
    from reasoning_rl.policy.policy import Policy
    from reasoning_rl.rollout.gather import prompts_of_step

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        config, tokenizer = config_of(options, folder), load_tokenizer(options.model)
        require_grpo(config)
        problems, count = load_prompts(options.run / "data", "train"), config.sampling.prompts_per_step
        prompts = [prompt for step in range(options.steps) for prompt in prompts_of_step(problems, step, count, seed_of(config))]
        require_same_tokens(prompts, tokenizer)
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="sdpa")
        judge, asked = (
            Judging(config, prompts, Policy(model, tokenizer, None)),
            {"prompt": [prompt.text for prompt in prompts], "place": range(len(prompts))},
        )
        arguments = {**of_recipe(config, options), "output_dir": folder}
        train(turns, model, tokenizer, Dataset.from_dict(asked), judge, arguments, config.learner, judge.told)


def of_recipe(config: "Config", options: argparse.Namespace) -> dict[str, Any]:
    """Of GRPOConfig."""
    rows = config.sampling.prompts_per_step * config.sampling.group_size
    batch = options.trl_rows or rows
    cache = {} if options.trl_cache == "dynamic" else {"cache_implementation": options.trl_cache}
    return {
        "per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated(rows, batch), "max_steps": options.steps,
        "num_generations": config.sampling.group_size, "max_completion_length": config.sampling.max_tokens,
        "temperature": config.sampling.temperature, "top_p": config.sampling.top_p, "top_k": config.sampling.top_k,
        "use_cpu": True, "bf16": options.precision == "bf16", "gradient_checkpointing": False, "seed": seed_of(config), **cache,
    }  # fmt: skip


def accumulated(rows: int, batch: int) -> int:
    """Micro-batches of a step."""
    if rows % batch:
        raise SystemExit(f"TRL's micro-batches must fill a step of {rows} answers, found {batch}")
    return rows // batch


def train(
    turns: Turns,
    model: Any,
    tokenizer: Any,
    dataset: Any,
    rewards: Rewards,
    arguments: dict[str, Any],
    learner: "LearnerConfig",
    told: Callable[[dict[str, float]], dict[str, Any]],
    **also: Any,
) -> None:
    """GRPO as its paper has it: β 0, one update a step, clipping at 0.2, a token's weight by its answer, rewards scaled by group."""
    import torch
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from reasoning_rl.learner.schedule import warmup_then_linear

    steps = arguments["max_steps"]
    settings = GRPOConfig(
        beta=0.0, epsilon=0.2, num_iterations=1, loss_type="grpo", scale_rewards="group", shuffle_dataset=False,
        max_grad_norm=learner.max_grad_norm, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, **arguments,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), learner.learning_rate, learner.betas, weight_decay=learner.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: warmup_then_linear(min(step, steps - 1), steps, warmup=learner.warmup_steps, final=learner.final_fraction),
    )
    trainer = GRPOTrainer(
        model,
        rewards,
        settings,
        dataset,
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
        callbacks=[_hook(turns, told)],
        **also,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _hook(turns: Turns, told: Callable[[dict[str, float]], dict[str, Any]]) -> Any:
    """A step ends with its log, which comes behind `on_step_end`."""
    from transformers import TrainerCallback

    class Hook(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            turns.begin()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:  # noqa: ARG002
            if "reward" in logs:
                turns.step(told(logs))

    return Hook()


def require_grpo(config: "Config") -> None:
    """Of all that a recipe may say, TRL is told what the recipe `cpu` says."""
    found = {
        "objective": config.objective.model_dump(), "learner.epochs": config.learner.epochs,
        "learner.minibatches": config.learner.minibatches, "sampling.dynamic": config.sampling.dynamic,
    }  # fmt: skip
    known = {"objective": {"name": "grpo", "kl": 0.0}, "learner.epochs": 1, "learner.minibatches": 1, "sampling.dynamic": False}
    if other := [f"{name}: {found[name]}, for TRL only {value} is known" for name, value in known.items() if found[name] != value]:
        raise SystemExit("\n".join(other))


def require_same_tokens(prompts: "Sequence[Prompt]", tokenizer: Any) -> None:
    """TRL tokenizes the text; ours comes with its tokens."""
    found = tokenizer(text=[prompt.text for prompt in prompts])["input_ids"]
    if changed := [prompt.problem.id for prompt, ids in zip(prompts, found, strict=True) if tuple(ids) != prompt.token_ids]:
        raise SystemExit(f"{len(changed)} prompts have other tokens for TRL than for us, {changed[0]} first; no comparison is possible")


class Judging:
    """Our verifiers as a reward function of TRL. From tokens, since TRL's text leaves special ones out."""

    __name__ = "verifiers"

    def __init__(self, config: "Config", prompts: "Sequence[Prompt]", policy: "Policy") -> None:
        from reasoning_rl.rewards.reward import Reward

        self._reward, self._prompts, self._policy = Reward(config.rewards), prompts, policy
        self._right: list[bool] = []
        self._tokens = 0

    def __call__(self, completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float]:
        problems = [self._prompts[number].problem for number in place]
        verdicts = [self._reward.verdict(*item) for item in zip(self._completions(completion_ids), problems, strict=True)]
        self._right, self._tokens = [verdict.correct for verdict in verdicts], sum(map(len, completion_ids))
        return [verdict.reward for verdict in verdicts]

    def _completions(self, completion_ids: list[list[int]]) -> "Iterator[Completion]":
        from reasoning_rl.records import Completion
        from reasoning_rl.rollout.engine import texts_of

        ends = self._policy.end_tokens
        for text, ids in zip(texts_of(completion_ids, self._policy), completion_ids, strict=True):
            yield Completion(text, tuple(ids), finish_reason="stop" if ids[-1] in ends else "length")

    def told(self, logs: dict[str, float]) -> dict[str, Any]:
        """Of the step that has just been logged."""
        right = sum(self._right) / len(self._right)
        return {"reward": logs["reward"], "pass_rate": right, "tokens": self._tokens, "entropy": logs.get("entropy")}
