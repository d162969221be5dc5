"""Equality of two shapes, whichever of them is the gold: the rules of docs/verifiers.md, one function each."""

import re
from collections.abc import Callable, Sequence
from functools import partial

from reasoning_rl.rewards.equality.form import FLIPPED, Clock, Combined, Form, Items, Leaf, Matrix, Relation, Words, read_form
from reasoning_rl.rewards.equality.leaf import same_leaf, tree, variables
from reasoning_rl.rewards.equality.limits import Undefined, Unreadable
from reasoning_rl.rewards.equality.node import NAME, Node, renamed, symbols
from reasoning_rl.rewards.equality.reals import is_set_of_reals, read_reals
from reasoning_rl.rewards.equality.rules import DEFAULT, Rules
from reasoning_rl.rewards.equality.tidy import letters, wording
from reasoning_rl.rewards.equality.value import CONSTANTS, close, evaluate, point, quotient, same_value

_STATED = re.compile(r"\\(?:int|iint|oint|sum|prod|lim|max|min)(?![A-Za-z])")
"""How the left side of an equation begins that says what its right side is the value of."""
_FUNCTION = re.compile(r"([A-Za-z])\s*\(\s*([A-Za-z])\s*\)")


def same_form(a: Form, b: Form, rules: Rules = DEFAULT) -> bool:
    """Whether the first rule that has a say finds them equal; a rule says None of shapes that it knows nothing of.

    Raises Unreadable where a part means nothing here, TooLarge or Undefined where it can't be evaluated.
    """
    for rule in (_sets_of_reals, _relations, _matrices, _collections, _clocks, _words):
        decided = rule(a, b, rules)
        if decided is None:
            decided = rule(b, a, rules)
        if decided is not None:
            return decided
    return isinstance(a, Leaf) and isinstance(b, Leaf) and same_leaf(a, b, rules)


def same_text(a: str, b: str, rules: Rules = DEFAULT) -> bool:
    return same_form(read_form(a), read_form(b), rules)


def _words(a: Form, b: Form, _rules: Rules) -> bool | None:
    r"""Words are compared without case, brackets, hyphens and an article: `(C)`, `C` and `\text{C}` are one choice."""
    if not isinstance(a, Words):
        return None
    other = b.text if isinstance(b, Words | Leaf) else ""
    return wording(a.text) == wording(other) != ""


def _clocks(a: Form, b: Form, _rules: Rules) -> bool | None:
    if not isinstance(a, Clock):
        return None
    same_time = isinstance(b, Clock) and (a.hour, a.minute, a.second) == (b.hour, b.minute, b.second)
    return isinstance(b, Clock) and same_time and (a.half == b.half or not a.half or not b.half)


def _matrices(a: Form, b: Form, rules: Rules) -> bool | None:
    if not isinstance(a, Matrix):
        return None
    if isinstance(b, Leaf) and r"\begin" in b.text:
        raise Unreadable("an expression of matrices")
    rows, others = _rows(a), _rows(b)
    if len(rows) == len(others) and all(len(row) == len(other) for row, other in zip(rows, others)):
        return all(same_form(x, y, rules) for row, other in zip(rows, others) for x, y in zip(row, other))
    ordered = isinstance(b, Items) and b.kind != "set" and b.brackets in {"", "()", "[]"} and r"\or" not in b.joints
    return _is_vector(a) and isinstance(b, Items) and ordered and _same_in_order([cell for row in rows for cell in row], b.items, rules)


def _rows(form: Form) -> list[Sequence[Form]]:
    """Rows of a matrix; a list of lists is one too. Empty for anything else."""
    if isinstance(form, Matrix):
        return [[read_form(f"{form.scale}({cell})" if form.scale else cell) for cell in row] for row in form.rows]
    rows = form.items if isinstance(form, Items) else ()
    return [row.items for row in rows if isinstance(row, Items) and row.brackets == "[]"]


def _is_vector(matrix: Matrix) -> bool:
    """One column: a tuple may stand for it."""
    return len(matrix.rows) > 1 and all(len(row) == 1 for row in matrix.rows)


def _same_in_order(a: Sequence[Form], b: Sequence[Form], rules: Rules) -> bool:
    return len(a) == len(b) and all(same_form(x, y, rules) for x, y in zip(a, b))


