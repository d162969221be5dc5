r"""Sets of real numbers in one normal form: `x \ne 0`, `(-\infty,0) \cup (0,\infty)` and `\mathbb{R} \setminus \{0\}` are one set."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

from reasoning_rl.rewards.equality.form import FLIPPED, Combined, Form, Items, Leaf, Relation
from reasoning_rl.rewards.equality.leaf import infinity, is_unknown, tree, variables
from reasoning_rl.rewards.equality.value import as_real, close, constant

Real = Any
"""An mpf of the thread's context."""
_MAGNITUDE = re.compile(r"\|\s*[a-z]\s*\|")
_SIDES = {
    "<": (True, False, False),
    r"\le": (True, True, False),
    ">": (False, False, True),
    r"\ge": (False, True, True),
    "=": (False, True, False),
    r"\ne": (True, False, True),
}
"""Of a sign: whether what lies below the bound, the bound itself and what lies above it belong to the solutions."""
REAL_LINE = r"\mathbb{R}"
_OPERATIONS: dict[str, Callable[[bool, bool], bool]] = {
    r"\cup": operator.or_,
    r"\cap": operator.and_,
    r"\setminus": lambda kept, removed: kept and not removed,
}


@dataclass(frozen=True, slots=True)
class Reals:
    """The real line, cut at n points: which of its 2n + 1 parts (gap, cut, gap, …, gap) belong to the set."""

    cuts: tuple[Real, ...] = ()
    inside: tuple[bool, ...] = (True,)

    def refined(self, cuts: Sequence[Real]) -> list[bool]:
        """Membership of the parts that more cuts make."""
        parts, own = [self.inside[0]], 0
        for cut in cuts:
            if own < len(self.cuts) and close(cut, self.cuts[own]):
                parts += self.inside[2 * own + 1 : 2 * own + 3]
                own += 1
            else:
                parts += [self.inside[2 * own]] * 2
        return parts

    def same(self, other: "Reals", tolerance: float) -> bool:
        return self.inside == other.inside and all(close(x, y, tolerance) for x, y in zip(self.cuts, other.cuts))


def combined(operation: str, sets: Sequence[Reals]) -> Reals:
    r"""Union (`\cup`), intersection (`\cap`) or difference (`\setminus`), left to right."""
    return reduce(lambda a, b: _pairwise(_OPERATIONS[operation], a, b), sets)


def _pairwise(operation: Callable[[bool, bool], bool], a: Reals, b: Reals) -> Reals:
    cuts: list[Real] = []
    for cut in sorted([*a.cuts, *b.cuts]):
        if not cuts or not close(cuts[-1], cut):
            cuts.append(cut)
    return _without_idle_cuts(cuts, [operation(x, y) for x, y in zip(a.refined(cuts), b.refined(cuts))])


def _without_idle_cuts(cuts: Sequence[Real], inside: Sequence[bool]) -> Reals:
    kept: list[Real] = []
    parts = [inside[0]]
    for index, cut in enumerate(cuts):
        at, after = inside[2 * index + 1 : 2 * index + 3]
        if not parts[-1] == at == after:
            kept.append(cut)
            parts += [at, after]
    return Reals(tuple(kept), tuple(parts))


def is_set_of_reals(form: Form) -> bool:
    """Whether it can be nothing else; a pair in brackets may be a point as well."""
    if isinstance(form, Items):
        return form.kind == "list" and all(map(_restricts, form.items[:1])) and _joined(form) is not None
    return isinstance(form, Combined) or _restricts(form) or form == Leaf(REAL_LINE)


def _restricts(form: Form) -> bool:
    return isinstance(form, Relation) and "=" not in form.signs


def read_reals(form: Form) -> Reals | None:
    """The set, None where the form is none or an end of it is unknown. Raises Unreadable, TooLarge or Undefined."""
    if isinstance(form, Combined):
        return _all_combined(form.operation, [_operand(part) for part in form.parts])
    if isinstance(form, Relation):
        return _solutions(form)
    if isinstance(form, Leaf):
        return Reals() if form.text == REAL_LINE else None
    if not isinstance(form, Items):
        return None
    if form.kind == "set":
        return _all_combined(r"\cup", [_point(item.text) if isinstance(item, Leaf) else None for item in form.items])
    return _interval(form) if form.kind == "tuple" else _joined(form)


