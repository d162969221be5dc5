"""What every engine promises, against transformers' generate() and forward pass in float32."""

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import magnified, make_prompts, plain_copy
from torch import Tensor

from reasoning_rl.config import ArchitectureConfig, PolicyConfig, SamplingConfig
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import EngineError
from reasoning_rl.policy.policy import Policy, build_policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import Sampling, SharedEngine
from reasoning_rl.rollout.local import LocalEngine

CPU = PolicyConfig(device="cpu", autocast="off")
LONG = "Ann has 3 apples and buys 4 more. Bob sells 2 of 9 pens. "
VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test ENGINE=vllm"),
]


def fresh(tokenizer: str) -> Policy:
    """Heads of 32, the narrowest that vLLM takes on a CPU; tied embeddings; weights large enough that answers differ."""
    architecture = ArchitectureConfig(layers=2, width=64, heads=2, kv_heads=1, head_width=32, mlp_width=96, context=256)
    return magnified(build_policy(architecture, CPU, load_tokenizer(tokenizer), seed=0), 4)


@pytest.fixture(scope="module", params=["local", pytest.param("vllm", marks=VLLM)])
def started(request: pytest.FixtureRequest, tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEngine]:
    """An engine that holds weights of its own, once for all tests: vLLM takes seconds to start."""
    policy = fresh(tokenizer_folder)
    engine: SharedEngine = LocalEngine(policy)
    if request.param == "vllm":
        from reasoning_rl.rollout.vllm import VLLMEngine

        folder = tmp_path_factory.mktemp("policy")
        policy.save(folder)
        engine = VLLMEngine(policy, str(folder), SamplingConfig.model_validate({"vllm": {"cpu_cache_gib": 0.25}}))
    yield engine
    engine.close()


@pytest.fixture
def policy(tokenizer_folder: str) -> Policy:
    return fresh(tokenizer_folder)


@pytest.fixture
def engine(started: SharedEngine, policy: Policy) -> SharedEngine:
    started.load_weights(policy.model.state_dict().items(), 0)
    return started


@pytest.fixture
def prompts(policy: Policy) -> list[Prompt]:
    """The last two share more than a block of vLLM's attention cache."""
    return make_prompts(policy, ["Ann has 3 apples.", "How many?", LONG * 2 + "How many has he?", LONG * 2 + "How many has she now?"])


def logprobs(policy: Policy, prompt: Prompt, answer: Completion, sampling: Sampling) -> Tensor:
    """Of an answer's tokens, under the distribution of a forward pass that `sampling` draws from."""
    ids = torch.tensor([prompt.token_ids + answer.token_ids])
    logits_TV = plain_copy(policy)(ids).logits[0, len(prompt.token_ids) - 1 : -1].detach() / (sampling.temperature or 1)
    if sampling.top_k:
        logits_TV = logits_TV.masked_fill(logits_TV < logits_TV.topk(sampling.top_k).values[:, -1:], -torch.inf)
    return torch.log_softmax(logits_TV, -1).gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]


def assert_scored(policy: Policy, prompts: list[Prompt], answers: list[list[Completion]], sampling: Sampling) -> None:
    for prompt, row in zip(prompts, answers, strict=True):
        for answer in row:
            expected = logprobs(policy, prompt, answer, sampling)
            torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-4, rtol=0)


def ids_of(answers: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[answer.token_ids for answer in row] for row in answers]


