"""math-verify's LaTeX parser and SymPy's comparison, served over a pipe to `bounded.py`.

Only its LaTeX grammar is used: math-verify's parser of plain expressions goes through SymPy's `parse_expr`, which evaluates Python.
"""

import json
import os
import signal
import sys
from typing import Any

from reasoning_rl.rewards.child import limit_memory

MEMORY_MIB = 1024
"""Address space beyond what the process has once SymPy is loaded."""
ALARM_S = 5
"""The kernel ends a decision that takes longer, even where nobody waits for it any more."""
SAMPLES = 3
FLOAT_DIGITS = 30
"""math-verify rounds decimals to 6 places by default, by which 0.0000673 is 0.0000672."""


def decide(a: str, b: str) -> tuple[bool | None, str]:
    """Whether two tidy texts are equal, in either order; None where one can't be parsed."""
    x, y = (_parsed(text) for text in (a, b))
    if not x or not y:
        return None, "not understood as mathematics"
    equal = _verified(x, y) and _verified(y, x)
    return equal if (sampled := _sampled(x[0], y[0])) is None else sampled, ""


def _verified(x: list[Any], y: list[Any]) -> bool:
    import math_verify

    return math_verify.verify(x, y, float_rounding=FLOAT_DIGITS, numeric_precision=2 * FLOAT_DIGITS, timeout_seconds=None)


def _sampled(x: Any, y: Any) -> bool | None:
    """Whether two expressions agree in numbers, which no failed simplification can deny; None where they have no numbers to compare."""
    import sympy

    unevaluated = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
    if not all(isinstance(value, sympy.Expr) and value.is_commutative and not value.has(*unevaluated) for value in (x, y)):
        return None
    names = sorted(x.free_symbols | y.free_symbols, key=str)
    agreed = []
    for index in range(SAMPLES):
        at = {name: sympy.Rational(7 + 12 * index + 5 * rank, 3 + 2 * index + rank) for rank, name in enumerate(names)}
        difference, size = (sympy.N(value.subs(at), FLOAT_DIGITS) for value in (x - y, abs(x) + abs(y)))
        if not (difference.is_number and size.is_number and difference.is_finite and size.is_finite):
            return None
        agreed.append(bool(abs(difference) <= size * sympy.Float(10) ** (10 - FLOAT_DIGITS)))
    return all(agreed)


def _parsed(text: str) -> list[Any]:
    import math_verify

    config = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
    boxed = f"\\boxed{{{text}}}"
    no_timeout: Any = None  # typed as int, documented to take None
    found: list[Any] = math_verify.parse(boxed, extraction_config=config, fallback_mode="no_fallback", parsing_timeout=no_timeout)
    return found


def serve() -> None:
    """Answer pairs of texts, one JSON line each, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as replies:
        sys.stdout = sys.stderr
        decide(r"\frac{1}{2}", "x+1")  # imports and builds what the first decision would otherwise wait for
        limit_memory(MEMORY_MIB)
        print(json.dumps("ready"), file=replies)  # the protocol
        for line in sys.stdin:
            signal.alarm(ALARM_S)
            print(json.dumps(_reply(*json.loads(line))), file=replies)
            signal.alarm(0)


def _reply(a: str, b: str) -> tuple[bool | None, str]:
    try:
        return decide(a, b)
    except Exception as failure:  # noqa: BLE001  # SymPy raises nearly every class of exception on odd input; each means the same here
        return None, f"{type(failure).__name__}: {failure}"[:200]
