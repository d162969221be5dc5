"""The loop's pure parts, by hand."""

import pytest

from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict
from reasoning_rl.rollout.clock import Clock
from reasoning_rl.rollout.gather import Gathered
from reasoning_rl.train import advantages, parts, spent


def prompt(index: int) -> Prompt:
    return Prompt(Problem(f"p{index}", "t", "t", f"q{index}", "1"), f"q{index}", (1, 2))


@pytest.mark.parametrize(("groups", "count", "sizes"), [(8, 1, [8]), (8, 4, [2, 2, 2, 2]), (7, 3, [2, 2, 3]), (2, 4, [1, 1]), (0, 4, [])])
def test_optimiser_batches_hold_every_group_once_and_none_is_empty(groups: int, count: int, sizes: list[int]) -> None:
    made = [Group(prompt(index), (), ()) for index in range(groups)]
    cut = parts(made, count)
    assert [len(part) for part in cut] == sizes
    assert [group for part in cut for group in part] == made


PAIR = (Completion("a", (1,)), Completion("b", (2, 3)))


def sample(group: int, row: int) -> Sample:
    return Sample((1,), (1,), (0.0,), 1.0, group=group, row=row)


def test_answers_that_were_left_out_have_no_advantage() -> None:
    groups = [Group(prompt(index), PAIR, (Verdict(1.0), Verdict(0.0))) for index in range(2)]
    assert advantages(groups, [sample(1, 1)], [-2.0]) == [[0.0, 0.0], [0.0, -2.0]]


def test_an_answer_of_several_samples_has_the_mean_of_their_advantages() -> None:
    groups = [Group(prompt(0), PAIR, (Verdict(1.0), Verdict(0.0)))]
    assert advantages(groups, [sample(0, 0), sample(0, 1), sample(0, 0)], [1.0, -1.0, 2.0]) == [[1.5, -1.0]]


def gathered(**seconds: float) -> Gathered:
    """Three tokens."""
    return Gathered([Group(prompt(0), (Completion("a", (1, 2, 3)),), (Verdict(1.0),))], seconds=seconds)


def test_a_step_has_the_seconds_of_its_answers_and_of_what_was_done_with_them() -> None:
    clock = Clock(lambda _: None, {"learn": 2.0})
    figures = spent(gathered(sample=1.5, judge=0.5), clock)
    assert {name: value for name, value in figures.items() if name.startswith("seconds/")} == {
        "seconds/sample": 1.5,
        "seconds/judge": 0.5,
        "seconds/learn": 2.0,
    }
    assert (figures["num_tokens"], figures["sample/tokens_per_second"]) == (3, 2.0)


def test_a_step_takes_the_time_since_its_beginning_however_long_its_answers_took_elsewhere() -> None:
    figures = spent(gathered(sample=1e6), Clock(lambda _: None))
    assert 0 < figures["step_time"] < 1e6
    assert figures["tokens_per_second"] == pytest.approx(3 / figures["step_time"])


def test_what_was_not_sampled_has_no_speed_of_sampling() -> None:
    assert "sample/tokens_per_second" not in spent(gathered(read=1.0), Clock(lambda _: None))
