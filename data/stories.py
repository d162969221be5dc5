"""One arithmetic word problem: a running quantity, told step by step. Equal random streams tell equal stories."""

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
    instance: tuple[int, ...]
    """The phrasings and numbers drawn, whoever the person and whatever the items: two stories with one instance differ in names alone."""
    items: str
    person: Person

    @property
    def answer(self) -> int:
        value = self.start
        for step in self.steps:
            value = calculate(value, step)
        return value


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
    start, steps, value, opening = _boxes(rng, config) if rng.random() < BOXES_SHARE else _plain(rng, config)
    text = BOXES if steps else OPENINGS
    sentences = [text[opening].format(name=person.name, items=items, n=start, m=value // start)]
    instance = [len(steps), opening, start, value]
    while len(steps) < count:
        step = _step(rng, value, config)
        phrasing = _below(rng, len(STEPS[step.operator]))
        sentences.append(_sentence(STEPS[step.operator][phrasing], step.operand, person, items))
        instance += (OPERATORS.index(step.operator), phrasing, step.operand)
        steps.append(step)
        value = calculate(value, step)
    asked = _below(rng, len(QUESTIONS))
    sentences.append(QUESTIONS[asked].format(name=person.name, items=items))
    return Story(" ".join(sentences), start, tuple(steps), (*instance, asked), items, person)


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


def _plain(rng: Random, config: ArithmeticConfig) -> tuple[int, list[Step], int, int]:
    start = _between(rng, SMALLEST, min(config.largest_operand, config.largest_value))
    return start, [], start, _below(rng, len(OPENINGS))


def _boxes(rng: Random, config: ArithmeticConfig) -> tuple[int, list[Step], int, int]:
    boxes = _between(rng, SMALLEST, min(config.largest_operand, config.largest_value // SMALLEST))
    each = _between(rng, SMALLEST, min(config.largest_operand, config.largest_value // boxes))
    return boxes, [Step("*", each)], boxes * each, _below(rng, len(BOXES))


def _step(rng: Random, value: int, config: ArithmeticConfig) -> Step:
    """A step that keeps the quantity within its limits. One of + and - always can: the loop ends."""
    while True:
        operator = OPERATORS[_below(rng, len(OPERATORS))]
        if operator == "+" and value + SMALLEST <= config.largest_value:
            return Step("+", _between(rng, SMALLEST, min(config.largest_operand, config.largest_value - value)))
        if operator == "-" and value >= 2 * SMALLEST:
            return Step("-", _between(rng, SMALLEST, min(config.largest_operand, value - SMALLEST)))
        if operator == "*" and value * SMALLEST <= config.largest_value:
            return Step("*", _between(rng, SMALLEST, min(LARGEST_FACTOR, config.largest_value // value)))
        if operator == "/" and (divisors := [d for d in range(SMALLEST, LARGEST_FACTOR + 1) if not value % d and value // d >= SMALLEST]):
            return Step("/", divisors[_below(rng, len(divisors))])


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
