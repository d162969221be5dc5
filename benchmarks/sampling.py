"""Tokens per second of the engines and of `generate()` of transformers: same policy, prompts, answers per prompt and limit, in turn.

    python benchmarks/sampling.py --run runs/cpu --rounds 5 --processes 2 --engines local,vllm,generate

Prints one JSON line: medians over the rounds after a warm-up. All sample at temperature 1 with all of the vocabulary. `vllm` is our
engine, `vllm_bare` is `LLM.generate` of the same vLLM with the same requests, seeds and all, made beforehand; `layer_cost` is what ours
takes longer, the median of the rounds' own. Neither finds an earlier round's prompts in vLLM's cache, as after each step of training.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from sides.machine import facts
from transformers import AutoModelForCausalLM, GenerationConfig

from reasoning_rl import runfolder
from reasoning_rl.config import Config
from reasoning_rl.data.store import load_prompts
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open
from reasoning_rl.policy.policy import load_policy
from reasoning_rl.recipes import load_config
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.engine import Sampling

Sampler = Callable[[int], int]
"""Of a round: samples by its number as the seed, and says how many tokens."""
ENGINES = ("local", "vllm", "generate")


def main() -> None:
    options = arguments()
    config = load_config(options.run / "config.yaml")
    policy = options.model or runfolder.policies(config)[options.policy]
    prompts = load_prompts(config.folder / "data", "eval")[: config.sampling.prompts_per_step]
    sampling = Sampling(config.sampling.group_size, config.sampling.max_tokens)
    with ExitStack() as stack:
        samplers = started(stack, options, config, policy, prompts, sampling)
        rates = in_turn(samplers, options.rounds)
    medians = {name: round(statistics.median(found)) for name, found in rates.items()}
    asked = {"processes": options.processes, "policy": options.model or options.policy, "rounds": options.rounds}
    print(json.dumps({"benchmark": "sampling", **asked, **facts(), "tokens_per_second": medians, **compared(medians, rates)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/cpu"), help="a trained run")
    parser.add_argument("--policy", choices=["base", "trained"], default="trained")
    parser.add_argument("--model", help="another policy's folder")
    parser.add_argument("--engines", type=lambda text: text.split(","), help=f"of {','.join(ENGINES)}; all that are installed if left out")
    parser.add_argument("--processes", type=int, default=1, help="of the local engine; the others have one process with all threads")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.engines is None:
        options.engines = [name for name in ENGINES if name != "vllm" or find_spec("vllm")]
    if unknown := [name for name in options.engines if name not in ENGINES]:
        parser.error(f"--engines: none is called {', '.join(unknown)}; known: {', '.join(ENGINES)}")
    return options


def started(
    stack: ExitStack, options: argparse.Namespace, config: Config, policy: str, prompts: Sequence[Prompt], sampling: Sampling
) -> dict[str, Sampler]:
    """The engines that were asked for. vLLM comes first: it wants to see its memory free."""
    samplers: dict[str, Sampler] = {}
    if "vllm" in options.engines:
        samplers |= vllm(stack, config, policy, prompts, sampling, options.rounds)
    if "local" in options.engines:
        crew = stack.enter_context(Crew(options.processes))
        crew.everyone(Open(policy, config.policy, config.sampling.model_copy(update={"engine": "local"})))
        samplers["local"] = local(crew, prompts, sampling)
    if "generate" in options.engines:
        samplers["generate"] = generate(policy, prompts, sampling)
    return samplers


def in_turn(samplers: dict[str, Sampler], rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each, round by round, every second one backwards; round 0 warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in samplers}
    for seed in range(rounds + 1):
        for name in list(samplers)[:: -1 if seed % 2 else 1]:
            start = time.perf_counter()
            tokens = samplers[name](seed)
            rates[name].append(tokens / (time.perf_counter() - start))
    return {name: found[1:] for name, found in rates.items()}


def compared(medians: dict[str, int], rates: dict[str, list[float]]) -> dict[str, object]:
    """Times the rate of `generate()`, and the cost of our layer over vLLM."""
    told: dict[str, object] = {}
    if "generate" in medians:
        told["over_generate"] = {name: round(rate / medians["generate"], 2) for name, rate in medians.items() if name != "generate"}
    if "vllm" in medians:
        told["layer_cost"] = round(
            statistics.median(bare / ours - 1 for bare, ours in zip(rates["vllm_bare"], rates["vllm"], strict=True)), 4
        )
    return told


def local(crew: Crew, prompts: Sequence[Prompt], sampling: Sampling) -> Sampler:
    def sample(seed: int) -> int:
        return sum(len(answer.token_ids) for row in crew.generate(prompts, replace(sampling, seed=seed)) for answer in row)

    return sample


def vllm(stack: ExitStack, config: Config, model: str, prompts: Sequence[Prompt], sampling: Sampling, rounds: int) -> dict[str, Sampler]:
    """Our engine, and the vLLM inside it."""
    from vllm.inputs import tokens_input

    from reasoning_rl.rollout.vllm import VLLMEngine, _request
    from reasoning_rl.rollout.vllm_process import threaded

    cores = os.cpu_count() or 1
    policy = load_policy(model, config.policy)
    engine = VLLMEngine(policy, model, config.sampling, threads=cores)
    stack.callback(engine.close)
    engine.load_weights(policy.weights(), 0)
    places, ends = [(prompt, row) for prompt in prompts for row in range(sampling.n)], sorted(policy.end_tokens)
    requests = [
        [_request(prompt, row, replace(sampling, seed=seed), ends) for prompt, row in places] for seed in range(rounds + 1)
    ]  # made beforehand: what ours needs to make them is a cost of ours

    def layer(seed: int) -> int:
        engine._running.reset_prefix_cache()
        return sum(len(answer.token_ids) for row in engine.generate(prompts, replace(sampling, seed=seed)) for answer in row)

    def bare(seed: int) -> int:
        engine._running.reset_prefix_cache()
        with threaded(cores):
            inputs = [tokens_input(list(prompt.token_ids)) for prompt, _ in places]
            outputs = engine._running.generate(inputs, requests[seed], use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return {"vllm": layer, "vllm_bare": bare}


def generate(policy: str, prompts: Sequence[Prompt], sampling: Sampling) -> Sampler:
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
