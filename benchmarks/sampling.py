"""Tokens per second of the local engine beside `generate()` of transformers: same policy, prompts, answers per prompt and limit, in turn.

    python benchmarks/sampling.py --run runs/cpu --rounds 5

Prints one JSON line: medians over the rounds after a warm-up. Both sample at temperature 1 with all of the vocabulary.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from reasoning_rl import runfolder
from reasoning_rl.data.store import load_prompts
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open
from reasoning_rl.recipes import load_config
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.engine import Sampling


def main() -> None:
    options = arguments()
    config = load_config(options.run / "config.yaml")
    policy = runfolder.policies(config)[options.policy]
    prompts = load_prompts(config.folder / "data", "eval")[: config.sampling.prompts_per_step]
    sampling = Sampling(config.sampling.group_size, config.sampling.max_tokens)
    with Crew(options.processes) as crew:
        crew.everyone(Open(policy, config.policy, config.sampling))
        engines = {"local": local(crew, prompts, sampling), "generate": generate(policy, prompts, sampling)}
        rates = in_turn(engines, options.rounds)
    medians = {name: round(statistics.median(found)) for name, found in rates.items()}
    facts = {"processes": options.processes, "policy": options.policy, "rounds": options.rounds, "cores": os.cpu_count()}
    ratio = round(medians["local"] / medians["generate"], 2)
    print(
        json.dumps(
            {
                "benchmark": "sampling",
                **facts,
                "machine": platform.processor() or platform.machine(),
                "tokens_per_second": medians,
                "ratio": ratio,
            }
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/cpu"), help="a trained run")
    parser.add_argument("--policy", choices=["base", "trained"], default="trained")
    parser.add_argument("--processes", type=int, default=1, help="of the local engine; generate() has one process with all threads")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def in_turn(engines: dict[str, Callable[[int], int]], rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each engine, round by round; round 0 warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for seed in range(rounds + 1):
        for name, sample in engines.items():
            start = time.perf_counter()
            tokens = sample(seed)
            rates[name].append(tokens / (time.perf_counter() - start))
    return {name: found[1:] for name, found in rates.items()}


def local(crew: Crew, prompts: Sequence[Prompt], sampling: Sampling) -> Callable[[int], int]:
    def sample(seed: int) -> int:
        return sum(len(answer.token_ids) for row in crew.generate(prompts, replace(sampling, seed=seed)) for answer in row)

    return sample


def generate(policy: str, prompts: Sequence[Prompt], sampling: Sampling) -> Callable[[int], int]:
    """transformers as its documentation uses it: left-padded rows, one per answer, dynamic cache, scaled-dot-product attention."""
    model = AutoModelForCausalLM.from_pretrained(policy, attn_implementation="sdpa")
    end = model.config.eos_token_id
    width = max(len(prompt.token_ids) for prompt in prompts)
    rows = [[end] * (width - len(prompt.token_ids)) + list(prompt.token_ids) for prompt in prompts for _ in range(sampling.n)]
    mask = [[0] * (width - len(prompt.token_ids)) + [1] * len(prompt.token_ids) for prompt in prompts for _ in range(sampling.n)]
    ids, attention = torch.tensor(rows), torch.tensor(mask)
    settings = GenerationConfig(
        max_new_tokens=sampling.max_tokens, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=end, pad_token_id=end
    )

    def sample(seed: int) -> int:
        torch.manual_seed(seed)
        with all_threads(), torch.inference_mode():
            answers = model.generate(ids, attention_mask=attention, generation_config=settings)[:, width:]
        ended = (answers == end).int()
        return int((ended.cumsum(1) - ended == 0).sum())  # up to and with the first end

    return sample


@contextmanager
def all_threads() -> Iterator[None]:
    """A crew of several processes leaves one thread to each; `generate()` alone may use every core."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()
