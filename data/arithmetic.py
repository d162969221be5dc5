"""The source `arithmetic`: seeded grade-school word problems in GSM8K's schema, of any number and no download.

Train, held-out and demonstration problems come from streams of their own. A story drawn for train or demonstrations is drawn again when
its question, or its template instance (same phrasings, same numbers, another name), is among the held-out ones.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from reasoning_rl.config import ArithmeticConfig, DataConfig
from reasoning_rl.data.source import Loaded, Row, Worked
from reasoning_rl.data.stories import Story, solution, tell, work
from reasoning_rl.errors import DataError
from reasoning_rl.records import Problem

NAME = "arithmetic"
VERSION = "1"
"""Raise it when the same seed would tell other stories: prepared data of another version are prepared again."""
DRAWS_PER_PROBLEM = 50
DRAWS_AT_LEAST = 1000


class Arithmetic:
    """The generator as a source."""

    def inputs(self, config: DataConfig) -> dict[str, str]:  # noqa: ARG002  # nothing is read
        return {NAME: f"generator {VERSION}"}

    def read(self, config: DataConfig, seed: int) -> Loaded:
        told = tell_all(config.arithmetic, seed)
        return Loaded(
            train=[_row(story, config.train_split, index) for index, story in enumerate(told.train)],
            eval=[_row(story, config.eval_split, index) for index, story in enumerate(told.held_out)],
            worked=list(_demonstrations(seed, config.arithmetic, told.shown)),
        )


class Told(NamedTuple):
    """The stories of one seed."""

    train: list[Story]
    held_out: list[Story]
    shown: list[Story]
    """In the demonstrations of the cold start; they may repeat one another, as independent draws do."""


def tell_all(settings: ArithmeticConfig, seed: int) -> Told:
    """A function of its arguments alone. DataError when the settings don't yield so many stories."""
    held_out = _distinct(stream(seed, "test", settings), settings.eval_problems, lambda _: True, "eval_problems")
    questions, instances = {story.question for story in held_out}, {story.instance for story in held_out}

    def unseen(story: Story) -> bool:
        return story.question not in questions and story.instance not in instances

    train = _distinct(stream(seed, "train", settings), settings.train_problems, unseen, "train_problems")
    return Told(train, held_out, _allowed(stream(seed, "demonstrations", settings), settings.demonstrations, unseen))


def stream(seed: int, name: str, config: ArithmeticConfig) -> Iterator[Story]:
    """Stories without end, a function of seed, name and config alone."""
    rng = Random(f"{seed}/{name}")
    while True:
        yield tell(rng, config)


def _distinct(stories: Iterator[Story], count: int, allowed: Callable[[Story], bool], setting: str) -> list[Story]:
    """The first `count` allowed stories without a repeated question. DataError when the settings don't yield so many."""
    found: dict[str, Story] = {}
    for story in islice(stories, _draws(count)):
        if allowed(story):
            found.setdefault(story.question, story)
        if len(found) == count:
            return list(found.values())
    raise DataError(
        f"data.arithmetic.{setting}: {count} distinct problems asked for, {len(found)} found in {_draws(count)} draws; "
        "ask for fewer, or allow more steps or larger numbers"
    )


def _demonstrations(seed: int, config: ArithmeticConfig, stories: Sequence[Story]) -> Iterator[Worked]:
    """Worked answers with slips, mixed with right answers given at once."""
    rng = Random(f"{seed}/slips")
    for index, story in enumerate(stories):
        asked = problem(story, "demonstrations", index, worked=False)
        if rng.random() < config.direct_fraction:
            yield Worked(asked, "", asked.gold)
        else:
            working, answer = work(rng, story, config.slip_rate)
            yield Worked(asked, working, str(answer))


def _allowed(stories: Iterator[Story], count: int, allowed: Callable[[Story], bool]) -> list[Story]:
    """The first `count` allowed stories. DataError when the settings don't yield so many."""
    found = list(islice(filter(allowed, islice(stories, _draws(count))), count))
    if len(found) < count:
        raise DataError(
            f"data.arithmetic.demonstrations: only {len(found)} of {count} problems are not held out; allow more steps or larger numbers"
        )
    return found


def _draws(count: int) -> int:
    """After so many draws a shortage is not chance."""
    return count * DRAWS_PER_PROBLEM + DRAWS_AT_LEAST


def problem_id(split: str, index: int) -> str:
    """Of the story with this place in its split."""
    return f"{NAME}/{split}/{index}"


def problem(story: Story, split: str, index: int, *, worked: bool = True) -> Problem:
    """The story as a problem of a split, with its solution where it is to be `worked`."""
    return Problem(
        id=problem_id(split, index),
        source=NAME,
        split=split,
        question=story.question,
        gold=str(story.answer),
        solution=solution(story) if worked else "",
        task="gsm8k",
        level=str(len(story.steps)),
        subject="arithmetic",
    )


def _row(story: Story, split: str, index: int) -> Row:
    told = problem(story, split, index)
    return Row(told, told.id)


SOURCE = Arithmetic()
