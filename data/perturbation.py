"""Training problems of the generator and their perturbed twins: the same sentences with another name, other items and other numbers.

GSM-Symbolic's idea (arXiv:2410.05229). A policy that reasons solves the twins about as often as the problems it was trained on; one
that has memorised them does not.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from reasoning_rl.config import ArithmeticConfig, DataConfig
from reasoning_rl.data import arithmetic
from reasoning_rl.data.stories import Story, retell
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.records import Problem

SPLIT = "perturbed"
DRAWS = 2000
"""Of a story told again: after so many in vain, the limits or the training problems leave hardly any other numbers to it."""


class Pairs(NamedTuple):
    """Problem i of one list belongs to problem i of the other, and has its id, by which reports on the two are paired."""

    seen: list[Problem]
    twins: list[Problem]
    skipped: int
    """Training problems passed over on the way, since no other numbers are left to their sentences."""


def seen_and_twins(config: DataConfig, seed: int, count: int, among: Collection[str] | None = None) -> Pairs:
    """The first `count` training problems that have a twin, or as many as there are, and their twins.

    `among` holds the ids to choose from, such as those of the problems that a run has asked; None takes all. A twin is a function of
    config, seed and its problem alone, and is told with numbers that no training, held-out or demonstrated problem has in these sentences.
    ConfigError for another source than the generator, DataError when there is no pair.
    """
    if config.source != arithmetic.NAME:
        raise ConfigError(f"data.source: {config.source!r} has no perturbed twins; only {arithmetic.NAME!r} can tell a problem again")
    told = arithmetic.tell_all(config.arithmetic, seed)
    taken = {story.instance for stories in told for story in stories}
    pairs, skipped = Pairs([], [], 0), 0
    for index, story in _chosen(told.train, config, among):
        if len(pairs.seen) == count:
            break
        if twin := _twin(story, Random(f"{seed}/{SPLIT}/{index}"), config.arithmetic, taken):
            pairs.seen.append(arithmetic.problem(story, config.train_split, index))
            pairs.twins.append(replace(arithmetic.problem(twin, SPLIT, index), id=pairs.seen[-1].id))
        else:
            skipped += 1
    if not pairs.seen:
        raise DataError(
            f"perturbed problems: {skipped} training problems were told again, none has a twin; allow larger numbers or more steps"
        )
    return pairs._replace(skipped=skipped)


def _chosen(train: Sequence[Story], config: DataConfig, among: Collection[str] | None) -> Iterator[tuple[int, Story]]:
    """The stories to tell again, with their indices."""
    for index, story in enumerate(train[: config.train_limit]):
        if among is None or arithmetic.problem_id(config.train_split, index) in among:
            yield index, story


def _twin(story: Story, rng: Random, config: ArithmeticConfig, taken: Collection[object]) -> Story | None:
    drawn = (retell(rng, story, config) for _ in range(DRAWS))
    return next((twin for twin in drawn if twin and _changed(twin, story) and twin.instance not in taken), None)


def _changed(twin: Story, story: Story) -> bool:
    """Whether no number is where it was, the answer included: what has been learned by heart is of no use."""
    operands = zip(twin.steps, story.steps, strict=True)
    return twin.start != story.start and twin.answer != story.answer and all(new.operand != old.operand for new, old in operands)
