"""A sampler's engine is asked for items of one kind at a time, has their weights first, and its end is told to whoever collects."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from cluster_fakes import prompts_of

from reasoning_rl.cluster.sampler import Answered, Item, Sampler
from reasoning_rl.errors import EngineDied, EngineError
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import More, OnFinished, Sampling, require_room
from reasoning_rl.rollout.local import LocalEngine

SAMPLING = Sampling(n=2, max_tokens=8)
PATIENCE_S = 20.0


class FakeEngine:
    """Writes down what is done with it. An answer's text names the weights."""

    for_all, apart, version, context = True, True, 0, 16

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.gate = threading.Event()
        """Nothing is answered before it is set."""
        self.gate.set()
        self.at_gate = threading.Event()
        self.error: Exception | None = None
        self._weights = ""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        made: list[list[Completion]] = []
        waiting = list(prompts)
        while waiting:
            self.calls.append([prompt.problem.id for prompt in waiting])
            self.at_gate.set()
            assert self.gate.wait(PATIENCE_S)
            if self.error:
                raise self.error
            for prompt in waiting:
                made.append([Completion(f"{self._weights}{row}", (7,), policy_version=self.version) for row in range(sampling.n)])
                if on_finished and prompt.problem.id != "silent0":
                    for row in reversed(range(sampling.n)):
                        on_finished(len(made) - 1, row, made[-1][row])
            waiting = list(more()) if more else []
        return made

    def load_weights(self, named_tensors: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        ((self._weights, _),) = named_tensors
        self.version = version
        self.calls.append(f"load {self._weights}")

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        require_room(prompts, max_tokens, self.context)

    def sleep(self) -> None:
        self.calls.append("sleep")

    def close(self) -> None:
        self.calls.append("close")


def weights(name: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield name, torch.zeros(1)


def items(count: int, name: str = "p", *, edition: int = 1, first: int = 0, sampling: Sampling = SAMPLING) -> list[Item]:
    return [Item(first + key, prompt, sampling, edition - 1, edition) for key, prompt in enumerate(prompts_of(count, name))]


WEIGHTS = {1: partial(weights, "a"), 2: partial(weights, "b")}


@contextmanager
def sampler_of(engine: Any) -> Iterator[Sampler]:
    sampler = Sampler(lambda: engine)
    try:
        yield sampler
    finally:
        sampler.close()


def collected(sampler: Sampler, count: int) -> dict[int, Answered]:
    """The first so many answers, by key."""
    found: list[Answered] = []
    while len(found) < count:
        found += sampler.collect(PATIENCE_S)
    assert len(found) == count
    return {one.key: one for one in found}


def test_weights_are_loaded_when_the_engine_has_others_and_only_then() -> None:
    engine = FakeEngine()
    with sampler_of(engine) as sampler:
        for key, edition in enumerate((1, 1, 2)):
            sampler.hand(items(1, edition=edition, first=key), WEIGHTS)
            answered = collected(sampler, 1)[key]
            assert [completion.text for completion in answered.completions] == [f"{'ab'[edition - 1]}{row}" for row in (0, 1)]
            assert {completion.policy_version for completion in answered.completions} == {edition - 1}
            assert (answered.loading_s > 0) is (key != 1)
    assert engine.calls == ["load a", ["p0"], ["p0"], "load b", ["p0"], "close"]


def test_items_of_a_kind_are_asked_together_and_join_while_nothing_else_waits() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    with sampler_of(engine) as sampler:
        sampler.hand([*items(2), *items(1, "other", edition=2, first=10), *items(1, "same", first=20)], WEIGHTS)
        assert engine.at_gate.wait(PATIENCE_S)
        sampler.hand(items(1, "late", first=30), WEIGHTS)
        engine.gate.set()
        collected(sampler, 5)
        assert engine.calls[:3] == ["load a", ["p0", "p1", "same0"], "load b"]  # "late" would make "other" wait for longer
        assert engine.calls[3:] == [["other0"], "load a", ["late0"]]
        engine.gate.clear()
        engine.at_gate.clear()
        sampler.hand(items(1, first=40), WEIGHTS)
        assert engine.at_gate.wait(PATIENCE_S)
        sampler.hand(items(1, "joins", first=50), WEIGHTS)
        engine.gate.set()
        collected(sampler, 2)
        assert engine.calls[6:] == [["p0"], ["joins0"]]


def test_a_prompt_that_the_engine_does_not_tell_of_is_answered_when_it_returns() -> None:
    with sampler_of(FakeEngine()) as sampler:
        sampler.hand([*items(1, "silent"), *items(1, first=1)], WEIGHTS)
        answered = collected(sampler, 2)
    assert [[completion.text for completion in answered[key].completions] for key in (0, 1)] == [["a0", "a1"]] * 2


def test_an_item_that_does_not_fit_is_told_and_the_others_are_answered() -> None:
    long = replace(prompts_of(1, "long")[0], token_ids=(1,) * 9)  # 9 + 8 > 16
    with sampler_of(FakeEngine()) as sampler:
        sampler.hand([Item(7, long, SAMPLING, 0, 1), *items(1)], WEIGHTS)
        answered = collected(sampler, 2)
    assert answered[0].error is None
    assert "problem long0: a prompt of 9 tokens and 8 new ones" in str(answered[7].error)


def test_an_error_of_the_engine_is_told_of_all_that_it_was_asked_and_it_lives_on() -> None:
    engine = FakeEngine()
    engine.error = EngineError("vLLM refuses a request")
    with sampler_of(engine) as sampler:
        sampler.hand(items(2), WEIGHTS)
        assert [str(one.error) for one in collected(sampler, 2).values()] == ["vLLM refuses a request"] * 2
        engine.error = None
        sampler.hand(items(1), WEIGHTS)
        assert collected(sampler, 1)[0].error is None


def test_weights_that_did_not_come_are_an_error_of_their_items_alone() -> None:
    with sampler_of(FakeEngine()) as sampler:
        sampler.hand(items(1, edition=3), {})
        assert "weights of version 2 are needed" in str(collected(sampler, 1)[0].error)


@pytest.mark.parametrize(("error", "told"), [(EngineDied("vLLM died"), "^vLLM died$"), (ValueError("odd"), "broke down: ValueError: odd")])
def test_a_dead_engine_is_told_of_once_everything_before_was_collected(error: Exception, told: str) -> None:
    engine = FakeEngine()
    with sampler_of(engine) as sampler:
        sampler.hand(items(1), WEIGHTS)
        collected(sampler, 1)
        engine.error = error
        sampler.hand(items(1), WEIGHTS)
        with pytest.raises(EngineDied, match=told):
            sampler.collect(PATIENCE_S)
        with pytest.raises(EngineDied, match=told):
            sampler.run(print).result()
    assert engine.calls[-1] == "close"


def test_who_waits_for_the_context_hears_why_the_engine_cannot_start() -> None:
    def start() -> FakeEngine:
        raise EngineError("no room")

    sampler = Sampler(start)
    with pytest.raises(EngineError, match="no room"):
        sampler.context()
    sampler.close()
    with sampler_of(FakeEngine()) as sound:
        assert sound.context() == 16


def test_an_errand_is_done_between_calls_and_weights_are_loaded_again_unless_it_brought_some() -> None:
    engine = FakeEngine()
    with sampler_of(engine) as sampler:
        sampler.hand(items(1), WEIGHTS)
        done: list[Future[Any]] = [sampler.run(lambda engine: engine.sleep())]
        collected(sampler, 1)
        done[0].result()
        sampler.hand(items(1), WEIGHTS)
        collected(sampler, 1)
        assert engine.calls == ["load a", ["p0"], "sleep", "load a", ["p0"]]
        sampler.run(lambda engine: engine.load_weights(weights("pushed"), 1), holds=2).result()
        sampler.hand(items(1, edition=2), {})
        assert collected(sampler, 1)[0].completions[0].text == "pushed0"
        with pytest.raises(ZeroDivisionError):
            sampler.run(lambda engine: engine.context / 0).result()


def test_the_local_engine_answers_items_as_it_would_alone(policy: Policy, prompts: list[Prompt]) -> None:
    sampling = Sampling(n=3, max_tokens=12, seed=1, stream="train/4")
    alone = LocalEngine(policy).generate(prompts, sampling)
    with sampler_of(LocalEngine(policy, batch_rows=4)) as sampler:
        assert sampler.context() == policy.context
        for key, prompt in enumerate(prompts):
            sampler.hand([Item(key, prompt, sampling, 5, 1)], {1: policy.weights})
        answered = collected(sampler, len(prompts))
    for made, key in zip(alone, range(len(prompts)), strict=True):
        assert [answer.token_ids for answer in answered[key].completions] == [answer.token_ids for answer in made]
        assert {answer.policy_version for answer in answered[key].completions} == {5}
