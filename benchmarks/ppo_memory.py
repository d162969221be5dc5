"""Memory and seconds of a PPO step and of a GRPO step on the same model, beside what counting weights predicts. One JSON line each.

    python benchmarks/ppo_memory.py --width 768 --layers 10 --steps 3

The model has Qwen3's shape and random weights, the groups are random tokens; sampling, which is the same for all, is left out. Each setting
has a process of its own. Predicted: 4 bytes per weight of each model, 12 more for one that is trained (gradient and Adam's two moments).
Measured, each less what the process held after an update of a toy model, so that libraries are out: `held_mib` between two updates, when
the allocator has given back what is free, and `added_mib` at the peak, with activations and what the allocator keeps. Linux.
"""

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SETTINGS = {
    "grpo": {"name": "grpo", "kl": 0.0},
    "grpo with a reference": {"name": "grpo", "kl": 0.04},
    "ppo": {"name": "ppo"},
}
HELD, TRAINED = 4, 12
"""Bytes per weight in float32: of any model, and more of one that is trained."""
VOCABULARY = 512
OPTIONS = {"width": 768, "layers": 10, "steps": 3, "prompts": 2, "answers": 4, "tokens": 32, "microbatch": 256}


def main() -> None:
    asked = _arguments()
    if asked.setting:
        print(json.dumps(measured(asked)))
        return
    for setting in SETTINGS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--setting", setting], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in OPTIONS.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--setting", choices=SETTINGS)
    return parser.parse_args()


def measured(asked: argparse.Namespace) -> dict[str, object]:
    """One setting. `seconds_per_step` is the median but for the first step, which allocates."""
    updated(asked, width=64, layers=1, steps=1)
    before, started = _held_and_peak_mib(asked.device)
    learner, seconds = updated(asked, asked.width, asked.layers, asked.steps)
    held, peak = _held_and_peak_mib(asked.device)
    models = [model for model in (learner.models.policy, learner.models.reference, learner.models.value) if model]
    weights = sum(parameter.numel() for parameter in learner.parameters)
    trained = 2 if learner.models.value else 1
    predicted = weights * (HELD * len(models) + TRAINED * trained) / 2**20
    return {
        "benchmark": "ppo_memory", "setting": asked.setting, "device": asked.device, "models": len(models), "trained": trained,
        "weights_million": round(weights / 1e6, 1), "predicted_mib": round(predicted),
        "held_mib": round(held - before), "added_mib": round(peak - started), "peak_mib": round(peak),
        "seconds_per_step": round(median(seconds[1:] or seconds), 2), "steps": asked.steps,
    }  # fmt: skip


def updated(asked: argparse.Namespace, width: int, layers: int, steps: int):
    """A learner after some updates, and the seconds of each."""
    from reasoning_rl.config import LearnerConfig, ObjectiveConfig
    from reasoning_rl.learner.learner import Learner, Models
    from reasoning_rl.objectives import build
    from reasoning_rl.policy.values import ValueModel

    objective = build(ObjectiveConfig(**SETTINGS[asked.setting]), asked.tokens)
    reference = policy(asked, width, layers) if "reference" in objective.needs else None
    value = ValueModel(policy(asked, width, layers)) if "values" in objective.needs else None
    config = LearnerConfig(tokens_per_microbatch=asked.microbatch)
    learner = Learner(Models(policy(asked, width, layers), reference, value), objective, config, steps=steps)
    return learner, [_timed_update(learner, groups(asked, step), step) for step in range(steps)]


def _timed_update(learner, sampled, step: int) -> float:
    samples = learner.objective.arrange(sampled)
    start = time.perf_counter()
    learner.update([samples], step)  # ends with a number read from the device, so that nothing is under way
    return time.perf_counter() - start


def policy(asked: argparse.Namespace, width: int, layers: int):
    """The same weights at every call."""
    from reasoning_rl.config import ArchitectureConfig, PolicyConfig
    from reasoning_rl.policy.policy import build_policy

    heads = max(1, width // 64)
    shape = ArchitectureConfig(
        layers=layers, width=width, heads=heads, kv_heads=heads // 2 if heads % 2 == 0 else heads, head_width=64, mlp_width=3 * width,
        context=2 * asked.tokens + 64,
    )  # fmt: skip
    return build_policy(shape, PolicyConfig(device=asked.device, autocast="off"), Tokens(), seed=0)


class Tokens:
    """As much of a tokenizer as a model is built from."""

    eos_token_id, pad_token_id = 0, 1

    def __len__(self) -> int:
        return VOCABULARY


def groups(asked: argparse.Namespace, step: int):
    """Random answers, every second one right."""
    from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict

    rng = random.Random(step)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(2, VOCABULARY), k=count))

    verdicts = tuple(Verdict(float(answer % 2)) for answer in range(asked.answers))
    return [
        Group(
            Prompt(Problem(f"p{number}", "random", "train", "?", "1"), "?", tokens(asked.tokens)),
            tuple(Completion("", tokens(asked.tokens)) for _ in verdicts),
            verdicts,
        )
        for number in range(asked.prompts)
    ]


def _held_and_peak_mib(device: str) -> tuple[float, float]:
    """Of this process, now and at most so far."""
    import torch

    from reasoning_rl.learner.memory import peak_resident_bytes

    if device == "cuda":
        return torch.cuda.memory_allocated() / 2**20, torch.cuda.max_memory_allocated() / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, peak_resident_bytes() / 2**20


if __name__ == "__main__":
    main()
