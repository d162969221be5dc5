"""The sides of ../gpu_step.py: a learner on answers that nobody sampled."""

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sides.turns import Turns

if TYPE_CHECKING:
    from reasoning_rl.learner.learner import Learner
    from reasoning_rl.records import Group

END, PAD = 0, 1
LEARNING_RATE = 1e-6
LOGPROB = -1.0
"""What the sampler is made to have said of each token."""


@dataclass(frozen=True)
class Shape:
    """Of Qwen2.5, with tied embeddings."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def layer_weights(self) -> int:
        """In the matrices of a layer: queries and output, keys and values, the three of the MLP."""
        return self.width * (2 * self.width + 2 * self.kv_heads * self.head_width + 3 * self.mlp_width)

    @property
    def head_weights(self) -> int:
        """Of the output embedding."""
        return self.width * self.vocabulary


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 128, 512),
    "0.5b": Shape(896, 24, 14, 2, 4864, 151_936),
    "1.5b": Shape(1536, 28, 12, 2, 8960, 151_936),
}


def lengths_of(options: argparse.Namespace, step: int) -> list[list[int]]:
    """Tokens of each answer of a step, by group: a function of the step alone."""
    rng = random.Random(step)
    shortest = max(1, options.answer_tokens // 16)
    return [[rng.randint(shortest, options.answer_tokens) for _ in range(options.answers)] for _ in range(options.prompts)]


def rows_of(options: argparse.Namespace, step: int) -> list[tuple[list[int], list[list[int]]]]:
    """Each prompt of a step with its answers: random tokens, and an end."""
    rng, vocabulary = random.Random(-1 - step), SHAPES[options.shape].vocabulary

    def tokens(count: int) -> list[int]:
        return rng.choices(range(2, vocabulary), k=count)

    groups = lengths_of(options, step)
    return [(tokens(options.prompt_tokens), [[*tokens(length - 1), END] for length in lengths]) for lengths in groups]


def model_of(options: argparse.Namespace, attention: str) -> Any:
    """The same weights for both, in float32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = SHAPES[options.shape]
    config = Qwen2Config(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, intermediate_size=shape.mlp_width, tie_word_embeddings=True,
        max_position_embeddings=options.prompt_tokens + options.answer_tokens, bos_token_id=None, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(options.device):
        return Qwen2ForCausalLM._from_config(config, attn_implementation=attention, dtype=torch.float32)


class Peak:
    """Of the memory of this process: the GPU's where there is one. The first step counts too."""

    def __init__(self, device: str) -> None:
        self._device = device

    def told(self, _: Any = None) -> dict[str, float]:
        import torch

        from reasoning_rl.learner.memory import MIB, peak_resident_bytes

        return {"peak_mib": (torch.cuda.max_memory_allocated() if self._device == "cuda" else peak_resident_bytes()) / MIB}


def ours(turns: Turns, options: argparse.Namespace) -> None:
    """`Learner.update` as the loop calls it."""
    import torch

    torch.set_num_threads(options.threads)
    learner, peak = learner_of(options), Peak(options.device)
    batches = [groups_of(rows_of(options, step)) for step in range(options.steps)]
    turns.begin()
    for step, groups in enumerate(batches):
        learner.update([learner.objective.arrange(groups)], step)  # ends with a number from the device, so that nothing is under way
        turns.step(peak.told())


def learner_of(options: argparse.Namespace) -> "Learner":
    """GRPO without a reference."""
    import torch

    from reasoning_rl.config import LearnerConfig, ObjectiveConfig
    from reasoning_rl.learner.learner import Learner, Models
    from reasoning_rl.objectives import build
    from reasoning_rl.policy.attention import GROUPED
    from reasoning_rl.policy.policy import Policy

    model = model_of(options, GROUPED)
    if options.checkpointing:
        model.gradient_checkpointing_enable()
    policy, objective = Policy(model, tokenizer_of(options), torch.bfloat16), build(ObjectiveConfig(kl=0.0), options.answer_tokens)
    config = LearnerConfig(
        learning_rate=LEARNING_RATE, tokens_per_microbatch=options.rows * (options.prompt_tokens + options.answer_tokens)
    )
    return Learner(Models(policy), objective, config, steps=options.steps)


def groups_of(rows: Sequence[tuple[list[int], list[list[int]]]]) -> "list[Group]":
    """Every second answer is right."""
    from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict

    return [
        Group(
            Prompt(Problem(f"p{number}", "random", "train", "?", "1"), "?", tuple(prompt)),
            tuple(Completion("", tuple(answer), (LOGPROB,) * len(answer)) for answer in answers),
            tuple(Verdict(float(row % 2)) for row in range(len(answers))),
        )
        for number, (prompt, answers) in enumerate(rows)
    ]


def trl(turns: Turns, options: argparse.Namespace) -> None:
    """TRL's trainer, its sampling replaced."""
    import os

    import torch
    from datasets import Dataset
    from sides.trainer import accumulated, train

    from reasoning_rl.config import LearnerConfig

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # of its `rollout_func`
    torch.set_num_threads(options.threads)
    answers = options.prompts * options.answers
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "output_dir": folder, "max_steps": options.steps, "per_device_train_batch_size": options.rows,
            "gradient_accumulation_steps": accumulated(answers, options.rows), "num_generations": options.answers,
            "max_completion_length": options.answer_tokens, "gradient_checkpointing": options.checkpointing, "bf16": True,
            "use_cpu": options.device == "cpu", "use_liger_kernel": options.liger and options.device == "cuda" and liger_is_there(),
        }  # fmt: skip
        dataset = Dataset.from_dict({"prompt": ["?"] * (options.prompts * options.steps)})
        learner, given = LearnerConfig(learning_rate=LEARNING_RATE), Given(options)
        model, peak = model_of(options, "sdpa"), Peak(options.device)
        train(turns, model, tokenizer_of(options), dataset, every_second, arguments, learner, peak.told, rollout_func=given)


def liger_is_there() -> bool:
    return find_spec("liger_kernel") is not None


def every_second(prompts: list[str], **_: Any) -> list[float]:
    """Rewards; groups have an even number of answers."""
    return [float(row % 2) for row in range(len(prompts))]


class Given:
    """The answers of each step, made beforehand, where TRL would sample."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._steps = [rows_of(options, step) for step in range(options.steps)]

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:  # noqa: ARG002
        rows = [(prompt, answer) for prompt, answers in self._steps[trainer.state.global_step] for answer in answers]
        logprobs = [[LOGPROB] * len(answer) for _, answer in rows]
        return {"prompt_ids": [prompt for prompt, _ in rows], "completion_ids": [answer for _, answer in rows], "logprobs": logprobs}


def tokenizer_of(options: argparse.Namespace) -> Any:
    """A word for each number: TRL wants to decode."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {str(number): number for number in range(SHAPES[options.shape].vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token=str(PAD))), eos_token=str(END), pad_token=str(PAD)
    )
