"""What is the local engine's own; what it shares with the others: test_engine_contract.py."""

import math

import pytest
import torch
from conftest import make_prompts, plain_copy, tiny_policy

from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine, draw_tokens


def test_answers_are_the_same_however_many_are_sampled_at_a_time(policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(n=4, max_tokens=40, seed=1)
    together, few_rows = (LocalEngine(policy, batch_rows).generate(prompts, sampling) for batch_rows in (1024, 4))
    assert [[answer.token_ids for answer in row] for row in few_rows] == [[answer.token_ids for answer in row] for row in together]


def test_finished_rows_are_dropped_and_nothing_of_the_others_is_lost(tokenizer_folder: str) -> None:
    """40 answers of very different length: several compactions of the cache happen on the way."""
    policy = tiny_policy(tokenizer_folder)
    with torch.no_grad():  # about one token in thirty ends an answer
        policy.model.get_output_embeddings().weight[policy.tokenizer.eos_token_id] *= 1.5
    prompts = make_prompts(policy, ["Ann has 3 apples."])
    (answers,) = LocalEngine(policy).generate(prompts, Sampling(n=80, max_tokens=100))
    assert len({len(answer.token_ids) for answer in answers}) > 5
    model = plain_copy(policy)
    for answer in answers[::7]:
        logits = model(torch.tensor([prompts[0].token_ids + answer.token_ids])).logits[0, len(prompts[0].token_ids) - 1 : -1]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=2e-4, rtol=1e-4)


def test_bfloat16_agrees_in_kind(tokenizer_folder: str, prompts: list[Prompt]) -> None:
    """Same rounding places as the learner's: log-probabilities of greedy answers differ by rounding only."""
    policy = tiny_policy(tokenizer_folder, autocast="bfloat16")
    answers = LocalEngine(policy).generate(prompts, Sampling(n=1, max_tokens=8, temperature=0))
    model = plain_copy(policy)
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        logits = model(torch.tensor([prompt.token_ids + answer.token_ids])).logits[0, len(prompt.token_ids) - 1 : -1]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=0.5, rtol=0)


LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.96, 3), (0.999999, 3)])
def test_a_uniform_number_picks_the_token_whose_share_it_falls_into(uniform: float, token: int) -> None:
    tokens, logp = draw_tokens(LOGITS, torch.tensor([uniform]), Sampling(1, 1))
    assert tokens.item() == token
    assert logp.item() == pytest.approx(LOGITS[0, token].item())


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    # 0.5 + 0.3 reaches 0.75, so two tokens remain, with 0.5/0.8 and 0.3/0.8
    draws = [draw_tokens(LOGITS, torch.tensor([uniform]), Sampling(1, 1, top_p=0.75)) for uniform in (0.1, 0.62, 0.63, 0.99)]
    assert [tokens.item() for tokens, _ in draws] == [0, 0, 1, 1]
    assert draws[0][1].item() == pytest.approx(math.log(0.5 / 0.8))


def test_top_k_keeps_the_k_most_probable() -> None:
    tokens, logp = draw_tokens(LOGITS, torch.tensor([0.999]), Sampling(1, 1, top_k=3))
    assert tokens.item() == 2
    assert logp.item() == pytest.approx(math.log(0.15 / 0.95))


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for uniform in (0.0, 0.5, 0.9999999):
        assert draw_tokens(logits, torch.tensor([uniform]), Sampling(1, 1))[0].item() == 1
