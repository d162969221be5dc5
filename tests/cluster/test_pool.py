"""Prompts are handed out as samplers get free, by the weights that were asked for, and who asked hears of every answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster_fakes import SAMPLING, expected, ids, prompts_of, stage, until

from reasoning_rl.cluster.sampler import Answered
from reasoning_rl.cluster.tally import Tally
from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion


def test_no_thread_is_left_when_a_pool_is_closed() -> None:
    before = set(threading.enumerate())
    with stage(2) as scene:
        asked = scene.asked(prompts_of(3))
    with pytest.raises(EngineError, match="closed"):
        asked.result()
    with pytest.raises(EngineError, match="closed"):
        scene.pool.generate(prompts_of(1), SAMPLING)
    assert set(threading.enumerate()) <= before


def test_what_waits_is_dealt_out_evenly_and_each_share_sent_at_once() -> None:
    with stage(3) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 3)
        scene.asked(prompts_of(9))
        until(lambda: sum(map(len, (hand.got for hand in scene.hands))) == 9)
        assert [hand.gifts for hand in scene.hands] == [[3], [3], [3]]


def test_a_sampler_has_no_more_answers_in_hand_than_rows_and_a_long_one_holds_up_nobody() -> None:
    with stage(2, rows=4) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 2)
        asked = scene.asked(prompts_of(8))
        slow, quick = scene.hands
        until(lambda: len(slow.pending) == len(quick.pending) == 2)  # two prompts of two answers each
        while len(quick.got) < 6:
            quick.answer(*quick.pending)
            until(lambda: bool(quick.pending))
        assert len(slow.got) == 2
        quick.answer(*quick.pending)
        slow.answer(*slow.pending)
        assert asked.result() == expected(prompts_of(8), SAMPLING, 0)


def test_a_prompt_of_more_answers_than_rows_is_handed_out_alone() -> None:
    with stage(1, rows=1) as scene:
        asked = scene.asked(prompts_of(2))
        for count in (1, 2):
            until(lambda count=count: len(scene.hands[0].got) == count)  # type: ignore[misc]
            assert len(scene.hands[0].pending) == 1
            scene.hands[0].answer(*scene.hands[0].pending)
        assert asked.result() == expected(prompts_of(2), SAMPLING, 0)


def test_prompts_of_earlier_calls_go_first_those_of_a_dead_sampler_before_all_others() -> None:
    with stage(1, rows=4) as scene:
        first = scene.asked(prompts_of(3, "early "))
        scene.asked(prompts_of(1, "late "))
        until(lambda: len(scene.hands[0].got) == 2)
        scene.hands[0].die()
        until(lambda: len(scene.hands) == 2 and len(scene.hands[1].got) == 2)
        assert ids(scene.hands[1]) == ["early 0", "early 1"]
        scene.hands[1].answer(*scene.hands[1].pending)
        until(lambda: len(scene.hands[1].got) == 4)
        assert ids(scene.hands[1])[2:] == ["early 2", "late 0"]
        scene.hands[1].answer(*scene.hands[1].pending)
        assert first.result() == expected(prompts_of(3, "early "), SAMPLING, 0)
        assert scene.pool.metrics()["cluster/samplers"] == 1


def test_a_sampler_busy_with_other_weights_is_not_waited_for() -> None:
    with stage(2) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 2)
        scene.asked(prompts_of(1, "old "))
        scene.pool.publish(1, "weights 1", keep=2)
        scene.asked(prompts_of(4, "new "))
        until(lambda: len(scene.hands[1].got) == 4)
        assert ids(scene.hands[0]) == ["old 0"]


def test_a_sampler_that_has_no_room_yet_is_used_when_it_has() -> None:
    with stage(2, rows=2, started=False) as scene:
        scene.hands[0].start()
        asked = scene.asked(prompts_of(3))
        until(lambda: len(scene.hands[0].got) == 1)
        scene.hands[1].start()
        until(lambda: len(scene.hands[1].got) == 1)
        for hand in (*scene.hands, scene.hands[0]):
            until(lambda hand=hand: bool(hand.pending))  # type: ignore[misc]
            hand.answer(*hand.pending)
        assert asked.result() == expected(prompts_of(3), SAMPLING, 0)


def test_weights_that_are_not_kept_any_more_cannot_be_asked_for_while_a_call_keeps_its_own() -> None:
    with stage(1) as scene:
        until(lambda: scene.pool.metrics()["cluster/samplers"] == 1)
        old = scene.asked(prompts_of(1), version=0)
        for version in (1, 2):
            scene.pool.publish(version, f"weights {version}", keep=2)
        with pytest.raises(EngineError, match=r"version 0 are not kept .* those of 1, 2 are"):
            scene.pool.generate(prompts_of(1), SAMPLING, version=0)
        scene.hands[0].die()
        until(lambda: len(scene.hands) == 2 and bool(scene.hands[1].got))
        scene.hands[1].answer(*scene.hands[1].pending)
        assert old.result() == expected(prompts_of(1), SAMPLING, 0)
        assert list(scene.hands[1].weights.values()) == ["weights 0"]


def test_other_weights_of_the_same_version_are_told_from_the_first() -> None:
    with stage(1) as scene:
        for weights in ("of one model", "of another"):
            scene.pool.publish(0, weights, keep=1)
            asked = scene.asked(prompts_of(1))
            until(lambda: bool(scene.hands[0].pending))
            scene.hands[0].answer(*scene.hands[0].pending)
            asked.result()
        assert [scene.hands[0].weights[item.edition] for item in scene.hands[0].got] == ["of one model", "of another"]


def test_answers_by_other_weights_than_were_asked_for_are_an_error() -> None:
    with stage(1) as scene:
        asked = scene.asked(prompts_of(1))
        until(lambda: bool(scene.hands[0].pending))
        scene.hands[0].answer(*scene.hands[0].pending, version=3)
        with pytest.raises(EngineError, match=r"sampler 0 gave 2 answers by weights of versions \[3\], 2 by those of version 0"):
            asked.result()


def test_who_listens_hears_of_every_completion_in_the_thread_that_asked() -> None:
    heard: dict[tuple[int, int], Completion] = {}
    threads = set()

    def hear(index: int, row: int, completion: Completion) -> None:
        heard[index, row] = completion
        threads.add(threading.current_thread())

    with stage(1) as scene:

        def answer() -> None:
            until(lambda: len(scene.hands[0].got) == 3)
            scene.hands[0].answer(*scene.hands[0].pending)

        helper = threading.Thread(target=answer)
        helper.start()
        answers = scene.pool.generate(prompts_of(3), SAMPLING, hear)
        helper.join()
    assert heard == {(index, row): answer for index, made in enumerate(answers) for row, answer in enumerate(made)}
    assert threads == {threading.current_thread()}


def test_a_listener_that_raises_ends_its_call_and_nothing_more_of_it_is_handed_out() -> None:
    def hear(index: int, row: int, completion: Completion) -> None:
        raise ValueError("enough")

    with stage(1, rows=2) as scene, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(scene.pool.generate, prompts_of(3), SAMPLING, hear)
        until(lambda: len(scene.hands[0].got) == 1)
        scene.hands[0].answer(*scene.hands[0].pending)
        with pytest.raises(ValueError, match="enough"):
            asked.result()
        while scene.pool._dispatcher.busy:  # the second may have been handed out before
            scene.hands[0].answer(*scene.hands[0].pending)
        scene.pool.settled()
        assert ids(scene.hands[0]) in (["p0"], ["p0", "p1"])


def test_it_is_settled_when_nothing_is_in_hand() -> None:
    with stage(1) as scene, ThreadPoolExecutor(1) as thread:
        scene.asked(prompts_of(2))
        until(lambda: len(scene.hands[0].got) == 2)
        settled = thread.submit(scene.pool.settled)
        scene.hands[0].answer(scene.hands[0].got[0])
        scene.pool.metrics()
        assert not settled.done()
        scene.hands[0].answer(scene.hands[0].got[1])
        assert settled.result() == scene.hands


def test_the_share_of_idle_time_is_that_of_all_samplers_since_the_last_time() -> None:
    tally = Tally(now=10)
    tally.pass_time(12, samplers=2, idle=1)  # 2 of 4 seconds
    tally.pass_time(16, samplers=1, idle=0)  # 0 of 4
    tally.count(Answered(0, seconds=3, loading_s=0.5))
    tally.count(Answered(1, seconds=5))
    assert tally.taken() == {
        "cluster/replaced": 0, "cluster/handed_again": 0, "cluster/idle": 2 / 8,
        "cluster/seconds/prompt": 4, "cluster/seconds/prompt_max": 5, "cluster/seconds/load_weights": 0.5,
    }  # fmt: skip
    assert tally.taken() == {"cluster/replaced": 0, "cluster/handed_again": 0}
