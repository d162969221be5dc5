"""The generator of word problems."""

import re
from itertools import islice, repeat
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.config import ArithmeticConfig, DataConfig
from reasoning_rl.data.arithmetic import SOURCE, _allowed, _distinct, stream
from reasoning_rl.data.phrases import PEOPLE
from reasoning_rl.data.source import Loaded
from reasoning_rl.data.stories import Step, Story, calculate, solution, work
from reasoning_rl.errors import DataError

SMALL = ArithmeticConfig(train_problems=400, eval_problems=100, demonstrations=400)
TWO_STEPS = Story("?", 20, (Step("+", 5), Step("*", 2)), (), "apples", PEOPLE[0])


def read(seed: int = 0, arithmetic: ArithmeticConfig = SMALL) -> Loaded:
    return SOURCE.read(DataConfig(arithmetic=arithmetic), seed)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**9), operand=st.integers(5, 60), value=st.integers(10, 400), steps=st.integers(1, 6))
def test_every_quantity_stays_within_the_limits(seed: int, operand: int, value: int, steps: int) -> None:
    config = ArithmeticConfig(steps=(steps, steps), largest_operand=operand, largest_value=value)
    for story in islice(stream(seed, "x", config), 20):
        assert len(story.steps) == steps
        quantity = story.start
        for step in story.steps:
            assert 2 <= step.operand <= max(operand, 5)
            assert step.operator != "/" or quantity % step.operand == 0
            quantity = calculate(quantity, step)
            assert 2 <= quantity <= value


def test_the_solution_is_worked_in_gsm8ks_schema() -> None:
    assert solution(TWO_STEPS) == "Anna then has 20+5 = <<20+5=25>>25 apples.\nAnna then has 25*2 = <<25*2=50>>50 apples.\n#### 50"


def test_working_without_slips_is_the_annotations_alone() -> None:
    assert work(Random(0), TWO_STEPS, slip_rate=0) == ("20+5=25\n25*2=50", 50)


def test_the_working_carries_on_from_a_slip() -> None:
    working, answer = work(Random(0), TWO_STEPS, slip_rate=1)
    first, second = re.fullmatch(r"20\+5=(\d+)\n(\d+)\*2=\d+", working).groups()  # type: ignore[union-attr]  # no match fails the test
    assert first == second != "25"
    assert working.endswith(f"={answer}")


def test_slips_are_the_listed_ones() -> None:
    # of 20+5: off by 1, 2 or 10, or 20-5
    story = Story("?", 20, (Step("+", 5),), (), "apples", PEOPLE[0])
    rng = Random(0)
    assert {work(rng, story, 1)[1] for _ in range(300)} == {24, 26, 23, 27, 15, 35}


def test_a_slip_never_falls_below_one() -> None:
    # of 5-3 = 2: 1 stays, 2-2 and 2-10 turn upwards to 4 and 12, confusion gives 8
    story = Story("?", 5, (Step("-", 3),), (), "apples", PEOPLE[0])
    rng = Random(0)
    assert {work(rng, story, 1)[1] for _ in range(300)} == {1, 3, 4, 12, 8}


def test_one_seed_tells_one_set_of_stories() -> None:
    assert read(1) == read(1)
    assert read(1).train != read(2).train


def test_held_out_questions_and_template_instances_never_occur_in_training() -> None:
    arithmetic = ArithmeticConfig(train_problems=1500, eval_problems=200, demonstrations=1500, steps=(1, 1))
    loaded = read(0, arithmetic)
    held_out = {row.problem.question for row in loaded.eval}
    others = {row.problem.question for row in loaded.train} | {one.problem.question for one in loaded.worked or ()}
    assert not held_out & others
    names = re.compile(rf"\b({'|'.join(person.name for person in PEOPLE)}|he|she|his|her|him)\b", re.IGNORECASE)
    things = re.compile(r"\b(apples|marbles|pencils|stickers|cards|books|coins|shells)\b")

    def instance(question: str) -> str:
        return things.sub("#", names.sub("@", question))

    assert not {instance(question) for question in held_out} & {instance(question) for question in others}


def test_all_training_and_held_out_questions_are_distinct() -> None:
    loaded = read()
    questions = [row.problem.question for row in (*loaded.train, *loaded.eval)]
    assert len(set(questions)) == len(questions) == 500


def test_the_level_is_the_number_of_steps() -> None:
    for row in read().train[:50]:
        assert row.problem.solution.count("<<") == int(row.problem.level)
        assert row.problem.solution.endswith(f"#### {row.problem.gold}")


def test_direct_demonstrations_are_right_and_worked_ones_may_slip() -> None:
    worked = read().worked or ()
    assert len(worked) == 400
    direct = [one for one in worked if not one.working]
    assert 150 < len(direct) < 250  # half of 400, six standard deviations of 10 aside would be 140 to 260
    assert all(one.answer == one.problem.gold for one in direct)
    # a step is right with 0.9; over one to four steps (.9 + .81 + .729 + .6561) / 4 = 0.774 of the answers are
    right = sum(one.answer == one.problem.gold for one in worked if one.working) / (400 - len(direct))
    assert 0.65 < right < 0.9


def test_questions_read_like_english() -> None:
    for row in read().train:
        assert re.fullmatch(r"[A-Z][^{}?]*\. How many \w+ does \w+ have (now|in the end)\?", row.problem.question), row.problem.question
        assert not re.search(r"\b1 |  |\.\.", row.problem.question)


def test_more_problems_than_the_settings_yield_are_refused() -> None:
    with pytest.raises(DataError, match=r"data\.arithmetic\.eval_problems: 2 distinct problems asked for, 1 found"):
        _distinct(repeat(TWO_STEPS), 2, lambda _: True, "eval_problems")
    with pytest.raises(DataError, match=r"data\.arithmetic\.demonstrations: only 0 of 1 problems are not held out"):
        list(_allowed(repeat(TWO_STEPS), 1, lambda _: False))
