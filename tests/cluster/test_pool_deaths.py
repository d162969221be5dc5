"""Samplers die, come late or never: each prompt is answered once all the same, or whoever asked hears why not."""

import random
from dataclasses import replace

import pytest
from cluster_fakes import SAMPLING, expected, ids, prompts_of, stage, until
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.errors import EngineDied, EngineError, ModelError, ReasoningRLError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    samplers=st.integers(1, 4),
    rows=st.integers(1, 12),
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    deaths=st.integers(0, 4),
)
def test_every_prompt_is_answered_once_by_the_right_weights_whoever_dies(
    seed: int, samplers: int, rows: int, sizes: list[int], deaths: int
) -> None:
    chance = random.Random(seed)
    with stage(samplers, rows=rows, started=False) as scene:
        scene.pool.publish(1, "weights 1", keep=2)
        prompts = [prompts_of(size, f"call {number} ") for number, size in enumerate(sizes)]
        drawn = [replace(SAMPLING, stream=f"train/{number}") for number in range(len(sizes))]
        calls = [scene.asked(asked, how, version=number % 2) for number, (asked, how) in enumerate(zip(prompts, drawn, strict=True))]
        while not all(call.done() for call in calls):
            hand = chance.choice(scene.hands)
            if not hand.started:
                hand.start()
            elif hand.pending and not hand.dead and deaths and chance.random() < 0.2:
                hand.answer(chance.choice(hand.pending))  # without that, three deaths in a row would end all
                hand.die()
                deaths -= 1
            elif hand.pending and not hand.dead:
                hand.answer(*chance.sample(hand.pending, chance.randint(1, len(hand.pending))))
        assert [call.result() for call in calls] == [
            expected(asked, how, number % 2) for number, (asked, how) in enumerate(zip(prompts, drawn, strict=True))
        ]
        for hand in scene.hands:
            assert len({item.key for item in hand.got}) == len(hand.got)
            assert hand.weights.items() <= {1: "weights 0", 2: "weights 1"}.items()
    assert all(hand.killed for hand in scene.hands)


def test_late_answers_of_a_sampler_that_was_given_up_are_dropped() -> None:
    with stage(1) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 1)
        scene.hands[0].cut_off = True
        asked = scene.asked(prompts_of(2))
        until(lambda: len(scene.hands) == 2 and len(scene.hands[1].pending) == 2)
        scene.hands[0].answer(*scene.hands[0].pending, version=9)
        first, second = scene.hands[1].pending
        scene.hands[1].answer(first, first, second)
        assert asked.result() == expected(prompts_of(2), SAMPLING, 0)
        assert scene.hands[0].killed


def test_deaths_are_counted_and_what_was_handed_out_again() -> None:
    with stage(1) as scene:
        asked = scene.asked(prompts_of(3))
        scene.hands[0].answer(scene.hands[0].got[0])
        scene.hands[0].die()
        until(lambda: len(scene.hands) == 2 and len(scene.hands[1].pending) == 2)
        scene.hands[1].answer(*scene.hands[1].pending)
        asked.result()
        metrics = scene.pool.metrics()
    assert {name: metrics[f"cluster/{name}"] for name in ("samplers", "replaced", "handed_again", "seconds/prompt")} == {
        "samplers": 1, "replaced": 1, "handed_again": 2, "seconds/prompt": 0.5
    }  # fmt: skip


def test_three_deaths_in_a_row_end_all_calls_with_the_reason() -> None:
    with stage(1) as scene:
        asked = scene.asked(prompts_of(1))
        for number in range(3):
            until(lambda number=number: len(scene.hands) > number and bool(scene.hands[number].got))  # type: ignore[misc]
            scene.hands[number].die("out of memory")
        with pytest.raises(EngineDied, match=r"sampler 0 died 3 times in a row.*out of memory"):
            asked.result()
        with pytest.raises(EngineDied, match="in a row"):
            scene.pool.generate(prompts_of(1), SAMPLING)
        with pytest.raises(EngineDied, match="in a row"):
            scene.pool.settled()
    assert len(scene.hands) == 3


