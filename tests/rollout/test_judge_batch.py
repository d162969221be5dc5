"""What is handed out to workers, and how much at a time; items may come in meanwhile."""

from multiprocessing.connection import wait

import pytest

from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rollout.judge_batch import CHUNK, CHUNK_SIZE, Batch

Item = tuple[Completion, Problem]


def item(text: str) -> Item:
    return Completion(text, (1, 2)), Problem("t/0", "t", "test", "2+3?", "5")


def test_chunks_shrink_towards_the_end_and_hold_no_more_than_a_worker_can_read() -> None:
    with Batch(workers=2) as batch:
        batch.add([item("x")] * 2000)
        sizes = []
        while batch.left:
            sizes.append(len(batch.take()))
    assert sizes[:3] == [CHUNK, CHUNK, CHUNK]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[-1], sum(sizes)) == (1, 2000)
    with Batch(workers=1) as long:
        long.add([item("x" * (CHUNK_SIZE // 3))] * 8 + [item("x" * CHUNK_SIZE)] * 2)
        assert [long.take() for _ in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
        assert [long.take() for _ in range(2)] == [[8], [9]]


def test_what_comes_back_is_handed_out_before_what_came_in_later() -> None:
    with Batch(workers=1) as batch:
        batch.add([item("a"), item("b"), item("c")])
        assert batch.take() == [0, 1]
        batch.add([item("d")])
        batch.give_back([1])
        assert [batch.take(), batch.take()] == [[1, 2], [3]]


def answer(batch: Batch, *indices: int) -> None:
    batch.verdicts.update(dict.fromkeys(indices, Verdict(1.0)))


def test_a_batch_that_may_still_grow_is_unfinished_however_many_verdicts_there_are() -> None:
    with Batch(workers=1) as batch:
        batch.add([item("a")])
        answer(batch, 0)
        assert (batch.unfinished, batch.answered) == (True, False)
        batch.complete()
        assert (batch.unfinished, batch.answered) == (False, True)


def test_a_batch_that_was_given_up_is_over_but_not_answered() -> None:
    with Batch(workers=1) as batch:
        batch.add([item("a")])
        batch.give_up()
        assert (batch.unfinished, batch.answered) == (False, False)


@pytest.mark.parametrize("event", ["add", "complete", "give_up"])
def test_whoever_waits_hears_of_every_change(event: str) -> None:
    with Batch(workers=1) as batch:
        assert wait([batch.bell], 0) == []
        batch.add([item("a")]) if event == "add" else getattr(batch, event)()
        assert wait([batch.bell], 0) == [batch.bell]
        batch.listen()
        assert wait([batch.bell], 0) == []


def test_a_bell_that_nobody_hears_stops_nobody() -> None:
    """A pipe holds 64 KiB."""
    with Batch(workers=1) as batch:
        for _ in range(70_000):
            batch.add([])
        batch.complete()
        while wait([batch.bell], 0):
            batch.listen()
    assert batch.answered
