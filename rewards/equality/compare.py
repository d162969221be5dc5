"""Equality of two shapes, whichever of them is the gold: the rules of docs/verifiers.md, one function each."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

from reasoning_rl.rewards.equality.expression import read_expression
from reasoning_rl.rewards.equality.form import Clock, Form, Items, Leaf, Matrix, Relation, Union, Words, read_form
from reasoning_rl.rewards.equality.limits import Undefined, Unreadable
from reasoning_rl.rewards.equality.node import Node, in_base, symbols
from reasoning_rl.rewards.equality.number import read_number, same_number
from reasoning_rl.rewards.equality.units import compatible
from reasoning_rl.rewards.equality.value import CONSTANTS, close, evaluate, point, same_value

_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}
_NAME = re.compile(
    r"\\?[A-Za-z]+'*(?:_(?:\{[^{}]*\}|[A-Za-z0-9]))?(?:\([^()]*\))?"  # x, x_1, f(x), \theta
    r"|\([A-Za-z](?:,\s*[A-Za-z])*\)|\\frac\{[A-Z]+\}\{[A-Z]+\}|\\text\{.*\}|\\angle.*|\|[A-Z]+\|"  # (p,q), NO/BO, |AB|
)
_BASED = re.compile(r"(-?)\s*(?:\\text\s*\{\s*)?([0-9A-Za-z]+)\s*\}?\s*_\s*\{?\s*([0-9]+)\s*\}?")


def same_form(a: Form, b: Form) -> bool:
    """Raises Unreadable where a part means nothing here, TooLarge or Undefined where it can't be evaluated."""
    for rule in (_intervals, _relations, _collections, _matrices, _clocks, _words):
        decided = rule(a, b)
        if decided is None:
            decided = rule(b, a)
        if decided is not None:
            return decided
    return isinstance(a, Leaf) and isinstance(b, Leaf) and _leaves(a, b)


def same_text(a: str, b: str) -> bool:
    return same_form(read_form(a), read_form(b))


def _leaves(a: Leaf, b: Leaf) -> bool:
    return compatible(a.unit, b.unit) and same_leaf_text(a.text, b.text)


def same_leaf_text(a: str, b: str) -> bool:
    if a == b:
        return True
    x, y = read_number(a), read_number(b)
    if x is not None and y is not None:
        return same_number(x, y)
    infinite = [_infinity(text) for text in (a, b)]
    return infinite[0] == infinite[1] if any(infinite) else same_value(tree(a), tree(b))


def _infinity(text: str) -> str:
    bare = text.replace(" ", "").replace("{", "").replace("}", "")
    return {r"\infty": "+", r"+\infty": "+", r"-\infty": "-"}.get(bare, "")


@lru_cache(maxsize=4096)
def tree(text: str) -> Node:
    """The expression a leaf writes; a numeral with a base subscript is its value."""
    number = read_number(text)
    if number is not None:
        return Node("number", value=number.value)
    based = _BASED.fullmatch(text)
    if based and any(letter.isdigit() for letter in based[2]):
        value = Fraction(in_base(based[2], based[3]))
        return Node("number", value=-value if based[1] else value)
    return read_expression(text)


def _words(a: Form, b: Form) -> bool | None:
    r"""Words are compared letter by letter, without case, brackets and spaces: `(C)`, `C` and `\text{C}` are one choice."""
    if not isinstance(a, Words):
        return None
    other = b.text if isinstance(b, Words | Leaf) else ""
    return letters(a.text) == letters(other) != ""


def letters(text: str) -> str:
    return "".join(letter for letter in re.sub(r"\\[A-Za-z]+", "", text).casefold() if letter.isalnum())


def _clocks(a: Form, b: Form) -> bool | None:
    if not isinstance(a, Clock):
        return None
    return isinstance(b, Clock) and (a.hour, a.minute) == (b.hour, b.minute) and (a.half == b.half or not a.half or not b.half)


