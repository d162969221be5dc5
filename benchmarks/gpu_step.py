"""The learner's step alone, forward, backward and optimiser, ours beside TRL's: tokens per second, utilisation, peak memory.

    python benchmarks/gpu_step.py --shape 0.5b --peak-tflops 989                    an H200, dense bfloat16
    python benchmarks/gpu_step.py --device cpu --shape tiny --steps 2 --block 1     to see that it runs

The model has Qwen2.5's shape and random weights; the answers are random tokens of mixed lengths, the same ones on both sides. Weights
and moments are float32, matrix products bfloat16. TRL's side is `trainer.train()` with a function that gives these answers where it would
sample, and with Liger's layers where they are installed. Each side is a process that works while the other sleeps. One JSON line per side
and block, then a summary without the first step of each.

`tokens_per_s` counts tokens of answers. Utilisation is FLOPs per second over `--peak-tflops`, where FLOPs are 6 per weight of a matrix and
position, and 12 · heads · head width per layer and pair of positions that attend; the output embedding counts for answers alone.
`mfu_rows` lets each answer have its own prompt, as a plain learner computes it, and `mfu` one prompt per group: no more has to be
computed. Padding and what is computed twice for the sake of memory do not count.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

from sides.learners import SHAPES, Shape, lengths_of, ours, trl
from sides.machine import facts
from sides.turns import Figures, blocks

WORKS = {"ours": ours, "trl": trl}
SKIPPED = 1


def main() -> None:
    options = arguments()
    done: dict[str, list[Figures]] = {name: [] for name in options.sides}
    for name, number, block in blocks({name: WORKS[name] for name in options.sides}, options, options.threads):
        first = options.block * number
        done[name] += [{**step, "step": first + index} for index, step in enumerate(block)]
        print(json.dumps({"benchmark": "gpu_step", "side": name, "block": number, **described(done[name][first:], options)}), flush=True)
    sides = {name: described(steps[SKIPPED:] or steps, options) for name, steps in done.items()}
    print(json.dumps({"benchmark": "gpu_step", "summary": sides, **compared(sides), **settings(options), **facts()}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if _has_gpu() else "cpu")
    parser.add_argument("--shape", choices=SHAPES, help="0.5b on a GPU, tiny on a CPU if left out")
    for option, default, text in (
        ("steps", None, "of each side; 12 on a GPU, 2 on a CPU"),
        ("block", None, "4 on a GPU, 1 on a CPU"),
        ("prompts", None, "per step; 16 on a GPU, 2 on a CPU"),
        ("prompt-tokens", None, "256 on a GPU, 16 on a CPU"),
        ("answer-tokens", None, "at most: 1024 on a GPU, 32 on a CPU; evenly from a sixteenth of it on"),
        ("answers", 8, "G"),
        ("rows", 8, "of TRL's micro-batches; ours have as many tokens as they would have at full length"),
        ("threads", 2, "on a CPU"),
    ):
        parser.add_argument(f"--{option}", type=int, default=default, help=text)
    parser.add_argument("--checkpointing", action="store_true", help="of activations, on both sides")
    parser.add_argument("--no-liger", dest="liger", action="store_false", help="TRL without it even where it is installed")
    parser.add_argument("--peak-tflops", type=float, help="of the device in this precision, dense; 989 of an H200 in bfloat16")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=list(WORKS))
    return filled(parser.parse_args())


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def filled(options: argparse.Namespace) -> argparse.Namespace:
    """What was left out, by the device."""
    gpu = {"shape": "0.5b", "steps": 12, "block": 4, "prompts": 16, "prompt_tokens": 256, "answer_tokens": 1024}
    cpu = {"shape": "tiny", "steps": 2, "block": 1, "prompts": 2, "prompt_tokens": 16, "answer_tokens": 32}
    for name, value in (gpu if options.device == "cuda" else cpu).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


@dataclass(frozen=True)
class Work:
    """What has to be computed for a step: positions that go through the layers, those that get logits, and pairs that attend."""

    positions: int
    predictions: int
    pairs: int

    def flops(self, shape: Shape) -> int:
        """Of forward and backward."""
        attention = 12 * shape.layers * shape.heads * shape.head_width * self.pairs
        return 6 * (shape.layer_weights * shape.layers * self.positions + shape.head_weights * self.predictions) + attention


def work(prompt: int, groups: Sequence[Sequence[int]], *, shared: bool) -> Work:
    """For answers of these lengths, whose prompts have `prompt` tokens each: one for a group, or one for each answer."""
    answers = list(chain.from_iterable(groups))
    prompts = len(groups) if shared else len(answers)
    pairs = prompts * (prompt * (prompt + 1) // 2) + sum(length * prompt + length * (length + 1) // 2 for length in answers)
    return Work(prompts * prompt + sum(answers), sum(answers), pairs)


def described(steps: Sequence[Figures], options: argparse.Namespace) -> dict[str, Any]:
    """Medians over steps; the peak is that of the process so far."""
    groups = {step["step"]: lengths_of(options, step["step"]) for step in steps}
    rates = [sum(map(sum, groups[step["step"]])) / step["seconds"] for step in steps]
    return {
        "steps": len(steps), "seconds_per_step": round(median(step["seconds"] for step in steps), 4), "tokens_per_s": round(median(rates)),
        **{name: _utilisation(steps, groups, options, shared=name == "mfu") for name in ("mfu", "mfu_rows")},
        "peak_mib": round(max(step["peak_mib"] for step in steps)),
    }  # fmt: skip


def _utilisation(
    steps: Sequence[Figures], groups: dict[int, list[list[int]]], options: argparse.Namespace, *, shared: bool
) -> float | None:
    if options.peak_tflops is None:
        return None
    done = [work(options.prompt_tokens, groups[step["step"]], shared=shared).flops(SHAPES[options.shape]) for step in steps]
    return round(median(flops / step["seconds"] for flops, step in zip(done, steps, strict=True)) / (options.peak_tflops * 1e12), 4)


def compared(sides: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Ours over TRL's."""
    if set(sides) != set(WORKS):
        return {}
    names = {"tokens_per_s": "tokens_ratio", "peak_mib": "peak_ratio"}
    return {ratio: round(sides["ours"][name] / sides["trl"][name], 2) for name, ratio in names.items()}


def settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"skipped": SKIPPED, **vars(options), "gpu": _gpu_name(options.device)}


def _gpu_name(device: str) -> str | None:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else None


if __name__ == "__main__":
    main()
