"""Texts as words, for comparing questions."""

import re
import unicodedata

# Punctuation and LaTeX's scaffolding (braces, dollars, backslashes) say nothing; operators do: x+3 is not x-3.
_TOKEN = re.compile(r"\w+|[^\w\s.,;:?!'\"`$\\{}()\[\]&~]")
_EDGES = ".,;:?!'\"`$()[]{}\\"
_DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)

Gram = tuple[str, ...]


def normalised(text: str) -> str:
    r"""One spelling for texts that differ in case, spacing or Unicode composition alone.

    >>> normalised("How  many\nApples?")
    'how many apples?'
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def words(text: str) -> list[str]:
    """Words as spaces part them, without punctuation at their edges; drawings in Asymptote, much alike, are left out.

    >>> words("Is $x+3 = 7$, Tom?")
    ['is', 'x+3', '=', '7', 'tom']
    """
    return [word for word in (piece.strip(_EDGES) for piece in normalised(_DRAWING.sub(" ", text)).split()) if word]


def tokens(text: str) -> list[str]:
    """Words, numbers and operators in order, however they are spaced.

    >>> tokens("Is $x+3 = 7$, Tom?")
    ['is', 'x', '+', '3', '=', '7', 'tom']
    """
    return _TOKEN.findall(normalised(text))


def grams(listed: list[str], size: int) -> list[Gram]:
    """Runs of `size` words, from the first to the last; none when there are fewer words."""
    return list(zip(*(listed[start:] for start in range(size))))


def shingles(text: str, size: int = 3) -> frozenset[Gram]:
    """The set of token runs; a text shorter than one run is one shingle."""
    listed = tokens(text)
    return frozenset(grams(listed, size)) or frozenset({tuple(listed)})