def _matrices(a: Form, b: Form) -> bool | None:
    if not isinstance(a, Matrix):
        return None
    if not isinstance(b, Matrix):
        if isinstance(b, Leaf) and r"\begin" in b.text:
            raise Unreadable("an expression of matrices")
        return False
    if [len(row) for row in a.rows] != [len(row) for row in b.rows]:
        return False
    return all(same_text(_cell(x, a), _cell(y, b)) for row, other in zip(a.rows, b.rows) for x, y in zip(row, other))


def _cell(text: str, matrix: Matrix) -> str:
    return f"-({text})" if matrix.negated else text


def _collections(a: Form, b: Form) -> bool | None:
    """Tuples in order, sets and lists in any; a bare list may stand for either."""
    if not isinstance(a, Items):
        return None
    if not isinstance(b, Items):
        return len(a.items) == 1 and a.kind == "set" and same_form(a.items[0], b)
    if len(a.items) != len(b.items):
        return False
    if "tuple" not in {a.kind, b.kind}:
        return _same_members(a.items, b.items, same_form)
    if "set" in {a.kind, b.kind} or (a.brackets and b.brackets and a.brackets != b.brackets):
        return False
    return all(same_form(x, y) for x, y in zip(a.items, b.items))


def _same_members(a: Sequence[Form], b: Sequence[Form], same: Callable[[Form, Form], bool]) -> bool:
    """Whether the members pair off; equality is transitive but for units and percent signs, so the first fit will do."""
    left = list(b)
    for member in a:
        fit = next((at for at, other in enumerate(left) if same(member, other)), None)
        if fit is None:
            return False
        del left[fit]
    return not left


def _relations(a: Form, b: Form) -> bool | None:
    """An equation against an equation, or `x = 5` against 5."""
    if not isinstance(a, Relation):
        return None
    if set(a.signs) != {"="}:
        return isinstance(b, Relation) and (_same_chain(a, b) or _same_chain(a, _reversed(b)) or _proportional(a, b))
    value = assigned(a)
    if not isinstance(b, Relation):
        return value is not None and same_form(read_form(value), b)
    if set(b.signs) != {"="}:
        return False
    other = assigned(b)
    if value is not None and other is not None and _same_name(a, b):
        return same_text(value, other)
    return _proportional(a, b)


def _same_name(a: Relation, b: Relation) -> bool:
    """The two assign to one name, or one of them is a chain of numbers without any."""
    names = [{letters(side) for side in relation.sides if _NAME.fullmatch(side)} for relation in (a, b)]
    return not names[0] or not names[1] or bool(names[0] & names[1])


def assigned(relation: Relation) -> str | None:
    """What `x = …` says that x is: the last side, if the first is a name and the sides between agree; None for other equations."""
    sides = list(relation.sides)
    if _NAME.fullmatch(sides[-1]) and not _NAME.fullmatch(sides[0]) and not _plain_constant(sides[-1]):
        sides.reverse()
    if _NAME.fullmatch(sides[0]) and letters(sides[0]) != letters(sides[-1]):
        return sides[-1] if _agree(sides[1:]) and sides[0] not in _symbols(sides[-1]) else None
    return sides[-1] if not any(_symbols(side) for side in sides) and _agree(sides) else None


def _plain_constant(text: str) -> bool:
    return text.lstrip("\\") in CONSTANTS


def _symbols(text: str) -> set[str]:
    try:
        return symbols(tree(text)) - CONSTANTS
    except Unreadable:
        return set()


def _agree(sides: list[str]) -> bool:
    return all(same_text(sides[-1], side) for side in sides[:-1] if not _symbols(side) and not _NAME.fullmatch(side))


def _same_chain(a: Relation, b: Relation) -> bool:
    return a.signs == b.signs and all(same_text(x, y) for x, y in zip(a.sides, b.sides))


