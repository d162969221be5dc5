"""The tree of an expression, and the names that may appear in it."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from reasoning_rl.rewards.equality.limits import Unreadable

INVERTIBLE = frozenset(["sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh"])
"""Functions f with an inverse arcf, also written af."""
_FUNCTIONS = "coth sech csch ln log lg exp sqrt abs floor ceil"
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
FUNCTIONS = frozenset(_FUNCTIONS.split()) | {prefix + name for prefix in ("", "arc", "a") for name in INVERTIBLE}
GREEK = frozenset(_GREEK.split())

NAME = re.compile(
    r"\\?[A-Za-z]+'*(?:_(?:\{[^{}]*\}|[A-Za-z0-9]))?(?:\([^()]*\))?"  # x, x_1, f(x), \theta
    r"|\(\\?[A-Za-z]+(?:,\s*\\?[A-Za-z]+)*\)|\\frac\{[A-Z]+\}\{[A-Z]+\}|\\text\{(?!\s*not\b)[^{}]*\}|\\angle.*"
    r"|\|[A-Z]+\|"  # (p,q), NO/BO, |AB|
)
"""What may be given a value."""


@dataclass(frozen=True, slots=True)
class Node:
    """`op` is `number`, `symbol`, `+ * / ^ neg inverse`, `root`, `factorial`, `binomial`, `percent`, `log` or the name of a function."""

    op: str
    args: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


def symbols(node: Node) -> set[str]:
    """Names of the free variables."""
    if node.op == "symbol":
        return {node.name}
    return set().union(*(symbols(arg) for arg in node.args))


def renamed(node: Node, old: str, new: str) -> Node:
    """The tree with one variable called otherwise."""
    name = new if node.op == "symbol" and node.name == old else node.name
    return replace(node, name=name, args=tuple(renamed(arg, old, new) for arg in node.args))


def has(node: Node, op: str, name: str = "") -> bool:
    """Whether an operation, or a symbol of that name, occurs in the tree."""
    return (node.op == op and node.name == name) or any(has(arg, op, name) for arg in node.args)


def with_natural_logarithms(node: Node) -> Node:
    """The tree with `log` read as the logarithm to base e where it names no base."""
    op = "ln" if node.op == "log" and len(node.args) == 1 else node.op
    return replace(node, op=op, args=tuple(map(with_natural_logarithms, node.args)))


def in_base(digits: str, base: str) -> int:
    """The value of a numeral with a base subscript: `52` in base `8` is 42."""
    if not base.isdecimal() or len(base) > 2 or not 2 <= int(base) <= 36 or len(digits) > 200:
        raise Unreadable(f"{base!r} is no base")
    try:
        return int(digits, int(base))
    except ValueError as failure:
        raise Unreadable(f"{digits!r} has a digit that base {base} lacks") from failure
