"""Seconds per step of GRPO, ours beside TRL's GRPOTrainer: same policy, problems in the same order, answers, schedule, precision and cores.

    python benchmarks/grpo_step.py --run runs/cpu --steps 50 --block 10 --precision bf16

Both begin as the policy that the run's training began as, and learn by `--recipe` under the overrides given behind the options. Each is
a process that works while the other sleeps. One JSON line per block, then a summary without the first step of each side, which builds
kernels (blocks count it). Leave the machine alone meanwhile: TRL's threads wait for each other at every operator, so that other work slows
it down more than ours. `load_before` says what was going on.

Ours is the whole loop: sampling, judging in the judge's process, the update, metrics.jsonl, the answers as parquet. TRL's is
`trainer.train()` with our verifiers as its reward function, in process, and all threads: a step is one batch, nothing is saved or reported,
no checkpointing of gradients. Both compute entropy, clipping and lengths at each step; ours also compares sampler and learner.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any

from sides.loop import ours
from sides.machine import facts
from sides.trainer import trl
from sides.turns import Figures, blocks

WORKS = {"ours": ours, "trl": trl}
SKIPPED = 1


def main() -> None:
    options, load = arguments(), os.getloadavg()[0]
    done: dict[str, list[list[Figures]]] = {name: [] for name in options.sides}
    for name, number, block in blocks({name: WORKS[name] for name in options.sides}, options, options.threads):
        done[name].append(block)
        print(json.dumps({"benchmark": "grpo_step", "side": name, "block": number, **described(block)}), flush=True)
    print(json.dumps({"benchmark": "grpo_step", "summary": summary(done), "load_before": load, **settings(options), **facts()}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/cpu"), help="where the problems and the policy come from")
    parser.add_argument("--model", help="another policy's folder")
    parser.add_argument("--recipe", default="cpu")
    parser.add_argument("--steps", type=int, default=50, help="of each side; the schedule ends with the last")
    parser.add_argument("--block", type=int, default=10)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of matrix products; weights are float32")
    parser.add_argument("--engine", choices=("local", "vllm"), default="local", help="ours")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=list(WORKS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="TRL's; ours has learner.processes of one thread each")
    parser.add_argument("--trl-rows", type=int, help="of TRL's micro-batches; the whole step if left out")
    parser.add_argument("--trl-cache", choices=("dynamic", "static"), default="dynamic", help="of generate()")
    parser.add_argument("overrides", nargs="*", help="of the recipe, such as sampling.max_tokens=32")
    options = parser.parse_args()
    if unknown := [name for name in options.sides if name not in WORKS]:
        parser.error(f"--sides: no side is called {', '.join(unknown)}; known: {', '.join(WORKS)}")
    if "trl" in options.sides and not find_spec("trl"):
        print("TRL is not installed (pip install -e '.[bench]'): ours alone", file=sys.stderr)
        options.sides.remove("trl")
    if options.model is None:
        options.model = json.loads((options.run / "base.json").read_text(encoding="utf-8"))["model"]
    return options


def described(block: Sequence[Figures]) -> dict[str, Any]:
    """A block in one line. `tokens` are those of the answers, per step."""
    figures = ("reward", "pass_rate", "entropy")
    return {
        "steps": len(block),
        "seconds_per_step": round(_median_s(block), 3),
        "seconds": [round(step["seconds"], 3) for step in block],
        "tokens": round(fmean(step["tokens"] for step in block)),
        **{name: _mean([step[name] for step in block if step[name] is not None]) for name in figures},
    }


def _mean(values: Sequence[float]) -> float | None:
    """Where nothing was learned, there is no entropy."""
    return round(fmean(values), 4) if values else None


def summary(done: dict[str, list[list[Figures]]]) -> dict[str, Any]:
    """Of each side, and how many times as long TRL takes."""
    sides = {name: _summed(of_side) for name, of_side in done.items()}
    if set(sides) != set(WORKS):
        return sides
    ratios = {f"trl_over_ours_{name}": round(sides["trl"][name] / sides["ours"][name], 2) for name in ("median_s", "mean_s")}
    by_block = [round(_median_s(theirs) / _median_s(own), 2) for own, theirs in zip(done["ours"], done["trl"], strict=True)]
    return {**sides, **ratios, "trl_over_ours_by_block": by_block}


def _median_s(block: Sequence[Figures]) -> float:
    return median(step["seconds"] for step in block)


def _summed(of_side: list[list[Figures]]) -> dict[str, Any]:
    seconds = [step["seconds"] for block in of_side for step in block]
    kept = seconds[SKIPPED:] or seconds
    rewards = [round(fmean(step["reward"] for step in block), 4) for block in of_side]
    return {
        "median_s": round(median(kept), 3), "mean_s": round(fmean(kept), 3), "first_s": round(seconds[0], 3),
        "tokens": round(fmean(step["tokens"] for block in of_side for step in block)),
        "first_reward": rewards[0], "last_reward": rewards[-1], "rewards": rewards,
    }  # fmt: skip


def settings(options: argparse.Namespace) -> dict[str, Any]:
    names = ("recipe", "steps", "block", "precision", "engine", "threads", "trl_rows", "trl_cache", "overrides")
    return {"skipped": SKIPPED, **{name: getattr(options, name) for name in names}}


if __name__ == "__main__":
    main()
