"""A single value: a number, an expression, an infinity, a name."""

import re
from fractions import Fraction
from functools import lru_cache

from reasoning_rl.rewards.equality.expression import read_expression
from reasoning_rl.rewards.equality.form import Leaf
from reasoning_rl.rewards.equality.limits import Unreadable
from reasoning_rl.rewards.equality.node import NAME, Node, has, in_base, renamed, symbols, with_natural_logarithms
from reasoning_rl.rewards.equality.number import read_number, same_number
from reasoning_rl.rewards.equality.rules import DEFAULT, Rules
from reasoning_rl.rewards.equality.units import compatible
from reasoning_rl.rewards.equality.value import CONSTANTS, same_value

_INTEGRATION = frozenset(["C", "c", "K", "k", "C_1", "c_1"])
_BASED = re.compile(r"(-?)\s*(?:\\text\s*)?[{(]?\s*([0-9A-Za-z]+)\s*[})]?\s*_[{(\s]*([0-9]+)[})\s]*")


def same_leaf(a: Leaf, b: Leaf, rules: Rules) -> bool:
    """Raises Unreadable, TooLarge or Undefined where a side has no value."""
    if _in_radians(a, b) or _in_radians(b, a):
        return True
    return compatible(a.unit, b.unit, rules.units) and same_leaf_text(a.text, b.text, rules)


def _in_radians(degrees: Leaf, other: Leaf) -> bool:
    r"""60° is \frac{\pi}{3}, as a value; 60 without a sign is not."""
    if degrees.unit != "°" or other.unit not in {"", "rad"} or r"\pi" not in other.text:
        return False
    return same_leaf_text(rf"\frac{{\pi}}{{180}}({degrees.text})", other.text)


def same_leaf_text(a: str, b: str, rules: Rules = DEFAULT) -> bool:
    if a == b:
        return True
    x, y = read_number(a), read_number(b)
    if x is not None and y is not None:
        return same_number(x, y, rules)
    infinite = [infinity(text) for text in (a, b)]
    if any(infinite):
        return infinite[0] == infinite[1]
    left, right = tree(a), tree(b)
    right = _with_constant_of(left, right)
    return same_value(left, right, rules.tolerance) or ("log" in a + b and _same_by_natural_logarithms(left, right, rules))


def _same_by_natural_logarithms(a: Node, b: Node, rules: Rules) -> bool:
    r"""`\log` is to base 10, or, beside a power of e or `\exp`, to base e."""
    exponential = any(has(side, "symbol", "e") or has(side, "exp") for side in (a, b))
    return exponential and same_value(with_natural_logarithms(a), with_natural_logarithms(b), rules.tolerance)


def _with_constant_of(a: Node, b: Node) -> Node:
    """`b` with its constant of integration, if both have one, named as in `a`."""
    wanted, own = _added_constant(a), _added_constant(b)
    meant = {"C", "c"} & {wanted, own} and wanted not in symbols(b)
    return renamed(b, own, wanted) if wanted and own and meant else b


def _added_constant(node: Node) -> str:
    """The name of a constant that is added to an expression of other variables, "" where there is none."""
    for term in node.args if node.op == "+" else ():
        others = set().union(*(symbols(other) for other in node.args if other is not term)) - CONSTANTS
        if term.op == "symbol" and term.name in _INTEGRATION and others and term.name not in others:
            return term.name
    return ""


def is_unknown(text: str) -> bool:
    r"""A name whose value is asked for: not \pi, e or an infinity."""
    return NAME.fullmatch(text) is not None and not infinity(text) and text.lstrip("\\") not in CONSTANTS


def infinity(text: str) -> str:
    """`+` or `-` for an infinity, "" for anything else."""
    bare = text.replace(" ", "").replace("{", "").replace("}", "")
    return {r"\infty": "+", r"+\infty": "+", r"-\infty": "-"}.get(bare, "")


@lru_cache(maxsize=4096)
def tree(text: str) -> Node:
    """The expression a leaf writes; a numeral with a base subscript is its value."""
    number = read_number(text)
    if number is not None:
        return Node("number", value=number.value)
    based = _BASED.fullmatch(text)
    if based and any(letter.isdecimal() for letter in based[2]):
        value = Fraction(in_base(based[2], based[3]))
        return Node("number", value=-value if based[1] else value)
    return read_expression(text)


def variables(text: str) -> set[str]:
    """Names of the unknowns in it, none where it can't be read."""
    try:
        return symbols(tree(text)) - CONSTANTS
    except Unreadable:
        return set()
