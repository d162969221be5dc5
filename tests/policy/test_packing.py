"""Packed groups must give what transformers gives row by row."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import plain_copy
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from reasoning_rl.errors import ModelError
from reasoning_rl.policy.attention import GROUPED, grouped_attention
from reasoning_rl.policy.logprobs import token_logprobs
from reasoning_rl.policy.packing import pack
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Sample


def sample(prompt: Sequence[int], completion: Sequence[int], group: int) -> Sample:
    return Sample(tuple(prompt), tuple(completion), (1.0,) * len(completion), 1.0, group=group)


SAMPLES = [
    sample([5, 6, 7], [8, 9, 10, 11], 0),
    sample([5, 6, 7], [8], 0),  # a single token: nothing of it is fed, its prompt predicts it
    sample([12], [13, 14], 1),
    sample(range(20, 31), [40, 41, 42], 2),
    sample(range(20, 31), [40, 41, 42], 2),
    sample(range(20, 31), [43] * 9, 2),
]


def row_by_row(model: Any, samples: Sequence[Sample], temperature: float = 1.0) -> Tensor:
    rows = []
    for one in samples:
        logits = model(torch.tensor([one.prompt_ids + one.completion_ids])).logits[0, len(one.prompt_ids) - 1 : -1] / temperature
        rows.append(torch.log_softmax(logits, -1).gather(1, torch.tensor(one.completion_ids)[:, None])[:, 0])
    return torch.cat(rows)


def test_packed_logprobs_and_gradient_equal_those_of_transformers(policy: Policy) -> None:
    plain = plain_copy(policy)
    weights = torch.linspace(-1, 2, sum(len(one.completion_ids) for one in SAMPLES))
    ours, _ = token_logprobs(policy, pack(SAMPLES))
    theirs = row_by_row(plain, SAMPLES)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    for mine, other in zip(policy.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [LlamaConfig, Qwen2Config])
def test_other_architectures_pack_alike(policy: Policy, config: Any) -> None:
    shape = config(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(shape, attn_implementation=GROUPED)
    other = Policy(model, policy.tokenizer, None)
    ours, _ = token_logprobs(other, pack(SAMPLES))
    torch.testing.assert_close(ours, row_by_row(plain_copy(other), SAMPLES), atol=2e-5, rtol=1e-5)


def test_chunks_of_the_vocabulary_projection_change_nothing(policy: Policy) -> None:
    whole, entropy = token_logprobs(policy, pack(SAMPLES))
    whole.sum().backward()
    gradients = [parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None]
    policy.model.zero_grad()
    parts, entropy_parts = token_logprobs(policy, pack(SAMPLES), chunk=5)
    parts.sum().backward()
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(entropy_parts, entropy)
    for parameter, gradient in zip(policy.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-5)


def test_entropy_is_that_of_the_whole_distribution(policy: Policy) -> None:
    _, entropy = token_logprobs(policy, pack(SAMPLES[:1]))
    logits = plain_copy(policy)(torch.tensor([[5, 6, 7, 8, 9, 10, 11]])).logits[0, 2:-1]
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits).entropy(), atol=1e-4, rtol=1e-4)


def test_temperature_is_that_of_sampling(policy: Policy) -> None:
    ours, _ = token_logprobs(policy, pack(SAMPLES), temperature=0.5)
    torch.testing.assert_close(ours, row_by_row(plain_copy(policy), SAMPLES, 0.5), atol=2e-5, rtol=1e-5)


def test_a_prompt_shared_by_a_group_is_fed_once() -> None:
    packing = pack(SAMPLES)
    fed = sum(len(one.completion_ids) - 1 for one in SAMPLES) + 3 + 1 + 11
    assert int((packing.ids_N != 0).sum()) == fed


def test_features_of_attention_that_would_be_lost_are_refused(policy: Policy) -> None:
    packing = pack(SAMPLES)
    query = torch.zeros(1, 4, len(packing.ids_N), 8)
    with pytest.raises(ModelError, match="sliding window of 4 tokens is shorter than a text of 20"):
        grouped_attention(policy.model, query, query, query, None, layout=packing, scaling=1.0, sliding_window=4)
    with pytest.raises(ModelError, match="'softcap', which is not supported"):
        grouped_attention(policy.model, query, query, query, None, layout=packing, scaling=1.0, softcap=30.0)
