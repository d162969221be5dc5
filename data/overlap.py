"""How much of a held-out question stands in a training question: its word n-grams, its longest run of words, and where.

A run of L+1 words is two runs of L words that overlap, and can be shared only where both are. So the shared runs are followed length by
length as pairs of numbers, and after a handful of words few are left.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reasoning_rl.data.words import normalised, words
from reasoning_rl.records import Problem

# A: places at which a run of words begins

Integers = npt.NDArray[np.int64]


class Overlap(NamedTuple):
    """What a held-out problem has in common with the training problems."""

    problem_id: str
    share: float
    """Of its word n-grams, the largest share that one training question holds. A question of fewer words is one n-gram."""
    longest_run: int
    """Of words that a training question has too."""
    nearest: str
    """Id of the training problem with that share, or where no n-gram is shared with that run; empty where not a word is."""
    repeated: bool
    """Whether a training problem asks the same question, up to case and spacing. It is the nearest then."""


class Places(NamedTuple):
    """Where runs of words begin, in the order of the texts."""

    text_A: Integers
    """Number of the text, from 0 on each side."""
    run_A: Integers
    """Number of the run; equal runs have equal ones."""


class SharedRuns(NamedTuple):
    """All runs of `length` words that stand on both sides."""

    length: int
    held_out: Places
    train: Places


class Match(NamedTuple):
    """The training text that has most of a held-out one."""

    amount: int
    """Words of the run, or n-grams."""
    text: int
    """Number of the training text."""


def overlaps(train: Sequence[Problem], held_out: Sequence[Problem], size: int) -> list[Overlap]:
    """One per held-out problem, in their order; `size` is the n of the n-grams, and 0 takes each question as one n-gram."""
    texts = [words(problem.question) for problem in held_out]
    runs: dict[int, Match] = {}
    grams: dict[int, Match] = {}
    for shared in shared_runs(texts, [words(problem.question) for problem in train]):
        runs |= _first_runs(shared)
        if shared.length == size:
            grams = _most_grams(shared)
    repeats = {normalised(problem.question): problem.id for problem in reversed(train)}  # the first of a question gives its id
    found = []
    for index, (problem, text) in enumerate(zip(held_out, texts)):
        run, repeat = runs.get(index), repeats.get(normalised(problem.question))
        nearest = grams.get(index, run)
        share = _share(len(text), size, run, grams.get(index))
        there = repeat or (train[nearest.text].id if nearest else "")
        found.append(Overlap(problem.id, share, run.amount if run else 0, there, repeat is not None))
    return found


def shared_runs(held_out: Sequence[Sequence[str]], train: Sequence[Sequence[str]]) -> Iterator[SharedRuns]:
    """Those of one word, of two and so on, as long as there are any."""
    texts = [*held_out, *train]
    text_A = np.repeat(np.arange(len(texts)), np.fromiter(map(len, texts), np.int64))
    numbers: dict[str, int] = {}
    run_A = np.fromiter((numbers.setdefault(word, len(numbers)) for word in chain(*texts)), np.int64, text_A.size)
    place_A = np.arange(text_A.size)
    for length in count(1):
        ours_A = text_A[place_A] < len(held_out)
        both_A = np.isin(run_A, run_A[ours_A]) & np.isin(run_A, run_A[~ours_A])
        place_A, run_A, ours_A = place_A[both_A], run_A[both_A], ours_A[both_A]
        if not place_A.size:
            return
        ours, theirs = Places(text_A[place_A[ours_A]], run_A[ours_A]), Places(text_A[place_A[~ours_A]] - len(held_out), run_A[~ours_A])
        yield SharedRuns(length, ours, theirs)
        goes_on_A = (np.diff(place_A) == 1) & (np.diff(text_A[place_A]) == 0)
        pair_A = run_A[:-1][goes_on_A] * (run_A.max() + 1) + run_A[1:][goes_on_A]
        place_A, run_A = place_A[:-1][goes_on_A], np.unique(pair_A, return_inverse=True)[1]


def _first_runs(shared: SharedRuns) -> dict[int, Match]:
    """By held-out text, the first training text with its first shared run."""
    runs, places = np.unique(shared.train.run_A, return_index=True)
    texts, firsts = np.unique(shared.held_out.text_A, return_index=True)
    theirs = shared.train.text_A[places[np.searchsorted(runs, shared.held_out.run_A[firsts])]]
    return {int(text): Match(shared.length, int(their)) for text, their in zip(texts, theirs)}


def _most_grams(shared: SharedRuns) -> dict[int, Match]:
    """By held-out text, the training text with most of its runs, the first of equals."""
    run_R, text_R = np.unique(np.stack([shared.train.run_A, shared.train.text_A]), axis=1)
    begin_A, end_A = (np.searchsorted(run_R, shared.held_out.run_A, side) for side in ("left", "right"))
    found = {}
    for text in np.unique(shared.held_out.text_A):
        first, last = np.searchsorted(shared.held_out.text_A, [text, text + 1])
        theirs = np.concatenate([text_R[begin:end] for begin, end in zip(begin_A[first:last], end_A[first:last])])
        amounts = np.bincount(theirs)
        found[int(text)] = Match(int(amounts.max()), int(amounts.argmax()))
    return found


def _share(length: int, size: int, run: Match | None, grams: Match | None) -> float:
    """Of a text's n-grams; whether the whole of it is shared where it has fewer words than an n-gram."""
    if not size or length < size:
        return float(run is not None and run.amount == length)
    return grams.amount / (length - size + 1) if grams else 0.0
