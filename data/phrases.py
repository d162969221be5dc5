"""The words of the arithmetic problems: each list holds the phrasings of one thing; which one is drawn is part of a problem's template."""

from typing import NamedTuple


class Person(NamedTuple):
    name: str
    he: str
    him: str
    his: str


def _she(name: str) -> Person:
    return Person(name, "she", "her", "her")


def _he(name: str) -> Person:
    return Person(name, "he", "him", "his")


PEOPLE = (
    *(_she(name) for name in ("Anna", "Maria", "Emma", "Lily", "Sara", "Nina")),
    *(_he(name) for name in ("Tom", "Ben", "Omar", "Leo", "Max", "Paul")),
)
ITEMS = ("apples", "marbles", "pencils", "stickers", "cards", "books", "coins", "shells")

OPENINGS = ("{name} has {n} {items}.", "{name} starts with {n} {items}.", "At first {name} has {n} {items}.")
BOXES = (
    "{name} has {n} boxes of {m} {items} each.",
    "{name} buys {n} boxes with {m} {items} in each.",
    "{name} fills {n} boxes with {m} {items} each.",
)
STEPS: dict[str, tuple[str, ...]] = {
    "+": (
        "{He} buys {n} more {items}.",
        "A friend gives {him} {n} more.",
        "{He} finds another {n} {items}.",
        "Then {name} gets {n} more {items}.",
    ),
    "-": (
        "{He} gives {n} {items} to a friend.",
        "{He} loses {n} of them.",
        "{He} sells {n} {items}.",
        "Then {name} gives away {n} {items}.",
    ),
    "*": (
        "By the next week {he} has {times} as many.",
        "Then the number of {his} {items} grows to {times} what it was.",
        "{He} collects until {he} has {times} as many {items}.",
    ),
    "/": (
        "{He} puts the {items} into {n} equal piles and keeps only one pile.",
        "{He} shares the {items} equally among {n} bags and keeps one bag.",
        "{He} keeps only one of every {n} {items}.",
    ),
}
QUESTIONS = ("How many {items} does {name} have now?", "How many {items} does {name} have in the end?")


def times(factor: int) -> str:
    """`twice`, `3 times` and so on, before `as many`."""
    return "twice" if factor == 2 else f"{factor} times"
