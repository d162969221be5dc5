"""Training problems of the generator, told again with other names and numbers."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.config import ArithmeticConfig, DataConfig
from reasoning_rl.data.arithmetic import SOURCE, tell_all
from reasoning_rl.data.perturbation import seen_and_twins
from reasoning_rl.data.phrases import ITEMS, PEOPLE
from reasoning_rl.errors import ConfigError, DataError

SMALL = ArithmeticConfig(train_problems=60, eval_problems=30, demonstrations=60)
OPERATORS = {
    "boxes": "*",
    "as many": "*",
    "grows to": "*",
    "piles": "/",
    "equally among": "/",
    "one of every": "/",
    "more": "+",
    "another": "+",
    "gives": "-",
    "loses": "-",
    "sells": "-",
}
"""What each sentence of a story does, by the first of these words in it."""


def config(**arithmetic: object) -> DataConfig:
    return DataConfig(arithmetic=SMALL.model_copy(update=arithmetic))


def nameless(question: str) -> str:
    """The question without its names and items."""
    people = rf"\b({'|'.join(person.name for person in PEOPLE)}|he|she|his|her|him)\b"
    return re.sub(rf"\b({'|'.join(ITEMS)})\b", "things", re.sub(people, "@", question, flags=re.IGNORECASE))


def sentences(question: str) -> str:
    """Without its numbers either."""
    return re.sub(r"\d+", "#", nameless(question).replace("twice", "2 times"))


def numbers(question: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", question.replace("twice", "2 times"))]


def names(question: str) -> set[str]:
    return set(re.findall(rf"\b(?:{'|'.join((*(person.name for person in PEOPLE), *ITEMS))})\b", question))


def worked_out(question: str) -> list[int]:
    """Every quantity of a question, read from its English sentence by sentence."""
    first, *sentences = re.findall(r"[^.?]+(?=\.)", question)
    start, *boxed = numbers(first)
    values = [start, *(start * each for each in boxed)]
    for sentence in sentences:
        operator = next(operator for word, operator in OPERATORS.items() if word in sentence)
        (operand,) = numbers(sentence)
        value, rest = divmod(values[-1], operand) if operator == "/" else (eval(f"{values[-1]}{operator}{operand}"), 0)
        assert rest == 0
        values.append(value)
    return values


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**9), operand=st.integers(10, 60), value=st.integers(40, 400), fewest=st.integers(1, 3), more=st.integers(0, 3)
)
def test_a_twin_has_the_sentences_of_its_original_and_nothing_else_of_it(
    seed: int, operand: int, value: int, fewest: int, more: int
) -> None:
    pairs = seen_and_twins(config(steps=(fewest, fewest + more), largest_operand=operand, largest_value=value), seed, 20)
    assert len(pairs.seen) == len(pairs.twins) == 20
    for seen, twin in zip(pairs.seen, pairs.twins):
        assert seen.id == twin.id
        old, new = seen.question, twin.question
        assert sentences(old) == sentences(new)
        assert not names(old) & names(new)
        assert all(before != after for before, after in zip(numbers(old), numbers(new), strict=True))
        assert seen.gold != twin.gold
        assert seen.level == twin.level


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), operand=st.integers(10, 60), value=st.integers(40, 400), steps=st.integers(1, 5))
def test_the_gold_of_a_twin_is_what_its_english_and_its_solution_come_to(seed: int, operand: int, value: int, steps: int) -> None:
    for twin in seen_and_twins(config(steps=(1, steps), largest_operand=operand, largest_value=value), seed, 20).twins:
        quantities = worked_out(twin.question)
        assert quantities[-1] == int(twin.gold)
        assert all(2 <= quantity <= value for quantity in quantities)
        assert max(numbers(twin.question)) <= operand
        sums = re.findall(r"<<(\d+)([-+*/])(\d+)=(\d+)>>", twin.solution)
        assert [int(result) for *_, result in sums] == quantities[1:]
        assert all(eval(f"{left}{operator}{right}") == int(result) for left, operator, right, result in sums)
        assert twin.solution.endswith(f"#### {twin.gold}")


@pytest.mark.parametrize("seed", range(5))
def test_no_twin_is_known_from_training_demonstrations_or_the_held_out_problems(seed: int) -> None:
    # one-step stories: a good part of those that can be told at all are known
    crowded = config(steps=(1, 1), train_problems=1500, eval_problems=200, demonstrations=1500)
    loaded = SOURCE.read(crowded, seed)
    known = [row.problem.question for row in (*loaded.train, *loaded.eval)] + [one.problem.question for one in loaded.worked or ()]
    twins = [twin.question for twin in seen_and_twins(crowded, seed, 300).twins]
    assert not set(map(nameless, known)) & set(map(nameless, twins))  # nor under another name


def test_the_seen_problems_are_the_training_problems_themselves() -> None:
    assert seen_and_twins(config(), 3, 10).seen == [row.problem for row in SOURCE.read(config(), 3).train[:10]]


def test_a_twin_is_a_function_of_the_seed_and_its_problem() -> None:
    few, many = seen_and_twins(config(), 3, 5), seen_and_twins(config(), 3, 50)
    assert few.twins == many.twins[:5]
    wanted = many.seen[30].id
    assert seen_and_twins(config(), 3, 50, among={wanted}).twins == [many.twins[30]]
    assert seen_and_twins(config(), 4, 5).twins != few.twins


def test_problems_beyond_the_training_limit_are_not_called_seen() -> None:
    limited = config().model_copy(update={"train_limit": 7})
    assert [seen.id for seen in seen_and_twins(limited, 0, 50).seen] == [f"arithmetic/train/{index}" for index in range(7)]


def test_a_story_that_admits_no_other_numbers_is_passed_over_and_counted() -> None:
    # up to 10, two multiplications in a row can only be 2·2·2
    tight = config(train_problems=500, largest_operand=5, largest_value=10)
    operators = ["".join(step.operator for step in story.steps) for story in tell_all(tight.arithmetic, 0).train]
    fixed = {f"arithmetic/train/{index}" for index, told in enumerate(operators) if "**" in told}
    pairs = seen_and_twins(tight, 0, 500)
    assert fixed
    assert not fixed & {seen.id for seen in pairs.seen}
    assert pairs.skipped == 500 - len(pairs.seen) >= len(fixed)
    with pytest.raises(DataError, match=rf"perturbed problems: {len(fixed)} training problems were told again, none has a twin"):
        seen_and_twins(tight, 0, 500, among=fixed)


def test_only_the_generator_can_tell_a_problem_again() -> None:
    with pytest.raises(ConfigError, match=r"data\.source: 'gsm8k' has no perturbed twins; only 'arithmetic'"):
        seen_and_twins(DataConfig(source="gsm8k"), 0, 5)
