"""A cluster on this machine: what each hop costs, and steps by the number of samplers and of learner ranks.

    python benchmarks/scaling.py                               hops, then a round of short runs
    python benchmarks/scaling.py --only hops --rounds 9
    python benchmarks/scaling.py --only runs --rounds 3 --steps 12 --keep runs/scaling

A run is `reasoning-rl train` on the recipe `smoke` with a cluster of its own; every round makes all runs once more, in turn, so that what
else the machine does meets all. They begin with the same policy. One JSON line per hop, and per run and round; then medians over rounds.
Processes beyond the number of cores take turns on them: such a run shows what a process more costs, not what it gains. `--keep` leaves the
runs' folders to `benchmarks/step_time.py --fit`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from sides.machine import facts

from reasoning_rl.journal import metrics_rows

Line = dict[str, Any]
Overrides = tuple[str, ...]
RUNS: dict[str, Overrides] = {
    "1-1": (),
    "2-1": ("cluster.samplers=2",),
    "4-1": ("cluster.samplers=4",),
    "1-2": ("cluster.learners=2",),
    "1-4": ("cluster.learners=4",),
    "1-2-whole": ("cluster.learners=2", "cluster.shard=false"),
    "1-4-whole": ("cluster.learners=4", "cluster.shard=false"),
    "1-1-g16": ("sampling.group_size=16",),
    "2-2-g16": ("sampling.group_size=16", "cluster.samplers=2", "cluster.learners=2"),
    "1-1-ahead": ("train.off_policy_steps=2", "learner.old_logprobs=engine"),
}
"""Samplers and learner ranks, and what else differs from the first. `whole`: each rank holds all weights. `g16`: 16 answers to a prompt."""
WARMING = 1
FIGURES = {
    "sample_tokens_s": lambda row: row["sample/tokens_per_second"],
    "learn_tokens_s": lambda row: row["num_tokens"] / row["seconds/learn"],
    "step_s": lambda row: row["step_time"],
    "sample_s": lambda row: row["seconds/sample"],
    "learn_s": lambda row: row["seconds/learn"],
    "tokens": lambda row: row["num_tokens"],
}


def main() -> None:
    options = arguments()
    if options.only != "runs":
        for line in hops(options):
            told({**line, "rounds": options.rounds})
    if options.only != "hops":
        done: dict[str, list[Line]] = {}
        for name, line in runs(options):
            done.setdefault(name, []).append(line)
            told({"run": name, **line})
        told({"medians": {name: medians(lines) for name, lines in done.items()}, "rounds": options.rounds, "steps": options.steps})
    told(facts())


def told(line: Line) -> None:
    print(json.dumps({"benchmark": "scaling", **line}), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("hops", "runs"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6, help="of a run; the first is left out")
    parser.add_argument("--prompts", type=int, default=16, help="a step")
    parser.add_argument(
        "--sizes", type=lambda text: [float(size) for size in text.split(",")], default=[3.3, 64], help="of weights, in MiB"
    )
    parser.add_argument("--runs", type=lambda text: text.split(","), default=list(RUNS), help=f"of {','.join(RUNS)}")
    parser.add_argument("--keep", type=Path, help="a folder that isn't there yet")
    options = parser.parse_args()
    if unknown := [name for name in options.runs if name not in RUNS]:
        parser.error(f"--runs: none is called {', '.join(unknown)}; known: {', '.join(RUNS)}")
    return options


def hops(options: argparse.Namespace) -> Iterator[Line]:
    """In a Ray cluster of our own."""
    from sides.hops import hops as each

    from reasoning_rl.cluster.ray_session import connected
    from reasoning_rl.config import ClusterConfig

    with connected(ClusterConfig(address="local")):
        yield from each(options.sizes, options.rounds)


def runs(options: argparse.Namespace) -> Iterator[tuple[str, Line]]:
    """Name and medians over the steps of each run, round by round."""
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trained(folder, "start", ["train.steps=0"])
        start = json.loads((folder / "start" / "base.json").read_text(encoding="utf-8"))["model"]
        for number in range(options.rounds):
            for name in options.runs:
                trained(folder, f"{name}-{number}", [*settings(start, options), *RUNS[name]])
                yield name, seen(folder / f"{name}-{number}")


def settings(start: str, options: argparse.Namespace) -> list[str]:
    """That all runs share: a sampler and a learner, eight answers to a prompt, nothing but steps."""
    return [
        f"policy.model={start}", "cold_start.enabled=false", "cluster.address=local", "sampling.engine=local", "judge.workers=1",
        f"sampling.prompts_per_step={options.prompts}", "sampling.group_size=8", f"train.steps={options.steps}",
        "train.eval_every=0", "train.save_every=0",
    ]  # fmt: skip


def trained(folder: Path, name: str, overrides: list[str]) -> None:
    """A run of the recipe `smoke`. SystemExit with what it said, if it fails."""
    command = [sys.executable, "-m", "reasoning_rl", "train", "--recipe", "smoke", f"name={name}", f"runs={folder}", *overrides]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def seen(folder: Path) -> Line:
    """Medians over the steps of a run."""
    rows = [row for row in metrics_rows(folder) if "step_time" in row][WARMING:]
    return {name: float(f"{median(map(figure, rows)):.4g}") for name, figure in FIGURES.items()}


def medians(lines: list[Line]) -> Line:
    return {name: median(line[name] for line in lines) for name in lines[0]}


if __name__ == "__main__":
    main()
