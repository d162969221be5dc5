"""vLLM as far as our engine knows it: what it is told is written down, and every answer is the token 5, the latest request's first."""

import os
import random
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM


class VLLMError(Exception):
    """Of vllm.exceptions: no ValueError."""


class FakeLLM:
    """One for a test; `calls` in their order."""

    on_cpu = True
    unfit = ""
    """What the constructor complains of."""
    finish_reason = "length"
    death: Exception | None = None
    """What its second step in a row raises; from then on all fails."""
    dead = False
    begun: Callable[[], Any] = staticmethod(lambda: None)
    """Called in the middle of its start."""
    calls: list[Any] = []

    def __init__(self, **arguments: Any) -> None:
        self.calls.append(("LLM", arguments))
        type(self).begun()
        os.environ["LD_PRELOAD"] = "libtcmalloc.so"
        os.environ["NUMEXPR_MAX_THREADS"] = "1"
        random.seed(0)
        torch.manual_seed(0)
        torch.set_num_threads = lambda nthreads: None  # noqa: ARG005
        if self.unfit:
            raise ValueError(self.unfit)
        self.model = AutoModelForCausalLM.from_pretrained(arguments["model"])
        self.model_config = SimpleNamespace(max_model_len=100, dtype=getattr(torch, arguments["dtype"]))
        self.model_executor = SimpleNamespace(is_failed=False)
        self.requests: dict[str, Any] = {}
        self.llm_engine = self.engine_core = self

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:  # noqa: ARG002
        if params.temperature > 2:
            raise VLLMError("temperature must be in [0, 2]")
        self.requests[request_id] = params

    def has_unfinished_requests(self) -> bool:
        return bool(self.requests)

    def _require_alive(self) -> None:
        if self.dead:
            raise RuntimeError("what is dead does nothing")

    def step(self) -> list[Any]:
        request_id, params = self.requests.popitem()
        self.calls.append(("step", torch.get_num_threads()))
        if self.death and self.calls[-2][0] == "step":
            self.dead = True
            raise self.death
        logprobs = SimpleNamespace(logprobs=[-1.0] * params.max_tokens)
        answer = SimpleNamespace(token_ids=[5] * params.max_tokens, logprobs=logprobs, finish_reason=self.finish_reason)
        pending = SimpleNamespace(request_id="0", finished=False)
        return [pending, SimpleNamespace(request_id=request_id, finished=True, outputs=[answer])]

    def abort_request(self, request_ids: list[str]) -> None:
        self._require_alive()
        for request_id in request_ids:
            self.requests.pop(request_id, None)

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        self.calls.append(method)
        if method == "reload_weights":
            self.model.load_state_dict(dict(kwargs["weights_iterator"]), strict=True)
        elif method == "update_weights":
            self.model.load_state_dict(kwargs["update_info"], strict=False)

    def apply_model(self, work: Callable[[Any], Any]) -> list[Any]:
        self.calls.append("compare")
        return [work(self.model)]

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset")
        return not self.requests

    def sleep(self, level: int) -> None:
        self.calls.append(("sleep", level))

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(("wake", *tags))

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        self._require_alive()


def installed(patch: pytest.MonkeyPatch, **behaviour: Any) -> type[FakeLLM]:
    """A fake of this test alone, where vLLM would be imported from."""
    made: type[FakeLLM] = type("LLM", (FakeLLM,), {"calls": [], **behaviour})
    platform = SimpleNamespace(is_cpu=lambda: behaviour.get("on_cpu", FakeLLM.on_cpu))
    contents: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": made, "SamplingParams": SimpleNamespace},
        "vllm.distributed.parallel_state": {"cleanup_dist_env_and_memory": lambda: made.calls.append("cleanup")},
        "vllm.exceptions": {"VLLMError": VLLMError},
        "vllm.inputs": {"tokens_input": list},
        "vllm.platforms": {"current_platform": platform},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(FINAL_ONLY="final")},
    }
    for name, attributes in contents.items():
        module = ModuleType(name)
        for attribute, content in attributes.items():
            setattr(module, attribute, content)
        patch.setitem(sys.modules, name, module)
    patch.delenv("LD_PRELOAD", raising=False)
    return made
