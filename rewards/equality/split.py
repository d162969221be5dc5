"""Where a text divides: at separators that no bracket encloses."""

import re
from collections.abc import Iterator

_OPEN = {
    "(": ")",
    "[": "]",
    "{": "}",
    r"\{": r"\}",
    r"\langle": r"\rangle",
    r"\lfloor": r"\rfloor",
    r"\lceil": r"\rceil",
    r"\begin": r"\end",
}
_CLOSE = frozenset([*_OPEN.values(), ")", "]"])
_LEXEME = re.compile(r"\\[A-Za-z]+|\\.|[^\\]", re.DOTALL)


def outside(text: str) -> Iterator[tuple[int, str]]:
    """Position and token of everything that stands outside all brackets. `(0,1]` closes what `(` opened."""
    depth = 0
    for match in _LEXEME.finditer(text):
        token = match[0]
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth -= 1
        elif depth == 0:
            yield match.start(), token


def split_at(text: str, separators: frozenset[str]) -> list[tuple[str, str]]:
    """Parts of the text, each with the separator before it; the first has none.

    >>> split_at("(1,2), 3", frozenset(","))
    [('', '(1,2)'), (',', '3')]
    """
    if not any(separator in text for separator in separators):
        return [("", text.strip())]
    parts, start, separator = [], 0, ""
    for at, token in outside(text):
        if token in separators:
            parts.append((separator, text[start:at].strip()))
            start, separator = at + len(token), token
    return [*parts, (separator, text[start:].strip())]


def enclosed(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, inside and closing bracket, where one pair encloses the whole text."""
    tokens = [(match.start(), match[0]) for match in _LEXEME.finditer(text)]
    if len(tokens) < 2 or tokens[0][1] not in _OPEN or tokens[-1][1] not in _CLOSE or tokens[0][1] == r"\begin":
        return None
    depth = 0
    for at, token in tokens:
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0:
            whole = at == tokens[-1][0]
            return (tokens[0][1], text[len(tokens[0][1]) : at].strip(), token) if whole else None
    return None
