"""Whether two expressions are equal: exact rationals as long as they last, then sixty digits, at a handful of points.

Polynomial and rational identities are decided exactly at rational points; surds, powers and functions numerically, far beyond the digits
of any rounded decimal. Two different expressions of an answer's size that agree to 45 digits everywhere don't occur by accident.
"""

import math
import operator
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, reduce
from typing import TYPE_CHECKING, Any

from reasoning_rl.rewards.equality.limits import MAX_BITS, MAX_FACTORIAL, TooLarge, Undefined, Unreadable
from reasoning_rl.rewards.equality.node import INVERTIBLE, Node, has, symbols

if TYPE_CHECKING:
    from mpmath import MPContext  # type: ignore[import-untyped]

Number = Any
"""A Fraction while exact, an mpf or mpc of the thread's context once not."""

MAX_POPULATION = 1_000_000
"""The n of a binomial coefficient."""
DIGITS = 60
AGREEING, VANISHING = 45, 50
"""Decimal places to which inexact values must agree, and below which two are both zero."""
MAX_MAGNITUDE = 2**16
"""Of the binary logarithm of an inexact number; sines and exponentials of larger ones cost seconds."""
MAX_KEPT = 1000
POINTS, MORE_POINTS = 7, 12
"""Places at which expressions are compared, and others (near zero, far away, whole) where these tell too little."""
ENOUGH_POINTS = 3
CONSTANTS = frozenset(["pi", "e", "i"])
_threads = threading.local()


def context() -> "MPContext":
    """This thread's arithmetic: mpmath's own context is shared by all threads."""
    if not hasattr(_threads, "context"):
        import mpmath

        _threads.context = mpmath.MPContext()
        _threads.context.dps = DIGITS
    return _threads.context


def same_value(a: Node, b: Node, tolerance: float = 0.0) -> bool:
    """Equal wherever both are defined. Raises TooLarge, Undefined (nowhere comparable) or Unreadable."""
    names = sorted((symbols(a) | symbols(b)) - CONSTANTS)
    if not names:
        return close(constant(a), constant(b), tolerance)
    return _same_at_points(a, b, names, tolerance)


def constant(node: Node) -> Number:
    """The value of an expression without variables; kept for a while, since each member of a set is compared with many."""
    known: dict[Node, Number] = _threads.__dict__.setdefault("constants", {})
    if len(known) >= MAX_KEPT:
        known.clear()
    if node not in known:
        known[node] = evaluate(node, {})
    return known[node]


def _same_at_points(a: Node, b: Node, names: list[str], tolerance: float) -> bool:
    """Where there is no i, a point at which a side is not real (a root of a negative number) tells nothing."""
    telling, complex_too = 0, "i" in symbols(a) | symbols(b)
    far = any(has(side, op) for side in (a, b) for op in ("abs", "floor", "ceil", "root"))
    for index in range(POINTS + MORE_POINTS):
        if index >= POINTS and telling >= ENOUGH_POINTS and not far:
            break
        pair = _values(a, b, point(names, index))
        if pair is not None and (complex_too or (_is_real(pair[0]) and _is_real(pair[1]))):
            telling += 1
            if not close(*pair, tolerance):
                return False
    if telling < ENOUGH_POINTS:
        raise Undefined("the two are defined together at too few points to compare them")
    return True


def _values(a: Node, b: Node, at: Mapping[str, Fraction]) -> tuple[Number, Number] | None:
    try:
        return evaluate(a, at), evaluate(b, at)
    except Undefined:
        return None


def point(names: list[str], index: int) -> dict[str, Fraction]:
    """A rational place without pattern, the same on every machine; odd points have negative coordinates too."""
    return {name: _coordinate(rank, index) for rank, name in enumerate(names)}


