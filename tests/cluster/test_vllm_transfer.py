"""Weights that vLLM's own transfer brings, with vLLM's protocol on both sides and no GPU: only NCCL is a queue."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import make_prompts
from torch import Tensor

from reasoning_rl.cluster import transfer
from reasoning_rl.cluster.transfer import Fleet, Sender
from reasoning_rl.config import ArchitectureConfig, PolicyConfig, SamplingConfig
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import EngineError
from reasoning_rl.policy.blank import blank_policy
from reasoning_rl.policy.policy import Policy, build_policy
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine
from reasoning_rl.rollout.vllm import VLLMEngine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test ENGINE=vllm"),
]
CPU = PolicyConfig(device="cpu", autocast="off")
SMALL = SamplingConfig.model_validate({"vllm": {"cpu_cache_gib": 0.25}})
GREEDY = Sampling(n=1, max_tokens=12, temperature=0)


class Wire:
    """In NCCL's place, between threads of this process. It loses the tensor `lost`."""

    def __init__(self) -> None:
        self.lost = ""
        self._sent: Queue[list[tuple[str, Tensor]]] = Queue()

    def send(self, iterator: Iterator[tuple[str, Tensor]], **_: object) -> None:
        self._sent.put([(name, tensor) for name, tensor in iterator if name != self.lost])

    def receive(self, post_unpack_func: Callable[[list[tuple[str, Tensor]]], Any], **_: object) -> None:
        post_unpack_func(self._sent.get(timeout=60))

    def destroy(self) -> None:
        """Nothing to part from."""


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    from vllm.distributed.weight_transfer import nccl_engine

    wire = Wire()
    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", lambda *_: wire)
    monkeypatch.setattr(nccl_engine, "worker_init_process_group", lambda *_: wire)
    monkeypatch.setattr(nccl_engine, "packed_nccl_broadcast_producer", wire.send)
    monkeypatch.setattr(nccl_engine, "packed_nccl_broadcast_consumer", wire.receive)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: None)
    monkeypatch.setattr(transfer, "_wait", list)  # what is asked of the handle below has been done by then
    return wire


@pytest.fixture
def policy(tokenizer_folder: str) -> Policy:
    architecture = ArchitectureConfig(layers=2, width=64, heads=2, kv_heads=1, head_width=32, mlp_width=96, context=256)
    return build_policy(architecture, CPU, load_tokenizer(tokenizer_folder), seed=0)


@pytest.fixture
def engine(policy: Policy, tmp_path: Path) -> Iterator[VLLMEngine]:
    """Of a policy without weights."""
    policy.save(tmp_path)
    engine = VLLMEngine(blank_policy(str(tmp_path), CPU), str(tmp_path), SMALL, transfer="nccl")
    yield engine
    engine.close()


def handle(engine: VLLMEngine) -> Any:
    """Of an actor that has this engine."""
    return SimpleNamespace(
        transfer=SimpleNamespace(remote=lambda step, given: engine.transfer(step, **given)),
        require_transferred=SimpleNamespace(remote=engine.require_transferred),
    )


def test_vllm_samples_by_what_was_transferred_and_not_by_part_of_it(wire: Wire, policy: Policy, engine: VLLMEngine) -> None:
    prompts = make_prompts(policy, ["Ann has 3 apples.", "How many?"])
    sender = Sender("nccl", 0, Fleet([handle(engine)], 1), 1, policy.weights, engine.dtype)
    for version in (4, 5):
        sender.send(version)
        for (found,), (expected,) in zip(engine.generate(prompts, GREEDY), LocalEngine(policy).generate(prompts, GREEDY), strict=True):
            assert (found.token_ids, found.policy_version) == (expected.token_ids, version)
            assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.mul_(1.1)
    wire.lost = "model.norm.weight"
    with pytest.raises(EngineError, match=r"weights of version 6: vLLM computes with another model\.norm\.weight than it was sent"):
        sender.send(6)
    with pytest.raises(EngineError, match="load_weights comes first"):
        engine.generate(prompts, GREEDY)
    engine.load_weights(policy.weights(), 6)  # the other way is still there
    assert engine.version == 6
    sender.close()