def test_a_prompt_that_kills_whoever_has_it_is_named() -> None:
    with stage(1) as scene:
        asked = scene.asked(prompts_of(2, "poison "))
        for number in range(5):
            until(lambda number=number: len(scene.hands) > number and bool(scene.hands[number].pending))  # type: ignore[misc]
            if number == 2:  # an answer in between: no three deaths in a row
                scene.hands[number].answer(scene.hands[number].pending[1])
            scene.hands[number].die("poisoned")
        with pytest.raises(EngineDied, match=r"problem poison 0: 5 samplers died .*poisoned"):
            asked.result()


@pytest.mark.parametrize("error", [EngineError("vLLM can't take this model"), ModelError("it can't take this policy")])
def test_an_engine_that_cannot_be_started_fails_calls_at_once(error: ReasoningRLError) -> None:
    with stage(2, started=False) as scene:
        asked = scene.asked(prompts_of(1))
        scene.hands[1].refuse(error)
        with pytest.raises(type(error), match="can't take"):
            asked.result()
    assert len(scene.hands) == 2


def test_calls_that_are_broken_off_end_though_no_sampler_has_room() -> None:
    with stage(1, started=False) as scene:
        asked = scene.asked(prompts_of(2))
        scene.pool.break_off()
        with pytest.raises(EngineError, match="sampling was broken off"):
            asked.result()
        again = scene.asked(prompts_of(1))
        scene.hands[0].start()
        until(lambda: ids(scene.hands[0]) == ["p0"])
        scene.hands[0].answer(*scene.hands[0].pending)
        assert again.result() == expected(prompts_of(1), SAMPLING, 0)


def test_prompts_that_never_arrive_are_handed_out_again() -> None:
    with stage(1) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 1)
        scene.hands[0].deaf = True
        asked = scene.asked(prompts_of(2))
        until(lambda: len(scene.hands) == 2 and len(scene.hands[1].pending) == 2)
        scene.hands[1].answer(*scene.hands[1].pending)
        assert asked.result() == expected(prompts_of(2), SAMPLING, 0)


def test_weights_that_only_some_have_are_asked_of_these_until_the_last_has_died() -> None:
    with stage(2, rows=2) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 2)
        scene.pool.publish(1, "sent", keep=1, holders=[scene.hands[0]])
        asked = scene.asked(prompts_of(2))
        until(lambda: ids(scene.hands[0]) == ["p0"])
        scene.hands[0].answer(*scene.hands[0].pending)
        until(lambda: ids(scene.hands[0]) == ["p0", "p1"])
        assert scene.hands[1].got == []
        scene.hands[0].die()
        with pytest.raises(EngineDied, match="no sampler is left that has the weights of version 1"):
            asked.result()


def test_one_event_that_fails_ends_all_calls_and_leaves_nobody_waiting() -> None:
    def odd() -> None:
        raise ValueError("odd")

    with stage(1) as scene:
        asked = scene.asked(prompts_of(1))
        scene.pool._later(odd)
        assert scene.pool.metrics()
        with pytest.raises(EngineDied, match="handing out prompts broke down: ValueError: odd"):
            asked.result()
        with pytest.raises(ZeroDivisionError):
            scene.pool._ask(lambda: 1 / 0)


def test_no_sampler_for_longer_than_patience_fails_calls_and_those_who_ask_for_the_context() -> None:
    with stage(1, patience_s=0.05, started=False) as scene:
        with pytest.raises(EngineError, match=r"cluster.samplers: none of 1 .* cluster.wait_s \(0.05 s\)"):
            scene.pool.generate(prompts_of(1), SAMPLING)
        with pytest.raises(EngineError, match=r"cluster\.wait_s"):
            scene.pool.require_fit(prompts_of(1), 8)
        scene.hands[0].start(context=9)
        scene.pool.require_fit(prompts_of(1), 8)
        with pytest.raises(EngineError, match="problem p0: a prompt of 1 tokens and 9 new ones"):
            scene.pool.require_fit(prompts_of(1), 9)