def _reversed(relation: Relation) -> Relation:
    return Relation(relation.sides[::-1], tuple(_FLIPPED[sign] for sign in relation.signs[::-1]))


def _proportional(a: Relation, b: Relation) -> bool:
    """Left minus right of one is a constant times that of the other: `y = -2x` and `2x + y = 0`. Its sign counts for inequalities."""
    if len(a.signs) != 1 or len(b.signs) != 1:
        return False
    x, y = _difference(a), _difference(b)
    names = sorted((symbols(x) | symbols(y)) - CONSTANTS)
    if not names or symbols(x) - CONSTANTS != symbols(y) - CONSTANTS:
        return False
    ratio = _ratio(x, y, names)
    if ratio is None:
        return False
    return b.signs[0] == (a.signs[0] if ratio > 0 else _FLIPPED[a.signs[0]])


def _difference(relation: Relation) -> Node:
    left, right = (tree(side) for side in relation.sides)
    return Node("+", (left, Node("neg", (right,))))


def _ratio(x: Node, y: Node, names: list[str]) -> float | None:
    """The constant x/y, None where it varies or one side is zero everywhere (a tautology equals nothing)."""
    found = []
    for index in range(4):
        at = point(names, 2 * index)
        above, below = evaluate(x, at), evaluate(y, at)
        if below == 0 or above == 0:
            raise Undefined("an equation that holds at a point without pattern")
        found.append(above / below)
    return float(found[0].real) if all(close(found[0], other) for other in found[1:]) else None


def _intervals(a: Form, b: Form) -> bool | None:
    """Unions of intervals in any order; an inequality is the interval of its solutions."""
    if not isinstance(a, Union) and not _inequality(a):
        return None
    if _inequality(a) and _inequality(b) and not isinstance(a, Items) and not isinstance(b, Items):
        return None  # two inequalities are compared as relations first: they need not be about one bare variable
    parts, others = as_intervals(a), as_intervals(b)
    return _same_members(parts, others, same_form) if parts and others else (False if isinstance(a, Union) else None)


def _inequality(form: Form) -> bool:
    if isinstance(form, Items):
        return form.kind == "list" and r"\or" in form.joints and all(map(_inequality, form.items))
    return isinstance(form, Relation) and bool(set(form.signs) & {"<", ">", r"\le", r"\ge"}) and "=" not in form.signs


def as_intervals(form: Form) -> tuple[Form, ...]:
    """The pieces of a set of reals, empty where the form is none."""
    if isinstance(form, Union):
        return form.parts
    if isinstance(form, Items) and form.kind == "list" and _inequality(form):
        return tuple(piece for item in form.items for piece in as_intervals(item))
    if isinstance(form, Relation):
        interval = _solved(form)
        return (interval,) if interval else ()
    return (form,) if isinstance(form, Items) and form.kind == "tuple" and len(form.items) == 2 else ()


def _solved(relation: Relation) -> Items | None:
    r"""`-1 < x \le 2` as `(-1, 2]`, `x > 3` as `(3, \infty)`; the middle may be a function, the ends must be constants."""
    if relation.signs[0] in {">", r"\ge"}:
        relation = _reversed(relation)
    if not set(relation.signs) <= {"<", r"\le"}:
        return None
    sides, signs = list(relation.sides), list(relation.signs)
    if len(sides) == 2:
        named_first = bool(_NAME.fullmatch(sides[0]))
        sides, signs = ([r"-\infty", *sides], ["<", *signs]) if named_first else ([*sides, r"\infty"], [*signs, "<"])
    if len(sides) != 3 or not _NAME.fullmatch(sides[1]) or _symbols(sides[0]) or _symbols(sides[2]):
        return None
    brackets = ("[" if signs[0] == r"\le" else "(") + ("]" if signs[1] == r"\le" else ")")
    return Items("tuple", (read_form(sides[0]), read_form(sides[2])), brackets=brackets)