def _collections(a: Form, b: Form, rules: Rules) -> bool | None:
    """Tuples in order, sets and lists in any; a bare list may stand for either."""
    if not isinstance(a, Items):
        return None
    if not isinstance(b, Items):
        return len(a.items) == 1 and a.kind == "set" and same_form(a.items[0], b, rules)
    return not _at_odds(a, b) and _same_items(a, b, rules)


def _at_odds(a: Items, b: Items) -> bool:
    """Alternatives have no order, hence are no tuple."""
    return "tuple" in {a.kind, b.kind} and r"\or" in a.joints | b.joints


def _same_items(a: Items, b: Items, rules: Rules) -> bool:
    same = partial(same_form, rules=rules)
    if "set" in {a.kind, b.kind} and not _ordered(a, b, rules):
        return _same_set(a.items, b.items, same)
    if not _ordered(a, b, rules):
        return _same_members(a.items, b.items, rules)
    if {a.kind, b.kind} == {"set", "tuple"} or _interval_and_list(a, b) or (a.brackets and b.brackets and a.brackets != b.brackets):
        return False
    return _same_in_order(a.items, b.items, rules)


def _interval_and_list(a: Items, b: Items) -> bool:
    """A closed bracket around two values makes an interval, which no bare list is."""
    return len(a.items) == 2 and "list" in {a.kind, b.kind} and "[" in a.brackets + b.brackets


def _ordered(a: Items, b: Items, rules: Rules) -> bool:
    return rules.order == "all" or (rules.order == "tuples" and "tuple" in {a.kind, b.kind})


def _same_set(a: Sequence[Form], b: Sequence[Form], same: Callable[[Form, Form], bool]) -> bool:
    """Whether each has its like on the other side, however often: {1, 1, 2} is {1, 2}."""
    return all(any(same(x, y) for y in b) for x in a) and all(any(same(x, y) for x in a) for y in b)


def _same_members(a: Sequence[Form], b: Sequence[Form], rules: Rules) -> bool:
    """Whether the members pair off. Equality passes on from one to the next, so that the first fit will do, but not within a tolerance."""
    if len(a) != len(b):
        return False
    if rules.tolerance:
        return _pair_off([[same_form(x, y, rules) for y in b] for x in a])
    left = list(b)
    for member in a:
        fit = next((at for at, other in enumerate(left) if same_form(member, other, rules)), None)
        if fit is None:
            return False
        del left[fit]
    return True


