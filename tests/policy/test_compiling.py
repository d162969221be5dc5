"""Compiled layers compute what they did, gradients too, whatever the number of tokens."""

import shutil

import pytest
import torch
from conftest import tiny_policy
from torch import Tensor

from reasoning_rl.errors import ModelError
from reasoning_rl.policy.compiling import compile_layers
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Prompt, Sample
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),  # dynamo looks at all inputs
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),  # torch says it of itself
]
SAMPLES = [Sample((5, 6, 7), tuple(range(20, 24 + row)), (), 1.0, group=row // 2) for row in range(4)]


def computed(policy: Policy, samples: list[Sample]) -> list[Tensor]:
    """Log-probabilities, then the gradient of each parameter."""
    policy.model.zero_grad()
    logp, _ = token_logprobs(policy, pack(samples))
    logp.sum().backward()
    return [logp.detach(), *(parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None)]


@pytest.fixture
def compiled(tokenizer_folder: str) -> Policy:
    """By everything but the last step, which writes machine code."""
    return compiled_by("aot_eager", tokenizer_folder)


def compiled_by(backend: str, tokenizer_folder: str) -> Policy:
    torch._dynamo.reset()
    policy = tiny_policy(tokenizer_folder)
    policy.model.train()
    compile_layers(policy.model, backend)
    return policy


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_compiled_layers_give_the_same_numbers_and_gradients(policy: Policy, tokenizer_folder: str, checkpointed: bool) -> None:
    compiled = compiled_by("inductor", tokenizer_folder)
    if checkpointed:
        compiled.model.gradient_checkpointing_enable()
    for samples in (SAMPLES, SAMPLES[1:], SAMPLES * 2):
        for mine, other in zip(computed(compiled, samples), computed(policy, samples), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_missing_compiler_is_said_before_the_first_step(policy: Policy) -> None:
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(ModelError, match="needs a C\\+\\+ compiler"):
        compile_layers(policy.model)


def test_the_engine_samples_the_same_from_compiled_layers(policy: Policy, compiled: Policy, prompts: list[Prompt]) -> None:
    asked = Sampling(n=3, max_tokens=6, seed=1)
    mine, other = (LocalEngine(one).generate(prompts, asked) for one in (compiled, policy))
    assert [[answer.token_ids for answer in row] for row in mine] == [[answer.token_ids for answer in row] for row in other]
