"""What the comparison refuses to work on, and three ways of saying so."""

MAX_ANSWER = 6000
"""Characters of an answer or a gold; the longest gold of MATH has 170."""
MAX_TOKENS = 1500
MAX_DEPTH = 40
"""Nesting of an expression; each level costs a few frames of Python's stack."""
MAX_BITS = 30_000
"""Size of an exact number that appears while an expression is evaluated; a longer one goes on with sixty digits."""
MAX_DIGITS = 3000
"""Of a numeral as written; Python itself reads no more than 4,300."""
MAX_FACTORIAL = 2500
MAX_ITEMS = 80
"""Members of a list, set or matrix; each may be compared with each."""
MAX_SETS = 30
"""Sets in a union, intersection or difference."""


class Unreadable(ValueError):  # noqa: N818  # says what the text is, not that something failed
    """The text means nothing to this stage; another may read it."""


class TooLarge(ValueError):  # noqa: N818
    """Reading or evaluating the text would pass a limit."""


class Undefined(ValueError):  # noqa: N818
    """The expression has no finite value (a division by zero, an infinite operand)."""
