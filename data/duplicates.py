"""Problems that repeat an earlier one: exactly, up to case and spacing, or nearly, by Jaccard similarity of word 3-grams.

Near repeats are looked for by prefix filtering (Bayardo, Ma and Srikant, WWW 2007): two sets with similarity t share one of the rarest
|x| − ⌈t·|x|⌉ + 1 shingles of each, so an index of those alone finds every pair.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from reasoning_rl.data.sift import Finding, Findings
from reasoning_rl.data.source import Row
from reasoning_rl.data.words import Gram, normalised, shingles

Shingles = frozenset[Gram]


def exact_duplicates(rows: Sequence[Row]) -> Findings:
    """The second and later problems with one question; a gold that differs is pointed out."""
    first: dict[str, Row] = {}
    findings = {}
    for row in rows:
        original = first.setdefault(normalised(row.problem.question), row)
        if original is not row:
            findings[row.problem.id] = _repeats(row, original)
    return findings


def near_duplicates(rows: Sequence[Row], similarity: float) -> Findings:
    """Problems at least so similar to an earlier one that is kept, with the same gold; none when `similarity` is 1.

    A changed number changes the gold: such a problem is a new one, however similar its words.
    """
    if similarity >= 1:
        return {}
    sets = [shingles(row.problem.question) for row in rows]
    rarity = Counter(shingle for one in sets for shingle in one)
    index: dict[tuple[str, Gram], list[int]] = defaultdict(list)
    findings = {}
    for number, row in enumerate(rows):
        rarest = sorted(sets[number], key=lambda shingle: (rarity[shingle], shingle))
        keys = [(row.problem.gold, shingle) for shingle in rarest[: _prefix(len(rarest), similarity)]]
        candidates = sorted({earlier for key in keys for earlier in index[key]})
        match = _first_match(sets, number, candidates, similarity)
        if match is None:
            for key in keys:
                index[key].append(number)
        else:
            findings[row.problem.id] = _nearly(rows[match], jaccard(sets[number], sets[match]))
    return findings


def jaccard(left: Shingles, right: Shingles) -> float:
    """Shared shingles over all shingles.

    >>> jaccard(frozenset({("a",), ("b",)}), frozenset({("b",), ("c",)}))
    0.3333333333333333
    """
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def _prefix(size: int, similarity: float) -> int:
    return size - max(1, math.ceil(similarity * size)) + 1


def _first_match(sets: Sequence[Shingles], number: int, candidates: Sequence[int], similarity: float) -> int | None:
    return next((earlier for earlier in candidates if jaccard(sets[number], sets[earlier]) >= similarity), None)


def _repeats(row: Row, original: Row) -> Finding:
    same = row.problem.gold == original.problem.gold
    golds = "" if same else f", whose gold is {original.problem.gold!r} where this one's is {row.problem.gold!r}"
    return Finding(f"the question of {original.problem.id}{golds}", original.problem.id)


def _nearly(original: Row, similarity: float) -> Finding:
    return Finding(
        f"nearly the question of {original.problem.id}: {similarity:.2f} of the word 3-grams, and the gold, are the same",
        original.problem.id,
    )