def _pair_off(fits: list[list[bool]]) -> bool:
    """Whether rows and columns can be paired such that each pair fits."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    return bool((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).all())


def _relations(a: Form, b: Form, rules: Rules) -> bool | None:
    """An equation against an equation, or `x = 5` against 5."""
    if not isinstance(a, Relation):
        return None
    if set(a.signs) != {"="}:
        return isinstance(b, Relation) and (_same_chain(a, b, rules) or _same_chain(a, _reversed(b), rules) or _proportional(a, b))
    if isinstance(b, Relation):
        return set(b.signs) == {"="} and _equations(a, b, rules)
    value = assigned(a)
    return value is not None and same_form(read_form(value), _in_order_of(a.sides[0], b), rules)


def _equations(a: Relation, b: Relation, rules: Rules) -> bool:
    value, other = assigned(a), assigned(b)
    if value is not None and other is not None:
        if _same_name(a, b) and not (variables(value) and variables(other)):
            return same_text(value, other, rules)
        if _same_name(a, b) and same_text(value, other, rules):
            return True
        if arguments := _arguments(a, b):
            return same_value(tree(value), renamed(tree(other), arguments[1], arguments[0]), rules.tolerance)
    return _proportional(a, b)


def _in_order_of(names: str, form: Form) -> Form:
    """`y = 2, x = 1` as the tuple that `(x, y)` calls for."""
    if not isinstance(form, Items) or form.kind != "list" or not names.startswith("("):
        return form
    values = {letters(name): value for name, value in map(_assignment, form.items) if value}
    return Items("tuple", tuple(values[name] for name in letters(names) if name in values)) if values else form


def _arguments(a: Relation, b: Relation) -> tuple[str, str] | None:
    """The letters of `f(x) = …` and `f(t) = …`, which define one function."""
    x, t = _FUNCTION.fullmatch(a.sides[0]), _FUNCTION.fullmatch(b.sides[0])
    return (x[2], t[2]) if x and t and x[1] == t[1] else None


def _assignment(form: Form) -> tuple[str, Form | None]:
    """The name and the value of `x = 5`; no value for anything else."""
    value = assigned(form) if isinstance(form, Relation) and set(form.signs) == {"="} else None
    return (form.sides[0], read_form(value)) if isinstance(form, Relation) and value is not None else ("", None)


def _same_name(a: Relation, b: Relation) -> bool:
    """The two assign to one name, an index left out perhaps, or one of them is a chain of numbers without any."""
    names, others = ({side.partition("_")[0]: letters(side) for side in relation.sides if NAME.fullmatch(side)} for relation in (a, b))
    shared = names.keys() & others.keys()
    alike = any(letters(base) in {names[base], others[base]} or names[base] == others[base] for base in shared)
    return not names or not others or alike


def _same_unknown(a: Relation, b: Relation) -> bool:
    """Two relations about one bare letter, or its magnitude."""
    unknown, other = ({name for side in relation.sides for name in variables(side)} for relation in (a, b))
    return len(unknown) == 1 and unknown == other


def assigned(relation: Relation) -> str | None:
    """What `x = …` says that x is: the last side, if the first is a name and the sides between agree; None for other equations."""
    sides = list(relation.sides)
    if len(set(sides)) == 1:
        return None
    if NAME.fullmatch(sides[-1]) and not NAME.fullmatch(sides[0]) and not _plain_constant(sides[-1]):
        sides.reverse()
    if NAME.fullmatch(sides[0]) and letters(sides[0]) != letters(sides[-1]):
        return sides[-1] if _agree(sides[1:]) and sides[0] not in variables(sides[-1]) else None
    if _STATED.match(sides[0]):
        return sides[-1]
    return sides[-1] if not any(variables(side) for side in sides) and _agree(sides) else None


def _plain_constant(text: str) -> bool:
    return text.lstrip("\\") in CONSTANTS


def _agree(sides: list[str]) -> bool:
    return all(same_text(sides[-1], side) for side in sides[:-1] if not variables(side) and not NAME.fullmatch(side))


def _same_chain(a: Relation, b: Relation, rules: Rules) -> bool:
    return a.signs == b.signs and all(same_text(x, y, rules) for x, y in zip(a.sides, b.sides))


def _reversed(relation: Relation) -> Relation:
    return Relation(relation.sides[::-1], tuple(FLIPPED[sign] for sign in relation.signs[::-1]))


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
    return b.signs[0] == (a.signs[0] if ratio > 0 else FLIPPED[a.signs[0]])


def _difference(relation: Relation) -> Node:
    left, right = (tree(side) for side in relation.sides)
    return Node("+", (left, Node("neg", (right,))))


def _ratio(x: Node, y: Node, names: list[str]) -> int | None:
    """The sign of the constant x/y, None where it varies or one side is zero everywhere (a tautology equals nothing)."""
    found = []
    for index in range(4):
        at = point(names, 2 * index)
        above, below = evaluate(x, at), evaluate(y, at)
        if below == 0 or above == 0:
            raise Undefined("an equation that holds at a point without pattern")
        found.append(quotient(above, below))
    return (1 if found[0].real > 0 else -1) if all(close(found[0], other) for other in found[1:]) else None


def _sets_of_reals(a: Form, b: Form, rules: Rules) -> bool | None:
    """Sets of reals, however they are written; with unknown ends, unions of the same intervals in any order."""
    if not is_set_of_reals(a) or (isinstance(a, Relation) and isinstance(b, Relation) and not _same_unknown(a, b)):
        return None  # such inequalities are compared as relations
    x, y = read_reals(a), read_reals(b)
    if x is not None and y is not None:
        return x.same(y, rules.tolerance)
    if isinstance(a, Combined) and isinstance(b, Combined) and a.operation == b.operation == r"\cup":
        return _same_members(a.parts, b.parts, rules)
    return False if isinstance(a, Combined) else None