def test_every_prompt_has_its_answers_in_its_place(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    greedy = Sampling(n=3, max_tokens=20, temperature=0)
    answers = engine.generate(prompts, greedy)
    model = plain_copy(policy)
    for prompt, row in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt.token_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        assert [answer.token_ids for answer in row] == [tuple(expected[0, len(prompt.token_ids) :].tolist())] * 3
    assert_scored(policy, prompts, answers, greedy)  # at temperature 0: under the distribution of temperature 1
    assert engine.generate([], greedy) == []


DRAWS = [Sampling(4, 90, seed=3), Sampling(4, 40, temperature=0.8), Sampling(4, 40, temperature=1.3, top_k=5)]


@pytest.mark.parametrize("sampling", DRAWS, ids=["temperature 1", "temperature 0.8", "top 5"])
def test_logprobs_are_those_of_the_distribution_drawn_from(
    engine: SharedEngine, policy: Policy, prompts: list[Prompt], sampling: Sampling
) -> None:
    assert_scored(policy, prompts, engine.generate(prompts, sampling), sampling)


def test_top_p_draws_from_the_fewest_tokens_that_reach_it(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    (row,) = engine.generate(prompts[:1], Sampling(n=8, max_tokens=20, top_p=0.5))
    for answer in row:
        full = logprobs(policy, prompts[0], answer, Sampling(1, 1))
        gained = torch.tensor(answer.logprobs) - full  # −log of the share that the kept tokens had
        assert (gained > -1e-4).all()
        assert (gained < -torch.log(torch.tensor(0.5)) + 1e-4).all()


def test_an_answer_depends_on_its_seed_and_not_on_what_is_sampled_beside_it(engine: SharedEngine, prompts: list[Prompt]) -> None:
    sampling = Sampling(n=4, max_tokens=40, seed=1, stream="train/7")
    ids = ids_of(engine.generate(prompts, sampling))
    assert ids_of(engine.generate(prompts, sampling)) == ids
    assert ids_of(engine.generate(prompts[::-1], sampling)[::-1]) == ids
    assert ids_of(engine.generate(prompts[1:2], sampling)) == ids[1:2]
    assert ids_of(engine.generate(prompts, Sampling(n=2, max_tokens=40, seed=1, stream="train/7"))) == [row[:2] for row in ids]


def test_seeds_streams_and_places_give_other_answers(engine: SharedEngine, prompts: list[Prompt]) -> None:
    drawn = [
        ids_of(engine.generate(prompts, Sampling(n=4, max_tokens=20, seed=seed, stream=stream)))
        for seed, stream in ((0, "train/1"), (0, "train/2"), (1, "train/1"))
    ]
    for prompt in range(len(prompts)):
        answers = [ids for answers in drawn for ids in answers[prompt]]
        assert len(set(answers)) == len(answers) == 12


def test_tokens_are_drawn_as_often_as_they_are_probable(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    (row,) = engine.generate(prompts[:1], Sampling(n=2000, max_tokens=1))
    with torch.no_grad():
        expected_V = torch.softmax(plain_copy(policy)(torch.tensor([prompts[0].token_ids])).logits[0, -1], -1)
    drawn_V = torch.bincount(torch.tensor([answer.token_ids[0] for answer in row]), minlength=len(expected_V)) / 2000
    # each share has a standard error of √(p(1 − p)/2000); of some hundred, five errors are never exceeded
    assert ((drawn_V - expected_V).abs() <= 5 * (expected_V / 2000).sqrt() + 1 / 2000).all()


def test_finish_reasons_and_text_tell_how_an_answer_ended(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    end = policy.tokenizer.eos_token_id
    with torch.no_grad():  # about one token in ten ends an answer
        policy.model.get_output_embeddings().weight[end] *= 2
    engine.load_weights(policy.model.state_dict().items(), 1)
    answers = [answer for row in engine.generate(prompts, Sampling(n=16, max_tokens=12)) for answer in row]
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    for answer in answers:
        ended = answer.token_ids[-1] == end
        assert answer.finish_reason == ("stop" if ended else "length")
        assert ended or len(answer.token_ids) == 12
        assert end not in answer.token_ids[:-1]
        assert len(answer.logprobs) == len(answer.token_ids)
        assert answer.text == policy.tokenizer.decode(list(answer.token_ids[:-1] if ended else answer.token_ids))


def test_a_stop_text_ends_an_answer_and_stays_in_it(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    (free,) = engine.generate(prompts[:1], Sampling(n=8, max_tokens=20))
    stop = next(pair for answer in free for pair in re.findall("[a-z ]{2}", answer.text[3:]))  # the policy babbles bytes; these are letters
    (stopped,) = engine.generate(prompts[:1], Sampling(n=8, max_tokens=20, stop=("never", stop)))
    assert "stop" in {answer.finish_reason for answer in stopped}
    for before, after in zip(free, stopped, strict=True):
        assert after.token_ids == before.token_ids[: len(after.token_ids)]
        assert stop not in policy.tokenizer.decode(list(after.token_ids[:-1]))
        assert (stop in before.text) == (stop in after.text)
        assert after.finish_reason == ("stop" if stop in after.text else before.finish_reason)


def test_prompts_that_cannot_fit_are_named(engine: SharedEngine, prompts: list[Prompt]) -> None:
    room = 256 - len(prompts[0].token_ids)
    with pytest.raises(EngineError, match=rf"problem p0: a prompt of \d+ tokens and {room + 1} new ones don't fit into the context of 256"):
        engine.generate(prompts[:1], Sampling(n=1, max_tokens=room + 1))
    (answer,) = engine.generate(prompts[:1], Sampling(n=1, max_tokens=room, temperature=0))[0]
    assert len(answer.token_ids) == room or answer.finish_reason == "stop"


def test_each_completion_is_told_of_once_with_its_place(engine: SharedEngine, prompts: list[Prompt]) -> None:
    told: dict[tuple[int, int], Completion] = {}

    def hear(index: int, row: int, completion: Completion) -> None:
        assert (index, row) not in told
        told[index, row] = completion

    answers = engine.generate(prompts, Sampling(n=3, max_tokens=20), hear)
    assert told == {(index, place): answer for index, row in enumerate(answers) for place, answer in enumerate(row)}


def test_an_engine_that_was_broken_off_goes_on_as_if_nothing_had_been(engine: SharedEngine, policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(n=3, max_tokens=20)
    expected = engine.generate(prompts, sampling)

    def fail(index: int, row: int, completion: Completion) -> None:
        raise KeyError("the listener's own")

    with pytest.raises(KeyError, match="own"):
        engine.generate(prompts, sampling, fail)
    assert engine.generate(prompts, sampling) == expected
    engine.load_weights(policy.model.state_dict().items(), 1)


@pytest.mark.parametrize("which", ["embed_tokens", "q_proj", "v_proj", "up_proj", "down_proj", "k_norm", "model.norm"])
def test_new_weights_are_sampled_from_with_their_version(engine: SharedEngine, policy: Policy, prompts: list[Prompt], which: str) -> None:
    """Embeddings are tied: those of the input and the head are one tensor with two names."""
    sampling = Sampling(n=2, max_tokens=12)
    before = engine.generate(prompts, sampling)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if which in name:
                parameter.mul_(1.2)
    engine.load_weights(policy.model.state_dict().items(), version=5)
    after = engine.generate(prompts, sampling)
    assert_scored(policy, prompts, after, sampling)
    assert [answer.logprobs for row in before for answer in row] != [answer.logprobs for row in after for answer in row]
    assert {answer.policy_version for row in after for answer in row} == {5}


def broken(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    """All tensors negated, and one of them wrong."""
    changed = {name: -tensor for name, tensor in state.items()}
    if how == "missing":
        return {name: tensor for name, tensor in changed.items() if name != "lm_head.weight"}
    return {**changed, ("extra.weight" if how == "unknown" else "lm_head.weight"): torch.zeros(2, 2)}


@pytest.mark.parametrize(("how", "name"), [("missing", r"lm_head\.weight"), ("unknown", r"extra\.weight"), ("of another shape", "lm_head")])
def test_weights_that_do_not_fit_are_refused_and_leave_no_mixture(
    engine: SharedEngine, policy: Policy, prompts: list[Prompt], how: str, name: str
) -> None:
    sampling = Sampling(n=1, max_tokens=8, temperature=0)
    before = engine.generate(prompts, sampling)
    with pytest.raises(EngineError, match=f"weights of version 1: .*{name}"):
        engine.load_weights(broken(policy.model.state_dict(), how).items(), version=1)
    try:
        assert engine.generate(prompts, sampling) == before
    except EngineError as refusal:
        assert "load_weights comes first" in str(refusal)  # noqa: PT017  # either is right


# Of vLLM alone


def without(pairs: Iterator[tuple[str, Tensor]], name: str) -> Iterator[tuple[str, Tensor]]:
    return (pair for pair in pairs if pair[0] != name)


@pytest.mark.parametrize("started", [pytest.param("vllm", marks=VLLM)], indirect=True)
@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.down_proj.weight"])
def test_an_engine_that_keeps_an_old_tensor_is_an_error(
    engine: Any, policy: Policy, monkeypatch: pytest.MonkeyPatch, prompts: list[Prompt], name: str
) -> None:
    """As if vLLM's loader had missed one tensor of a step with a small learning rate."""
    reload = engine._llm.collective_rpc
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1 + 1e-5)

    def forgetful(method: str, kwargs: dict[str, Any]) -> Any:
        return reload(method, kwargs={"weights_iterator": without(kwargs["weights_iterator"], name)})

    monkeypatch.setattr(engine._llm, "collective_rpc", forgetful)
    with pytest.raises(EngineError, match=f"weights of version 9: vLLM computes with another {name} than it was sent"):
        engine.load_weights(policy.model.state_dict().items(), version=9)
    with pytest.raises(EngineError, match="load_weights comes first"):
        engine.generate(prompts, Sampling(1, 1))
