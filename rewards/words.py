"""Words of any language, told apart without a dictionary: by the script of their letters (`unicodedata`)."""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

UNSPACED = frozenset(["CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"])
"""Scripts that put no space between words: each of their letters counts as a word."""
LONGEST = 32
"""Letters of a word; a longer run is cut, so that one without spaces is not a single word."""
_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=8192)
def script(letter: str) -> str:
    """The first word of the letter's name: LATIN, CYRILLIC, CJK …; empty for a letter without a name.

    >>> script("é"), script("д"), script("々")
    ('LATIN', 'CYRILLIC', 'CJK')
    """
    name = re.split("[ -]", unicodedata.name(letter, ""))[0]
    return "CJK" if name == "IDEOGRAPHIC" else name


def written_words(text: str) -> list[tuple[str, str]]:
    """Runs of letters of one script, each with its script. Accents and vowel signs belong to the letter before them."""
    return [(piece, name) for run in _LETTERS.findall(_composed(text)) for name, piece in _by_script(run)]


def spoken_words(text: str) -> list[str]:
    """What stands between spaces, lower case; cut into letters where a script has no spaces, and into pieces where it is long."""
    return [piece for chunk in text.lower().split() for name, run in _by_kind(chunk) for piece in _pieces(name, run)]


def _composed(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter)[0] != "M")


def _by_script(run: str) -> list[tuple[str, str]]:
    if run.isascii():
        return [("LATIN", run)]
    pieces = [(name, "".join(letters)) for name, letters in groupby(run, script)]
    return [(name, part) for name, piece in pieces for part in _pieces(name, piece)]


def _by_kind(chunk: str) -> list[tuple[str, str]]:
    if chunk.isascii():
        return [("", chunk)]
    return [
        ("CJK" if unspaced else "", "".join(letters)) for unspaced, letters in groupby(chunk, lambda letter: script(letter) in UNSPACED)
    ]


def _pieces(name: str, run: str) -> list[str]:
    if name in UNSPACED:
        return list(run)
    return [run[start : start + LONGEST] for start in range(0, len(run), LONGEST)]
