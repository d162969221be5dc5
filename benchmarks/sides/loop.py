"""Our side of ../grpo_step.py: the loop of `reasoning-rl train`, and what both sides are told."""

import argparse
import sys
import tempfile
from collections.abc import Mapping

from sides.turns import Turns

from reasoning_rl.config import Config
from reasoning_rl.recipes import load_config


def config_of(options: argparse.Namespace, runs: str) -> Config:
    """The recipe under the overrides, and nothing but steps: no evaluation, no checkpoint before the last."""
    autocast = {"bf16": "bfloat16", "fp32": "off"}[options.precision]
    fixed = [
        f"runs={runs}", f"sampling.engine={options.engine}", f"policy.autocast={autocast}", f"train.steps={options.steps}",
        "train.eval_every=0", "train.save_every=0", "train.trackers=[]",
    ]  # fmt: skip
    return load_config(options.recipe, [*options.overrides, *fixed])


def ours(turns: Turns, options: argparse.Namespace) -> None:
    """As the stage `train` does it, from a policy that is there."""
    from reasoning_rl.claim import claimed
    from reasoning_rl.data.store import load_prompts
    from reasoning_rl.journal import Journal
    from reasoning_rl.learner.crew import Crew
    from reasoning_rl.learner.worker import Open, Prepare
    from reasoning_rl.rollout.gather import Asking
    from reasoning_rl.rollout.judge import Judge
    from reasoning_rl.train import Loop

    with tempfile.TemporaryDirectory() as runs:
        config = config_of(options, runs)
        prompts = load_prompts(options.run / "data", "train")
        judge, crew, journal = Judge(config.rewards, config.judge), Crew(config.learner.processes), Journal(config.folder)
        with claimed(config.folder) as claim, judge, crew, journal:
            crew.open(Open(options.model, config.policy, config.sampling))
            crew.require_fit(prompts, config.sampling.max_tokens)
            crew.prepare(Prepare(config.objective, config.learner, config.sampling, config.policy, config.train.steps, options.model))
            source = Asking(prompts, crew, judge, config.sampling, seed_of(config))
            loop = Loop(config, claim, crew, judge, journal, Reporter(turns), source, held_out=())
            turns.begin()
            loop.run(0)


def seed_of(config: Config) -> int:
    """Of the order of the problems."""
    return config.seed if config.train.seed is None else config.train.seed


class Reporter:
    """Stands where the loop's progress does."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def phase(self, name: str) -> None:
        """Of no interest."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def step(self, row: Mapping[str, float]) -> None:
        """A step is recorded."""
        told = {"reward": row["reward"], "pass_rate": row["pass_rate"], "tokens": row["num_tokens"]}
        self._turns.step({**told, "entropy": row.get("entropy")})
