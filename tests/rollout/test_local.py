"""The local engine against transformers' generate() and forward pass."""

import math

import pytest
import torch
from conftest import make_prompts, plain_copy, tiny_policy

from reasoning_rl.errors import EngineError
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine, draw_tokens


def test_greedy_answers_equal_those_of_generate(policy: Policy, prompts: list[Prompt]) -> None:
    model = plain_copy(policy)
    answers = LocalEngine(policy).generate(prompts, Sampling(n=1, max_tokens=20, temperature=0))
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt.token_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        assert answer.token_ids == tuple(expected[0, len(prompt.token_ids) :].tolist())


def test_logprobs_are_those_of_a_forward_pass(policy: Policy, prompts: list[Prompt]) -> None:
    model = plain_copy(policy)
    answers = LocalEngine(policy).generate(prompts, Sampling(n=3, max_tokens=90, temperature=0.8, seed=3))
    for prompt, row in zip(prompts, answers, strict=True):
        for answer in row:
            logits = model(torch.tensor([prompt.token_ids + answer.token_ids])).logits[0, len(prompt.token_ids) - 1 : -1] / 0.8
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-4, rtol=1e-4)


def test_an_answer_does_not_depend_on_what_is_sampled_beside_it(policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(n=4, max_tokens=40, seed=1, stream="train/7")
    together = LocalEngine(policy).generate(prompts, sampling)
    few_rows = LocalEngine(policy, batch_rows=4).generate(prompts, sampling)
    reversed_order = LocalEngine(policy).generate(prompts[::-1], sampling)[::-1]
    fewer = LocalEngine(policy).generate(prompts, Sampling(n=2, max_tokens=40, seed=1, stream="train/7"))
    ids = [[answer.token_ids for answer in row] for row in together]
    assert [[answer.token_ids for answer in row] for row in few_rows] == ids
    assert [[answer.token_ids for answer in row] for row in reversed_order] == ids
    assert [[answer.token_ids for answer in row] for row in fewer] == [row[:2] for row in ids]


def test_another_stream_gives_other_answers(policy: Policy, prompts: list[Prompt]) -> None:
    first, second = (
        LocalEngine(policy).generate(prompts, Sampling(n=2, max_tokens=20, stream=stream)) for stream in ("train/1", "train/2")
    )
    assert first != second


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


def test_finish_reasons_and_text_tell_how_an_answer_ended(policy: Policy, prompts: list[Prompt]) -> None:
    end = policy.tokenizer.eos_token_id
    answers = [answer for row in LocalEngine(policy).generate(prompts, Sampling(n=16, max_tokens=12)) for answer in row]
    for answer in answers:
        ended = answer.token_ids[-1] == end
        assert answer.finish_reason == ("stop" if ended else "length")
        assert ended or len(answer.token_ids) == 12
        assert end not in answer.token_ids[:-1]
        spoken = answer.token_ids[:-1] if ended else answer.token_ids
        assert answer.text == policy.tokenizer.decode(list(spoken))


def test_a_stop_text_ends_an_answer_and_stays_in_it(policy: Policy, prompts: list[Prompt]) -> None:
    free = LocalEngine(policy).generate(prompts, Sampling(n=1, max_tokens=20, temperature=0))[0][0]
    stop = free.text[3:5]
    (stopped,) = LocalEngine(policy).generate(prompts[:1], Sampling(n=1, max_tokens=20, temperature=0, stop=(stop,)))[0]
    assert stopped.finish_reason == "stop"
    assert stop in stopped.text
    assert free.token_ids[: len(stopped.token_ids)] == stopped.token_ids


def test_bfloat16_agrees_in_kind(tokenizer_folder: str, prompts: list[Prompt]) -> None:
    """Same rounding places as the learner's: log-probabilities of greedy answers differ by rounding only."""
    policy = tiny_policy(tokenizer_folder, autocast="bfloat16")
    answers = LocalEngine(policy).generate(prompts, Sampling(n=1, max_tokens=8, temperature=0))
    model = plain_copy(policy)
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        logits = model(torch.tensor([prompt.token_ids + answer.token_ids])).logits[0, len(prompt.token_ids) - 1 : -1]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=0.5, rtol=0)


def test_prompts_that_cannot_fit_are_named(policy: Policy, prompts: list[Prompt]) -> None:
    with pytest.raises(EngineError, match=r"problem p0: a prompt of \d+ tokens and 128 new ones don't fit into the context of 128"):
        LocalEngine(policy).generate(prompts, Sampling(n=1, max_tokens=128))


def test_new_weights_are_seen_with_their_version(policy: Policy, tokenizer_folder: str, prompts: list[Prompt]) -> None:
    engine = LocalEngine(tiny_policy(tokenizer_folder))
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.neg_()
    before = engine.generate(prompts, Sampling(n=1, max_tokens=8, temperature=0))
    engine.load_weights(policy.model.state_dict().items(), version=5)
    after = engine.generate(prompts, Sampling(n=1, max_tokens=8, temperature=0))
    assert [row[0].token_ids for row in before] != [row[0].token_ids for row in after]
    assert {row[0].policy_version for row in after} == {5}


def test_incomplete_weights_are_refused(policy: Policy) -> None:
    state = policy.model.state_dict()
    without_head = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    with pytest.raises(EngineError, match=r"\['lm_head\.weight'\] are not in both"):
        LocalEngine(policy).load_weights(without_head.items(), version=1)
    with pytest.raises(EngineError, match=r"version 1: lm_head\.weight is"):
        LocalEngine(policy).load_weights({**state, "lm_head.weight": torch.zeros(2, 2)}.items(), version=1)


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
