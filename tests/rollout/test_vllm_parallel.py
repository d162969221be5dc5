"""A vLLM whose model is cut up over two processes answers as one does, and notices a shard that went stale."""

import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from conftest import make_prompts
from test_engine_contract import fresh
from torch import nn

from reasoning_rl.config import SamplingConfig
from reasoning_rl.errors import EngineDied, EngineError
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine
from reasoning_rl.rollout.tensor_sums import tensor_sum
from reasoning_rl.rollout.vllm import VLLMEngine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test ENGINE=vllm"),
]
SMALL = SamplingConfig.model_validate({"vllm": {"cpu_cache_gib": 0.25}})
GREEDY = Sampling(n=1, max_tokens=20, temperature=0)


def spoil(model: nn.Module, parameter: str) -> None:
    """On the second process alone, one entry of a parameter. It goes to the processes by its name, so it stands up here."""
    layer: Any = model.get_submodule("model.layers.0.self_attn.qkv_proj")
    if layer.tp_rank == 1:
        model.get_parameter(parameter).data.view(-1)[0] += 1e-5


@pytest.fixture(scope="module")
def policy(tokenizer_folder: str) -> Policy:
    """Two heads that share one head of keys and values, which both processes therefore hold."""
    return fresh(tokenizer_folder)


@pytest.fixture(scope="module")
def engine(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMEngine]:
    folder = tmp_path_factory.mktemp("policy")
    policy.save(folder)
    engine = VLLMEngine(policy, str(folder), SMALL, threads=2, tensor_parallel=2)
    yield engine
    engine.close()


@pytest.fixture
def prompts(policy: Policy) -> list[Prompt]:
    return make_prompts(policy, ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens. How many has he now?"])


def scored(answers: list[list[Completion]]) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """Tokens, and their log-probabilities one behind another."""
    rows = [answer for row in answers for answer in row]
    return [answer.token_ids for answer in rows], torch.tensor([logp for answer in rows for logp in answer.logprobs])


def test_two_processes_answer_as_one(engine: VLLMEngine, policy: Policy, prompts: list[Prompt]) -> None:
    """What one answers: tests/rollout/test_engine_contract.py. New weights reach both."""
    for version, factor in enumerate((1.0, 1.2)):
        with torch.no_grad():
            policy.model.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(factor)
        engine.load_weights(policy.model.state_dict().items(), version)
        ids, logprobs = scored(engine.generate(prompts, GREEDY))
        expected_ids, expected = scored(LocalEngine(policy).generate(prompts, GREEDY))
        assert ids == expected_ids
        torch.testing.assert_close(logprobs, expected, atol=1e-4, rtol=0)


def test_prompts_that_come_meanwhile_are_answered_as_if_asked_at_once(engine: VLLMEngine, policy: Policy, prompts: list[Prompt]) -> None:
    engine.load_weights(policy.model.state_dict().items(), 2)
    sampling, coming = Sampling(n=2, max_tokens=20), [[], [], prompts[1:2], [], prompts[2:]]
    expected = engine.generate(prompts, sampling)
    assert engine.generate(prompts[:1], sampling, more=lambda: coming.pop(0) if coming else []) == expected


@pytest.mark.parametrize("parameter", ["model.embed_tokens.weight", "model.norm.weight"])
def test_a_shard_of_one_process_that_went_stale_is_an_error(
    engine: Any, policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, parameter: str
) -> None:
    """The first is cut up, the second is held whole by both."""
    reload = engine._llm.collective_rpc

    def forgetful(method: str, kwargs: dict[str, Any]) -> None:
        reload(method, kwargs=kwargs)
        engine._llm.apply_model(partial(spoil, parameter=parameter))

    monkeypatch.setattr(engine._llm, "collective_rpc", forgetful)
    with pytest.raises(EngineError, match=f"weights of version 9: vLLM computes with another {parameter} than it was sent"):
        engine.load_weights(policy.model.state_dict().items(), 9)
    with pytest.raises(EngineError, match="load_weights comes first"):
        engine.generate(prompts, GREEDY)


def test_sums_over_the_processes_are_those_of_what_was_sent(engine: Any, policy: Policy) -> None:
    """As weights that come by vLLM's own transfer are compared: every matrix here is packed, cut up or held twice."""
    engine.load_weights(policy.model.state_dict().items(), 3)
    sums = {name: tensor_sum(tensor) for name, tensor in policy.model.state_dict().items()}
    engine.require_transferred(sums, 4)
    assert engine.version == 4
    layer = "model.layers.1"
    for name in ("lm_head.weight", f"{layer}.self_attn.k_proj.weight", f"{layer}.mlp.down_proj.weight", "model.norm.weight"):
        with pytest.raises(EngineError, match=f"weights of version 5: vLLM computes with another {name} than it was sent; cluster"):
            engine.require_transferred({**sums, name: sums[name] + 1}, 5)


def test_a_process_that_dies_is_told(engine: Any, policy: Policy, prompts: list[Prompt]) -> None:
    """The last test: nothing is left to sample with."""
    engine.load_weights(policy.model.state_dict().items(), 6)
    engine._llm.llm_engine.model_executor.workers[1].proc.kill()
    with pytest.raises(EngineDied, match="vLLM died while it sampled by the weights of version 6"):
        engine.generate(prompts, GREEDY)