@cache
def _coordinate(rank: int, index: int) -> Fraction:
    sign = -1 if index % 2 and (rank + index // 2) % 2 == 0 else 1
    if index >= POINTS:
        near = _coordinate(rank, index - POINTS)
        return (near / 100, near * 9, Fraction(2 + 3 * rank + index - POINTS), near * 800)[(index - POINTS) % 4]
    return sign * Fraction(7 + (37 * rank + 61 * index) % 89, 5 + (29 * rank + 53 * index) % 31)


def close(a: Number, b: Number, tolerance: float = 0.0) -> bool:
    """Equal if both are exact, else to 45 digits of the larger; with a `tolerance`, to that share of it."""
    if isinstance(a, Fraction) and isinstance(b, Fraction) and not tolerance:
        return a == b
    ctx = context()
    a, b = _inexact(a), _inexact(b)
    share = max(ctx.mpf(tolerance), ctx.mpf(10) ** -AGREEING)
    return bool(abs(a - b) <= max(abs(a), abs(b)) * share) or bool(max(abs(a), abs(b)) < ctx.mpf(10) ** -VANISHING)


def evaluate(node: Node, at: Mapping[str, Fraction]) -> Number:
    if node.op == "number":
        return node.value
    if node.op == "symbol":
        return at[node.name] if node.name in at else _constant(node.name)
    if node.op == "infinity":
        raise Undefined("infinity is not a number")
    values = [evaluate(arg, at) for arg in node.args]
    try:
        return _bounded(_OPERATIONS[node.op](*values))
    except ZeroDivisionError as failure:
        raise Undefined("a division by zero") from failure
    except (OverflowError, MemoryError) as failure:
        raise TooLarge("a number is too large") from failure
    except (ValueError, TypeError) as failure:
        if isinstance(failure, TooLarge | Undefined | Unreadable):
            raise
        raise Undefined(f"{node.op} has no value there") from failure


def _constant(name: str) -> Number:
    ctx = context()
    return {"pi": +ctx.pi, "e": ctx.e + 0, "i": ctx.mpc(0, 1)}[name]


def _inexact(value: Number) -> Number:
    return context().mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def as_real(value: Number) -> Number:
    """An mpf, for values to be put in order. Raises Undefined where it is no real number."""
    if not _is_real(value):
        raise Undefined("the value is not real")
    return _inexact(value).real


def _is_real(value: Number) -> bool:
    return isinstance(value, Fraction) or not abs(value.imag) > abs(value) * context().mpf(10) ** -AGREEING


def _bounded(value: Number) -> Number:
    """The value itself, inexact once it is long; not if it is too large to go on with, infinite or not a number."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
            return _inexact(value)
        return value
    if not context().isfinite(value):
        raise Undefined("the value is infinite or undefined")
    if abs(_log2(value)) > MAX_MAGNITUDE:
        raise TooLarge("a number is too large or too small")
    return value


def _log2(value: Number) -> float:
    """Binary order of magnitude; 0 for zero."""
    if isinstance(value, Fraction):
        return 0.0 if value == 0 else float(abs(value.numerator).bit_length() - value.denominator.bit_length())
    return float(context().mag(value)) if value != 0 else 0.0


def _power(base: Number, exponent: Number) -> Number:
    size = max(abs(_log2(base)), 1.0) * (
        abs(float(exponent)) if isinstance(exponent, Fraction) and _log2(exponent) < 64 else 2.0 ** min(_log2(exponent), 64)
    )
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent)
        if base in {0, 1, -1} or bits <= MAX_BITS:
            return _small_power(base, int(exponent))
    if size > MAX_MAGNITUDE:
        raise TooLarge("a power is too large")
    return _inexact(base) ** _inexact(exponent)


def _small_power(base: Fraction, exponent: int) -> Fraction:
    if base in {1, -1}:
        return base if exponent % 2 else Fraction(1)
    if base == 0 and exponent == 0:
        raise Undefined("zero to the power of zero")
    return Fraction(0) if base == 0 and exponent > 0 else Fraction(base**exponent)


def _root(radicand: Number, degree: Number) -> Number:
    """Odd roots of negative numbers are real, as in school; other roots are the principal ones."""
    if not isinstance(degree, Fraction) or degree == 0:
        return _power(radicand, 1 / degree)
    if (
        isinstance(radicand, Fraction)
        and radicand.denominator == 1
        and radicand >= 0
        and degree == 2
        and math.isqrt(int(radicand)) ** 2 == radicand
    ):
        return Fraction(math.isqrt(int(radicand)))
    odd = degree.denominator == 1 and degree.numerator % 2 == 1
    if odd and _is_real(radicand) and _inexact(radicand).real < 0:
        return -_power(-radicand, 1 / degree)
    return _power(radicand, 1 / degree)


def _factorial(value: Number) -> Number:
    if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
        if value > MAX_FACTORIAL:
            raise TooLarge(f"the factorial of a number beyond {MAX_FACTORIAL}")
        return Fraction(math.factorial(int(value)))
    if abs(_inexact(value)) > MAX_FACTORIAL:
        raise TooLarge(f"the factorial of a number beyond {MAX_FACTORIAL}")
    return context().gamma(_inexact(value) + 1)


def _binomial(n: Number, k: Number) -> Number:
    if all(isinstance(value, Fraction) and value.denominator == 1 and 0 <= value <= MAX_POPULATION for value in (n, k)):
        if min(k, n - k) > MAX_FACTORIAL:
            raise TooLarge(f"a binomial coefficient beyond {MAX_FACTORIAL}")
        return Fraction(math.comb(int(n), int(k)))
    return _factorial(n) / (_factorial(k) * _factorial(n - k))


def _logarithm(value: Number, base: Number = Fraction(10)) -> Number:
    if value == 0:
        raise Undefined("the logarithm of zero")
    return context().log(_inexact(value)) / context().log(_inexact(base))


def _function(name: str) -> Callable[[Number], Number]:
    def applied(value: Number) -> Number:
        if _log2(value) > 64:
            raise TooLarge(f"the {name} of a huge number")
        return getattr(context(), name)(_inexact(value))

    return applied


def _add(*values: Number) -> Number:
    """Once one term is inexact all are, so that rounding is the only loss."""
    if not all(isinstance(value, Fraction) for value in values):
        return reduce(operator.add, map(_inexact, values))
    return reduce(lambda a, b: _bounded(a + b if isinstance(a, Fraction) else a + _inexact(b)), values)


def quotient(a: Number, b: Number) -> Number:
    return a / b if isinstance(a, Fraction) and isinstance(b, Fraction) else _inexact(a) / _inexact(b)


def _multiply(*values: Number) -> Number:
    if all(isinstance(value, Fraction) for value in values):
        return reduce(lambda a, b: _bounded(a * b if isinstance(a, Fraction) else a * _inexact(b)), values)
    return reduce(operator.mul, map(_inexact, values))


_OPERATIONS: dict[str, Callable[..., Number]] = {
    "+": _add,
    "*": _multiply,
    "/": quotient,
    "inverse": lambda a: 1 / a,
    "neg": operator.neg,
    "^": _power,
    "root": _root,
    "percent": lambda a: a / 100,
    "factorial": _factorial,
    "binomial": _binomial,
    "abs": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "log": _logarithm,
    "lg": _logarithm,
    "ln": lambda a: _logarithm(a, context().e + 0),
    **{name: _function(name) for name in (*INVERTIBLE, "coth", "sech", "csch")},
    **{f"{prefix}{name}": _function(f"a{name}") for prefix in ("arc", "a") for name in INVERTIBLE},
    "exp": lambda a: _power(context().e + 0, a),
}
