"""vLLM, started in this process for a policy and by what the recipe says of memory, threads and processes."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasoning_rl.config import SamplingConfig
from reasoning_rl.errors import EngineError, first_line
from reasoning_rl.policy.policy import Policy
from reasoning_rl.rollout.engine import VLLM_HELP
from reasoning_rl.rollout.vllm_process import undisturbed

if TYPE_CHECKING:
    from vllm import LLM

_CPU_BLOCK = 32
"""Tokens in a block of the attention cache, the fewest a CPU allows. Whole blocks are shared, and few prompts fill vLLM's own of 128."""
_BATCHED_TOKENS = 8192
"""That a forward pass takes at most, prompts included."""
_GIB = 2**30
REFUSALS = (AssertionError, AttributeError, ImportError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What vLLM raises where a model or its weights don't suit it; running out of memory is a RuntimeError too."""


@dataclass(frozen=True)
class Spread:
    """Over what one vLLM works, and how weights come to it."""

    processes: int
    """That its model is cut up for, on GPUs or on a CPU of this machine."""
    threads: int
    """Of all of them together, on a CPU."""
    transfer: str | None
    """vLLM's own way for weights to come, if they are to."""


def started(policy: Policy, model: str, config: SamplingConfig, revision: str | None, spread: Spread) -> "LLM":
    """vLLM with the model's architecture, and weights that mean nothing: the policy's own come with `load_weights`."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    with undisturbed():
        try:
            from vllm import LLM
            from vllm.exceptions import VLLMError
        except (ImportError, RuntimeError) as failure:
            raise EngineError(f"sampling.engine: vLLM can't be imported here ({first_line(failure)}); {VLLM_HELP}") from failure
    suited = _for_cpu(config, policy.context) if on_cpu() else _for_gpu(config)
    try:
        with undisturbed():
            return LLM(model=model, **_arguments(config, _dtype(policy, config), revision), **suited, **_spread(spread))
    except (*REFUSALS, VLLMError) as failure:
        given = budget()
        raise EngineError(
            f"sampling.engine: vLLM can't take {model} here: {_reason(failure)}. If it lacks memory, sampling.vllm.{given} is what it may "
            f"use ({getattr(config.vllm, given)}); sampling.engine=local takes every architecture that trains"
        ) from failure


def _dtype(policy: Policy, config: SamplingConfig) -> str:
    """On a CPU the weights' own: vLLM in bfloat16 would round between layers too, which the policy under autocast does not."""
    if config.vllm.dtype != "auto":
        return config.vllm.dtype
    return str((None if on_cpu() else policy.autocast) or policy.model.dtype).removeprefix("torch.")


def _arguments(config: SamplingConfig, dtype: str, revision: str | None) -> dict[str, Any]:
    """What the recipe says, in the words of vLLM's LLM."""
    return {
        "revision": revision,
        "tokenizer_revision": revision,
        "dtype": dtype,
        "load_format": "dummy",
        "max_model_len": -1,  # the model's own, or what there is cache for
        "max_num_seqs": config.batch_rows,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",  # behind temperature, top_k and top_p; at temperature 0, those of temperature 1
        "generation_config": "vllm",  # the recipe says how to sample, the model's folder doesn't
        "use_tqdm_on_load": False,
    }


def _for_cpu(config: SamplingConfig, context: int) -> dict[str, Any]:
    """Prompts are read whole: where one is read in parts, vLLM sets back its seed's generator, which those of a CPU can't."""
    return {
        "kv_cache_memory_bytes": int(config.vllm.cpu_cache_gib * _GIB),
        "block_size": _CPU_BLOCK,
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(config.batch_rows, _BATCHED_TOKENS, context),
    }


def _for_gpu(config: SamplingConfig) -> dict[str, Any]:
    return {
        "gpu_memory_utilization": config.vllm.memory,
        "enable_sleep_mode": config.vllm.sleep,
        "enforce_eager": config.vllm.eager,
        "max_num_batched_tokens": max(config.batch_rows, _BATCHED_TOKENS),
    }


def _spread(spread: Spread) -> dict[str, Any]:
    """Processes of one machine, which vLLM starts by itself whoever it was started by. On a CPU it would bind each to a node of memory."""
    arguments: dict[str, Any] = {"weight_transfer_config": {"backend": spread.transfer}} if spread.transfer else {}
    if spread.processes == 1:
        return arguments
    if on_cpu():
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ["OMP_NUM_THREADS"] = str(max(1, spread.threads // spread.processes))
    return {**arguments, "tensor_parallel_size": spread.processes, "distributed_executor_backend": "mp"}


def on_cpu() -> bool:
    """Whether this vLLM was built for CPUs."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def budget() -> str:
    """The setting of `sampling.vllm` that bounds its attention cache."""
    return "cpu_cache_gib" if on_cpu() else "memory"


def _reason(failure: BaseException) -> str:
    """The first lines of what vLLM says: pydantic's begin with their number alone."""
    return " ".join(line.strip() for line in str(failure).strip().splitlines()[:3]) or type(failure).__name__
