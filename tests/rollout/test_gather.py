"""Which questions a step asks, once and until there is enough to learn from."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest

from reasoning_rl.config import SamplingConfig
from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict
from reasoning_rl.rollout.engine import OnFinished, Sampling
from reasoning_rl.rollout.gather import Asking, Gathered, further_prompts, is_mixed, prompts_of_step, staleness


def prompt(index: int) -> Prompt:
    return Prompt(Problem(f"p{index}", "t", "t", f"q{index}", "1"), f"q{index}", (1, 2))


PROMPTS = [prompt(index) for index in range(10)]


def ids(prompts: Iterable[Prompt]) -> list[str]:
    return [each.problem.id for each in prompts]


def test_a_pass_asks_every_problem_once_but_for_what_fills_no_step() -> None:
    # 10 problems, 3 a step: 3 steps a pass, one problem left out of each
    first, second = (
        [name for step in steps for name in ids(prompts_of_step(PROMPTS, step, 3, seed=0))] for steps in ((0, 1, 2), (3, 4, 5))
    )
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_the_prompts_of_a_step_depend_on_step_and_seed_alone() -> None:
    assert prompts_of_step(PROMPTS, 5, 4, seed=1) == prompts_of_step(PROMPTS, 5, 4, seed=1)
    assert prompts_of_step(PROMPTS, 5, 4, seed=1) != prompts_of_step(PROMPTS, 5, 4, seed=2)


def test_further_prompts_are_all_the_others_in_an_order_of_the_steps_own() -> None:
    asked = PROMPTS[:4]
    ours = ids(further_prompts(PROMPTS, asked, 7, seed=1))
    assert sorted(ours) == sorted(ids(PROMPTS[4:]))
    assert ours == ids(further_prompts(PROMPTS, asked, 7, seed=1))
    assert ours != ids(further_prompts(PROMPTS, asked, 8, seed=1))


class Mixed:
    """Of some problems one answer is right and one is wrong, of the others both are right. Remembers what it is asked, and in what order.

    It tells of the answers to every other prompt as they finish, the last answers first.
    """

    def __init__(self, mixed: Sequence[str]) -> None:
        self.mixed, self.asked, self.samplings, self.done = mixed, list[list[str]](), list[Sampling](), list[str]()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        self.asked.append(ids(prompts))
        self.samplings.append(sampling)
        answers = [[Completion(f"{row}", (row + 1,)) for row in range(sampling.n)] for _ in prompts]
        for index, row in reversed(list(product(range(0, len(prompts), 2), range(sampling.n)))):
            self.done.append("finished")
            if on_finished:
                on_finished(index, row, answers[index][row])
        self.done.append("returned")
        return answers

    def load_weights(self, named_tensors: object, version: int) -> None:  # noqa: ARG002  # never called
        raise AssertionError("sampling changes no weights")

    def close(self) -> None:
        raise AssertionError("whoever opened it closes it")

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [Verdict(0.0, correct=answer.text == "0" or problem.id not in self.mixed) for answer, problem in items]

    @contextmanager
    def early(self) -> "Iterator[Pile]":
        yield Pile(self)


class Pile:
    """Items are kept until somebody asks."""

    def __init__(self, world: Mixed) -> None:
        self.world, self.items = world, list[tuple[Completion, Problem]]()

    def add(self, items: Iterable[tuple[Completion, Problem]]) -> None:
        self.items += items
        self.world.done.append("judged")

    def verdicts(self) -> list[Verdict]:
        return self.world.judge(self.items)


def gathered(world: Mixed, *, wanted: int, step: int = 0, rounds: int = 10, dynamic: bool = True) -> Gathered:
    sampling = SamplingConfig(prompts_per_step=wanted, group_size=2, dynamic=dynamic, max_rounds=rounds)
    return Asking(PROMPTS, world, world, sampling, seed=3).gather(step, lambda _: None)


def of_age(steps: int) -> dict[str, float]:
    """What is said of answers that are all so old."""
    return {"sampling/staleness": steps, "sampling/staleness/max": steps, f"sampling/staleness/{steps}": 1}


def names(groups: Sequence[Group]) -> list[str]:
    return ids(group.prompt for group in groups)


def test_without_dynamic_sampling_the_step_takes_what_it_asked_for() -> None:
    world = Mixed([])
    found = gathered(world, wanted=4, step=1, dynamic=False)
    assert world.asked == [ids(prompts_of_step(PROMPTS, 1, 4, seed=3))]
    assert (names(found.kept), found.others, found.metrics) == (world.asked[0], (), of_age(1))
    assert (world.samplings[0].seed, world.samplings[0].stream, world.samplings[0].n) == (3, "train/1", 2)


def test_answers_go_to_the_judge_as_they_finish_and_the_others_when_all_are_there() -> None:
    world = Mixed(ids(PROMPTS))
    found = gathered(world, wanted=3, dynamic=False)
    # of the first and the third prompt it tells at once, of the second's two answers it doesn't
    assert world.done == [*["finished", "judged"] * 4, "returned", *["judged"] * 2]
    assert [[verdict.correct for verdict in group.verdicts] for group in found.kept] == [[True, False]] * 3


def test_sampling_and_judging_are_announced_and_timed() -> None:
    said: list[str] = []
    sampling = SamplingConfig(prompts_per_step=4, group_size=2, dynamic=True, max_rounds=2)
    found = Asking(PROMPTS, Mixed([]), Mixed([]), sampling, seed=3).gather(0, said.append)
    assert said == ["sample", "judge"] * 2
    assert set(found.seconds) == {"sample", "judge"}


def test_answers_are_as_stale_as_the_steps_that_their_weights_have_not_seen() -> None:
    """Of four answers to step 5, two are of weights after 5 steps, one each of weights after 4 and after 2."""
    answers = tuple(Completion("", (1,), policy_version=version) for version in (5, 5, 4, 2))
    assert staleness([Group(PROMPTS[0], answers[:1], ()), Group(PROMPTS[1], answers[1:], ())], 5) == {
        "sampling/staleness": (0 + 0 + 1 + 3) / 4,
        "sampling/staleness/max": 3,
        "sampling/staleness/0": 0.5,
        "sampling/staleness/1": 0.25,
        "sampling/staleness/3": 0.25,
    }


def test_sampling_that_is_broken_off_ends_at_the_next_answer() -> None:
    world = Mixed([])
    asking = Asking(PROMPTS, world, world, SamplingConfig(prompts_per_step=4, group_size=2), seed=3)
    asking.break_off()
    with pytest.raises(EngineError, match="broken off"):
        asking.gather(0, lambda _: None)
    assert world.done == ["finished"]


class Breaking(Mixed):
    """Ends by itself when it is told to."""

    def break_off(self) -> None:
        self.done.append("told")


def test_an_engine_that_can_be_interrupted_is() -> None:
    world = Breaking([])
    Asking(PROMPTS, world, world, SamplingConfig(), seed=3).break_off()
    assert world.done == ["told"]


class Keeping(Mixed):
    """Says by which weights it is asked."""

    version = 4

    def pinned(self) -> "Keeping":
        bound = Keeping(self.mixed)
        bound.version = self.version
        return bound

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None) -> list[list[Completion]]:
        made = super().generate(prompts, sampling, on_finished)
        return [[replace(answer, policy_version=self.version) for answer in row] for row in made]


def test_pinned_groups_are_those_of_the_weights_of_then() -> None:
    world = Keeping([])
    asking = Asking(PROMPTS, world, world, SamplingConfig(prompts_per_step=4, group_size=2), seed=3)
    pinned = asking.pinned()
    world.version = 5
    assert pinned is not None
    assert pinned.gather(5, lambda _: None).metrics == of_age(1)
    assert asking.gather(5, lambda _: None).metrics == of_age(0)


def test_pinned_sampling_ends_with_the_source_that_it_comes_from() -> None:
    asking = Asking(PROMPTS, Keeping([]), Mixed([]), SamplingConfig(prompts_per_step=4, group_size=2), seed=3)
    pinned = asking.pinned()
    asking.break_off()
    assert pinned is not None
    with pytest.raises(EngineError, match="broken off"):
        pinned.gather(0, lambda _: None)


class Forgetting(Mixed):
    """Could keep older weights, but not as it is set up."""

    def pinned(self) -> None:
        return None


@pytest.mark.parametrize("kind", [Mixed, Forgetting])
def test_an_engine_that_keeps_no_older_weights_pins_nothing(kind: type[Mixed]) -> None:
    assert Asking(PROMPTS, kind([]), kind([]), SamplingConfig(), seed=3).pinned() is None


def test_enough_mixed_groups_at_once_need_no_second_round() -> None:
    world = Mixed(ids(PROMPTS))
    found = gathered(world, wanted=4)
    assert names(found.kept) == ids(prompts_of_step(PROMPTS, 0, 4, seed=3))
    assert found.metrics == {"dynamic/rounds": 1, "dynamic/questions": 4, "dynamic/missing": 0, **of_age(0)}


def test_a_later_round_asks_what_is_missing_over_the_share_kept_so_far() -> None:
    first = ids(prompts_of_step(PROMPTS, 0, 4, seed=3))
    later = ids(further_prompts(PROMPTS, prompts_of_step(PROMPTS, 0, 4, seed=3), 0, seed=3))
    # 3 of 4 are mixed: 1 is missing, over 3/4 that is 1.33, so 2 are asked; 1 of them is mixed
    world = Mixed([*first[1:], later[0]])
    found = gathered(world, wanted=4)
    assert world.asked == [first, later[:2]]
    assert names(found.kept) == [*first[1:], later[0]]
    assert sorted(names(found.others)) == sorted([first[0], later[1]])
    assert found.metrics == {"dynamic/rounds": 2, "dynamic/questions": 6, "dynamic/missing": 0, **of_age(0)}


def test_surplus_groups_are_recorded_but_not_learned_from() -> None:
    first = ids(prompts_of_step(PROMPTS, 0, 4, seed=3))
    # 3 of 4, so 2 more are asked, both mixed: one too many
    world = Mixed([*first[1:], *set(ids(PROMPTS)).difference(first)])
    found = gathered(world, wanted=4)
    assert names(found.kept) == [*first[1:], world.asked[1][0]]
    assert names(found.others) == [world.asked[1][1], first[0]]


def test_no_question_is_asked_twice_in_a_step_and_it_ends_when_none_is_left() -> None:
    # nothing is mixed: rounds of 4, 4 and the last 2
    world = Mixed([])
    found = gathered(world, wanted=4)
    assert [len(asked) for asked in world.asked] == [4, 4, 2]
    assert sorted(name for asked in world.asked for name in asked) == sorted(ids(PROMPTS))
    assert (list(found.kept), len(found.groups)) == ([], 10)
    assert found.metrics == {"dynamic/rounds": 3, "dynamic/questions": 10, "dynamic/missing": 4, **of_age(0)}


def test_at_the_last_round_the_step_makes_do_with_what_there_is() -> None:
    first = ids(prompts_of_step(PROMPTS, 0, 4, seed=3))
    world = Mixed(first[:1])
    # 1 of 4 is mixed: 3 missing over 1/4 is 12, of which 4 at most are asked
    found = gathered(world, wanted=4, rounds=2)
    assert [len(asked) for asked in world.asked] == [4, 4]
    assert names(found.kept) == first[:1]
    assert found.metrics["dynamic/missing"] == 3


def test_asking_again_gives_the_same() -> None:
    worlds = Mixed(ids(PROMPTS[::2])), Mixed(ids(PROMPTS[::2]))
    assert gathered(worlds[0], wanted=4, step=2) == gathered(worlds[1], wanted=4, step=2)
    assert worlds[0].asked == worlds[1].asked


@pytest.mark.parametrize(("right", "mixed"), [([True, True], False), ([False, False], False), ([False, True], True), ([True], False)])
def test_mixed_means_right_and_wrong(right: list[bool], mixed: bool) -> None:
    group = Group(PROMPTS[0], (Completion("", (1,)),) * len(right), tuple(Verdict(0.0, correct=each) for each in right))
    assert is_mixed(group) is mixed
