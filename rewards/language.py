"""DeepSeek-R1's language consistency (arXiv:2501.12948, §2.3.2): the share of words of the target language in the chain of thought."""

import re
from typing import Literal

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.equality.node import FUNCTIONS
from reasoning_rl.rewards.thought import thought
from reasoning_rl.rewards.verifier import verifier
from reasoning_rl.rewards.words import written_words

Target = Literal[
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl", "no", "pl", "pt",
    "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
]  # fmt: skip
_SCRIPTS: dict[str, set[str]] = {
    **{each: {"ARABIC"} for each in ("ar", "fa")},
    **{each: {"CYRILLIC"} for each in ("bg", "ru", "uk")},
    "el": {"GREEK"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ja": {"HIRAGANA", "KATAKANA", "CJK"},
    "ko": {"HANGUL"},
    "th": {"THAI"},
    "zh": {"CJK", "BOPOMOFO"},
}
"""What a language is written in where it isn't Latin."""
_NOT_LANGUAGE = re.compile(r"\\(?:begin|end)\s?\{[^{}\n]{0,40}\}|\\[A-Za-z]+|</?[A-Za-z]{1,20}>|[A-Za-z0-9]+")
"""TeX commands and tags; and runs of letters and digits, of which those with a digit go too. The words in `\\text{…}` stay."""
_SYMBOL = re.compile(r"[^\W\d_]|[A-Z]{2,4}")
"""x, θ, AB, GCD."""
_MATHEMATICS = FUNCTIONS | {"mod", "gcd", "lcm", "max", "min", "det", "cm", "mm", "km", "kg"}


@verifier("language")
def language(completion: Completion, _problem: Problem, *, target: Target = "en") -> Score:
    """Words of the target's script over all words of the chain of thought: inside the think tags, else all before the answer.

    Judged by script, so English is not told from French, nor Chinese from Japanese without kana. Mathematics is no language: TeX commands,
    numerals, single letters, names of functions and short runs of capitals count neither way. Each letter of a script without spaces counts
    as a word. No words, no value: what isn't written is in no language.
    """
    words = _words(completion.text)
    if not words:
        return Score(0.0, reason="no words in the chain of thought")
    scripts = _SCRIPTS.get(target, {"LATIN"})
    right = sum(name in scripts for _, name in words)
    other = next((f", such as {word[:20]!r}" for word, name in words if name not in scripts), "")
    return Score(right / len(words), reason=f"{right} of {len(words)} words could be {target}{', others not' + other if other else ''}")


def _words(text: str) -> list[tuple[str, str]]:
    chain = _NOT_LANGUAGE.sub(lambda match: match[0] if match[0].isalpha() else " ", text[slice(*thought(text))])
    return [(word, name) for word, name in written_words(chain) if not _is_symbol(word, name)]


def _is_symbol(word: str, name: str) -> bool:
    return name in {"LATIN", "GREEK"} and (_SYMBOL.fullmatch(word) is not None or word in _MATHEMATICS)