def _operand(form: Form) -> Reals | None:
    """A number among sets is the set of it: braces alone are TeX's own brackets."""
    return _point(form.text) if isinstance(form, Leaf) and form.text != REAL_LINE else read_reals(form)


def _all_combined(operation: str, sets: Sequence[Reals | None]) -> Reals | None:
    known = [each for each in sets if each is not None]
    return combined(operation, known) if known and len(known) == len(sets) else None


def _joined(form: Items) -> Reals | None:
    r"""Relations joined by `or`, by `and`, or by commas, which mean `and` where that leaves anything, else `or`."""
    first = form.items[0]
    if isinstance(first, Relation) and first.signs == (r"\ne",):
        others = [Relation((first.sides[0], item.text), first.signs) if isinstance(item, Leaf) else item for item in form.items]
        return _all_combined(r"\cap", [read_reals(item) for item in others])
    if not all(isinstance(item, Relation) for item in form.items) and form.joints != {r"\or"}:
        return None
    unknown = {side for item in form.items if isinstance(item, Relation) for side in item.sides if is_unknown(side)}
    if len(unknown) > 1:
        return None
    sets = [read_reals(item) for item in form.items]
    if r"\or" in form.joints:
        return _all_combined(r"\cup", sets) if form.joints <= {r"\or", ","} else None
    both = _all_combined(r"\cap", sets)
    return _all_combined(r"\cup", sets) if both is not None and not any(both.inside) and r"\and" not in form.joints else both


def _solutions(relation: Relation) -> Reals | None:
    """Of a chain about one bare name, or the magnitude of one; its other sides must be constants."""
    magnitude = [bool(_MAGNITUDE.fullmatch(side)) for side in relation.sides]
    named = [is_unknown(side) or size for side, size in zip(relation.sides, magnitude)]
    if sum(named) != 1:
        return None
    solutions = _all_combined(r"\cap", [_half(relation, index, sign, named.index(True)) for index, sign in enumerate(relation.signs)])
    return _of_magnitude(solutions) if any(magnitude) and solutions is not None else solutions


def _of_magnitude(sizes: Reals) -> Reals:
    """The numbers whose magnitude lies in the set."""
    positive = combined(r"\cap", [sizes, Reals((as_real(Fraction(0)),), (False, True, True))])
    return combined(r"\cup", [positive, Reals(tuple(-cut for cut in reversed(positive.cuts)), positive.inside[::-1])])


def _half(relation: Relation, index: int, sign: str, name_at: int) -> Reals | None:
    """What one sign of a chain says of the name, which stands next to it."""
    if name_at not in {index, index + 1}:
        return None
    bound = relation.sides[index + 1 if name_at == index else index]
    if name_at != index:
        sign = FLIPPED[sign]
    if infinity(bound):
        return Reals()
    below, at, above = _SIDES[sign]
    cut = _constant(bound)
    return None if cut is None else Reals((cut,), (below, at, above))


def _interval(form: Items) -> Reals | None:
    if len(form.items) != 2 or not form.brackets:
        return None
    low, high = (item.text if isinstance(item, Leaf) else "" for item in form.items)
    halves = [
        Reals() if infinity(low) == "-" else _ray(low, (False, form.brackets[0] == "[", True)),
        Reals() if infinity(high) == "+" else _ray(high, (True, form.brackets[1] == "]", False)),
    ]
    return _all_combined(r"\cap", halves)


def _ray(end: str, inside: tuple[bool, bool, bool]) -> Reals | None:
    if infinity(end):
        return Reals((), (False,))  # above +∞ or below -∞ there is nothing
    cut = _constant(end)
    return None if cut is None else Reals((cut,), inside)


def _point(text: str) -> Reals | None:
    cut = _constant(text)
    return None if cut is None else Reals((cut,), (False, True, False))


def _constant(text: str) -> Real | None:
    return None if not text or variables(text) else as_real(constant(tree(text)))
