"""An update that runs out of memory is done again with half the token budget where that is asked for, and comes out as if begun with it."""

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny_policy
from pydantic import ValidationError
from test_learner import arranged, learner
from torch import Tensor

from reasoning_rl.config import LearnerConfig
from reasoning_rl.learner.batch import halved
from reasoning_rl.learner.learner import Learner
from reasoning_rl.policy.logprobs import token_logprobs

BUDGET = 160
NOT_ENOUGH = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
    MemoryError(),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let some forward passes of the learner, counted from 0, run out of memory. What comes back grows by one with each pass."""

    def fail(*at: int, error: BaseException = NOT_ENOUGH[0]) -> list[int]:
        passes: list[int] = []

        def forward(*given: Any, **settings: Any) -> tuple[Tensor, Tensor]:
            passes.append(len(passes))
            if passes[-1] in at:
                raise error
            return token_logprobs(*given, **settings)

        monkeypatch.setattr("reasoning_rl.learner.learner.token_logprobs", forward)
        return passes

    return fail


def made(tokenizer_folder: str, tokens: int, **settings: object) -> Learner:
    reference = tiny_policy(tokenizer_folder)
    return learner(tiny_policy(tokenizer_folder), 0.04, reference, tokens_per_microbatch=tokens, **settings)


def weights(of: Learner) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in of.parameters]


def parts(tokenizer_folder: str, tokens: int) -> int:
    """Micro-batches at this budget."""
    return len(made(tokenizer_folder, tokens)._prepare(arranged(0.04), on_policy=True)[0])


@pytest.mark.parametrize("error", NOT_ENOUGH, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [0, 2, 3])
def test_the_update_is_that_of_the_smaller_budget_bit_for_bit(
    tokenizer_folder: str, failing: Callable[..., list[int]], at: int, error: BaseException
) -> None:
    """Passes of the first try are 2 of the reference, then 2 of the policy, each with its backward: see the next test."""
    begun_small = made(tokenizer_folder, BUDGET // 2)
    expected = begun_small.update([arranged(0.04)], 0)
    tried = made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True)
    failing(at, error=error)
    learned = tried.update([arranged(0.04)], 0)
    assert learned.metrics == {**expected.metrics, "guards/token_budget": BUDGET // 2}
    assert all(map(torch.equal, weights(tried), weights(begun_small)))


def test_the_budgets_of_these_tests_differ(tokenizer_folder: str) -> None:
    assert parts(tokenizer_folder, BUDGET) == 2
    assert parts(tokenizer_folder, BUDGET // 2) == 3


def test_it_is_off_unless_asked_for(tokenizer_folder: str, failing: Callable[..., list[int]]) -> None:
    passes = failing(1)
    with pytest.raises(torch.OutOfMemoryError):
        made(tokenizer_folder, BUDGET).update([arranged(0.04)], 0)
    assert passes == [0, 1]


def test_what_the_first_try_held_is_gone_before_the_second_begins(tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Tensor]] = []

    def forward(*given: Any, **settings: Any) -> tuple[Tensor, Tensor]:
        logp_M, entropy_M = token_logprobs(*given, **settings)
        held.append(weakref.ref(logp_M))
        if len(held) == 4:
            raise torch.OutOfMemoryError
        if len(held) == 5:
            assert [one() for one in held[:4]] == [None] * 4
        return logp_M, entropy_M

    monkeypatch.setattr("reasoning_rl.learner.learner.token_logprobs", forward)
    made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True).update([arranged(0.04)], 0)
    assert len(held) == 4 + 2 * 3  # 3 micro-batches at the smaller budget, of the reference and of the policy


def test_another_error_is_none_of_its_business(tokenizer_folder: str, failing: Callable[..., list[int]]) -> None:
    passes = failing(1, error=RuntimeError("shapes don't match"))
    with pytest.raises(RuntimeError, match="shapes don't match"):
        made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True).update([arranged(0.04)], 0)
    assert passes == [0, 1]


def test_an_update_that_has_changed_the_weights_is_not_done_again(tokenizer_folder: str, failing: Callable[..., list[int]]) -> None:
    one = made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True)
    samples, before = arranged(0.04), weights(one)
    # 2 batches of one micro-batch each: 2 passes of the reference, 2 of π_old, then one for each step: the second fails
    failing(5)
    with pytest.raises(torch.OutOfMemoryError):
        one.update([samples[:4], samples[4:8]], 0)
    assert not all(map(torch.equal, weights(one), before))


def test_halving_ends_at_the_longest_sample(tokenizer_folder: str, failing: Callable[..., list[int]]) -> None:
    """The longest has 64 tokens or fewer here, so that 64 is the last budget: 160, 80, 64, and the error of the third try is raised."""
    one = made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True)
    passes = failing(*range(100))
    with pytest.raises(torch.OutOfMemoryError):
        one.update([arranged(0.04)], 0)
    assert len(passes) == 3  # each try ends at its first pass
    long = replace(arranged()[0], completion_ids=(20,) * 93)  # behind a prompt of 7
    assert len(long.prompt_ids) == 7
    assert [halved(tokens, [long, *arranged()]) for tokens in (1000, 150, 100, 99)] == [500, 100, None, None]
    assert [halved(tokens, []) for tokens in (1000, 100, 64)] == [500, 64, None]


def test_the_smaller_budget_stays_and_comes_back_from_a_checkpoint(tokenizer_folder: str, failing: Callable[..., list[int]]) -> None:
    one = made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True)
    failing(0)
    one.update([arranged(0.04)], 0)
    state = one.state()
    assert one.update([arranged(0.04)], 1).metrics["guards/token_budget"] == BUDGET // 2
    for settings, expected in (({"halve_when_out_of_memory": True}, BUDGET // 2), ({}, None)):
        later = made(tokenizer_folder, BUDGET, **settings)
        later.load_state(state)
        assert later.update([arranged(0.04)], 1).metrics.get("guards/token_budget") == expected


def test_without_need_nothing_is_said_of_it(tokenizer_folder: str) -> None:
    one = made(tokenizer_folder, BUDGET, halve_when_out_of_memory=True)
    assert "guards/token_budget" not in one.update([arranged(0.04)], 0).metrics
    assert "guards/token_budget" not in one.state()


def test_several_processes_are_refused() -> None:
    with pytest.raises(ValidationError, match="halve_when_out_of_memory: needs processes 1, found 2"):
        LearnerConfig(halve_when_out_of_memory=True, processes=2)
