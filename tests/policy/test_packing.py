"""Packed groups must give what transformers gives row by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from architectures import SUPPORTED, tiny_model
from conftest import plain_copy
from torch import Tensor

from reasoning_rl.errors import ModelError
from reasoning_rl.policy.attention import grouped_attention
from reasoning_rl.policy.forward import Pass, hidden_states
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


LENGTHS_ALIKE = [
    sample([5, 6, 7], range(40, 45), 0),  # in one rectangle with those of longer prompts
    sample([5, 6, 7], range(45, 50), 0),
    sample(range(20, 31), range(50, 55), 1),
]
SINGLE_TOKENS = [sample([5, 6, 7], [8], 0), sample([12], [13], 1)]  # no rectangle of completions


@pytest.mark.parametrize("samples", [SAMPLES, LENGTHS_ALIKE, SINGLE_TOKENS], ids=["mixed", "alike", "single"])
def test_packed_logprobs_and_gradient_equal_those_of_transformers(policy: Policy, samples: list[Sample]) -> None:
    plain = plain_copy(policy)
    weights = torch.linspace(-1, 2, sum(len(one.completion_ids) for one in samples))
    ours, _ = token_logprobs(policy, pack(samples))
    theirs = row_by_row(plain, samples)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    for mine, other in zip(policy.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_every_supported_architecture_packs_alike(policy: Policy, architecture: str) -> None:
    other = Policy(tiny_model(architecture), policy.tokenizer, None)
    plain = plain_copy(other)
    ours, _ = token_logprobs(other, pack(SAMPLES))
    theirs = row_by_row(plain, SAMPLES)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    ours.sum().backward()
    theirs.sum().backward()
    for mine, reference in zip(other.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, atol=1e-4, rtol=1e-4)


def test_the_memory_for_logits_changes_nothing(policy: Policy) -> None:
    packing = pack([sample([5, 6, 7], [2, 3, 4] * 200, 0)])  # 600 predictions; 1 MiB is enough for 256 of them at a time
    whole, entropy = token_logprobs(policy, packing)
    whole.sum().backward()
    gradients = [parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None]
    policy.model.zero_grad()
    parts, entropy_parts = token_logprobs(policy, packing, logits_mib=1)
    parts.sum().backward()
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(entropy_parts, entropy)
    for parameter, gradient in zip(policy.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-5)


def test_weights_in_bfloat16_are_computed_with_as_they_are(policy: Policy) -> None:
    expected, _ = token_logprobs(policy, pack(SAMPLES))
    policy.model.to(torch.bfloat16)  # type: ignore[arg-type]  # its stub knows no torch.dtype
    ours, _ = token_logprobs(policy, pack(SAMPLES))
    ours.sum().backward()
    torch.testing.assert_close(ours, expected, atol=0.1, rtol=0.1)
    assert {parameter.grad.dtype for parameter in policy.model.parameters() if parameter.grad is not None} == {torch.bfloat16}


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


def lognormal(rng: np.random.Generator, median: float, spread: float, most: int) -> int:
    return int(np.clip(rng.lognormal(np.log(median), spread), 2, most))


@pytest.mark.parametrize(("prompt", "answer", "most"), [(40, 24, 64), (110, 220, 1024)])
def test_less_than_a_tenth_is_padding_where_lengths_differ_as_answers_do(prompt: int, answer: int, most: int) -> None:
    """16 groups of 8 whose lengths spread by half and more; rectangles as wide as their longest would be half empty."""
    rng = np.random.default_rng(0)
    samples = []
    for group in range(16):
        asked = [1] * lognormal(rng, prompt, 0.35, 512)
        samples += [sample(asked, [1] * lognormal(rng, answer, 0.5, most), group) for _ in range(8)]
    packing = pack(samples)
    longest = max(len(one.completion_ids) for one in samples)
    assert packing.real == sum(len(one.completion_ids) - 1 for one in samples) + sum(len(one.prompt_ids) for one in samples[::8])
    assert packing.real / len(packing.ids_N) > 0.9
    assert packing.real / packing.cells > 0.9
    assert packing.real / (16 * 8 * longest) < 0.6


def test_every_token_has_one_cell_and_every_other_cell_is_filler() -> None:
    packing = pack(SAMPLES)
    assert packing.token_of_cell_C[packing.cell_of_token_N[: packing.real]].tolist() == list(range(packing.real))
    assert (packing.cell_of_token_N[packing.real :] == packing.cells).all()


def test_features_of_attention_that_would_be_lost_are_refused(policy: Policy) -> None:
    layout = Pass(pack(SAMPLES))
    query = torch.zeros(1, 4, 8, 8)
    with pytest.raises(ModelError, match="sliding window of 4 tokens is shorter than a text of 20"):
        grouped_attention(policy.model, query, query, query, None, layout=layout, scaling=1.0, sliding_window=4)
    with pytest.raises(ModelError, match="'softcap', which is not supported"):
        grouped_attention(policy.model, query, query, query, None, layout=layout, scaling=1.0, softcap=30.0)


def test_a_window_that_only_the_settings_know_is_refused() -> None:
    model = tiny_model("qwen2_moe", use_sliding_window=True, sliding_window=4, max_window_layers=2)
    with pytest.raises(ModelError, match="sliding window of 4 tokens is shorter than a text of 20"):
        hidden_states(model.base_model, pack(SAMPLES))


def test_all_layers_keep_one_mask_for_the_backward() -> None:
    """Rectangles of 8, 3, 2 (twice) and 1 tokens, where the last hides nothing; two layers, two query heads for each of keys."""
    kept: set[tuple[int, int]] = set()

    def keep(tensor: Tensor) -> Tensor:
        if torch.isneginf(tensor).any():
            kept.add((tensor.data_ptr(), tensor.shape[2]))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden_states(tiny_model("qwen2").base_model, pack(SAMPLES))
    assert sorted(rows for _, rows in kept) == [2 * 2, 2 * 3, 2 * 8]
