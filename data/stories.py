"""One arithmetic word problem: a running quantity, told step by step. Equal random streams tell equal stories."""

from collections.abc import Sequence
from functools import reduce
from random import Random
from typing import NamedTuple

from reasoning_rl.config import ArithmeticConfig
from reasoning_rl.data.phrases import BOXES, ITEMS, OPENINGS, PEOPLE, QUESTIONS, STEPS, Person, times

SMALLEST = 2
LARGEST_FACTOR = 5
BOXES_SHARE = 0.3
"""Of the problems that open with `a boxes of b`: their first step is a multiplication."""
OPERATORS = "+-*/"
SLIPS = (1, 2, 10)


class Step(NamedTuple):
    operator: str
    operand: int


class Story(NamedTuple):
    question: str
    start: int
    steps: tuple[Step, ...]
    phrasings: tuple[int, ...]
    """Which wording each sentence has: 1 for boxes, else 0; the opening's; one for each step told after it; the question's."""
    items: str
    person: Person

    @property
    def instance(self) -> tuple[object, ...]:
        """Phrasings and numbers, whoever the person and whatever the items: two stories with one instance differ in names alone."""
        return self.phrasings, self.start, self.steps

    @property
    def answer(self) -> int:
        return _result(self.start, self.steps)


def calculate(value: int, step: Step) -> int:
    """The result of a step; a division that a slip has made inexact is rounded down."""
    if step.operator == "+":
        return value + step.operand
    if step.operator == "-":
        return value - step.operand
    return value * step.operand if step.operator == "*" else value // step.operand


def tell(rng: Random, config: ArithmeticConfig) -> Story:
    """Draw a story within the limits of the config; its quantity is always a whole number from 2 to `largest_value`."""
    person, items = PEOPLE[_below(rng, len(PEOPLE))], ITEMS[_below(rng, len(ITEMS))]
    count = config.steps[0] + _below(rng, config.steps[1] - config.steps[0] + 1)
    boxes = rng.random() < BOXES_SHARE
    start, steps = _begin(rng, boxes, config)
    phrasings = [int(boxes), _below(rng, len(BOXES if boxes else OPENINGS))]
    value = _result(start, steps)
    while len(steps) < count:
        step = _step(rng, value, config)
        phrasings.append(_below(rng, len(STEPS[step.operator])))
        steps.append(step)
        value = calculate(value, step)
    return _written(start, steps, (*phrasings, _below(rng, len(QUESTIONS))), items, person)


def retell(rng: Random, story: Story, config: ArithmeticConfig) -> Story | None:
    """Draw a story of the same sentences with another person, other items and numbers drawn anew.

    None where a step of the story can't follow the numbers drawn: draw again.
    """
    others, things = [one for one in PEOPLE if one != story.person], [one for one in ITEMS if one != story.items]
    person, items = others[_below(rng, len(others))], things[_below(rng, len(things))]
    start, steps = _begin(rng, bool(story.phrasings[0]), config)
    value = _result(start, steps)
    for told in story.steps[len(steps) :]:
        fitting = _operands(told.operator, value, config)
        if not fitting:
            return None
        steps.append(Step(told.operator, fitting[_below(rng, len(fitting))]))
        value = calculate(value, steps[-1])
    return _written(start, steps, story.phrasings, items, person)


def solution(story: Story) -> str:
    """Worked as GSM8K works: a sentence per step with its `<<…>>` annotation, then `#### gold`."""
    lines = []
    value = story.start
    for step in story.steps:
        result = calculate(value, step)
        sum_ = f"{value}{step.operator}{step.operand}"
        lines.append(f"{story.person.name} then has {sum_} = <<{sum_}={result}>>{result} {story.items}.")
        value = result
    return "\n".join((*lines, f"#### {value}"))


def work(rng: Random, story: Story, slip_rate: float) -> tuple[str, int]:
    """The annotations alone, one per line, and what they arrive at; each step may slip, and the rest carries on from the slip."""
    lines = []
    value = story.start
    for step in story.steps:
        result = _slipped(rng, value, step) if rng.random() < slip_rate else calculate(value, step)
        lines.append(f"{value}{step.operator}{step.operand}={result}")
        value = result
    return "\n".join(lines), value


def _begin(rng: Random, boxes: bool, config: ArithmeticConfig) -> tuple[int, list[Step]]:
    """The number that opens a story, and the step told with it where there are `boxes`."""
    if not boxes:
        return _between(rng, SMALLEST, min(config.largest_operand, config.largest_value)), []
    start = _between(rng, SMALLEST, min(config.largest_operand, config.largest_value // SMALLEST))
    return start, [Step("*", _between(rng, SMALLEST, min(config.largest_operand, config.largest_value // start)))]


def _step(rng: Random, value: int, config: ArithmeticConfig) -> Step:
    """A step that keeps the quantity within its limits. One of + and - always can: the loop ends."""
    while True:
        operator = OPERATORS[_below(rng, len(OPERATORS))]
        if fitting := _operands(operator, value, config):
            return Step(operator, fitting[_below(rng, len(fitting))])


def _operands(operator: str, value: int, config: ArithmeticConfig) -> Sequence[int]:
    """Those that keep the quantity a whole number within its limits; none where none does."""
    if operator == "+":
        return range(SMALLEST, min(config.largest_operand, config.largest_value - value) + 1)
    if operator == "-":
        return range(SMALLEST, min(config.largest_operand, value - SMALLEST) + 1)
    if operator == "*":
        return range(SMALLEST, min(LARGEST_FACTOR, config.largest_value // value) + 1)
    return [divisor for divisor in range(SMALLEST, LARGEST_FACTOR + 1) if not value % divisor and value // divisor >= SMALLEST]


def _result(start: int, steps: Sequence[Step]) -> int:
    return reduce(calculate, steps, start)


def _written(start: int, steps: Sequence[Step], phrasings: tuple[int, ...], items: str, person: Person) -> Story:
    """The story in words."""
    boxes, opening, *later, asked = phrasings
    first = (BOXES if boxes else OPENINGS)[opening]
    sentences = [first.format(name=person.name, items=items, n=start, m=steps[0].operand if boxes else 0)]
    for step, phrasing in zip(steps[boxes:], later, strict=True):
        sentences.append(_sentence(STEPS[step.operator][phrasing], step.operand, person, items))
    sentences.append(QUESTIONS[asked].format(name=person.name, items=items))
    return Story(" ".join(sentences), start, tuple(steps), phrasings, items, person)


def _slipped(rng: Random, value: int, step: Step) -> int:
    """A wrong result: off by 1, 2 or 10, or with + and - confused. Never below 1 where the right one is not."""
    right = calculate(value, step)
    kind = _below(rng, 4 if step.operator in "+-" else 3)
    if kind == 3:
        wrong = value - step.operand if step.operator == "+" else value + step.operand
    else:
        wrong = right + (SLIPS[kind] if rng.random() < 0.5 else -SLIPS[kind])
    return wrong if wrong >= 1 else right + SLIPS[min(kind, 2)]


def _sentence(text: str, operand: int, person: Person, items: str) -> str:
    return text.format(
        name=person.name,
        He=person.he.capitalize(),
        he=person.he,
        him=person.him,
        his=person.his,
        items=items,
        n=operand,
        times=times(operand),
    )


def _below(rng: Random, bound: int) -> int:
    """Uniform in 0…bound-1, several times faster than `randrange`."""
    return int(rng.random() * bound)


def _between(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))
