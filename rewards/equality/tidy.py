"""One spelling for the many ways of writing the same answer: unicode, TeX spacing, delimiters, words for signs.

Pure strings in, strings out; nothing is understood here, only respelt.
"""

import re
import unicodedata
from functools import lru_cache

from reasoning_rl.rewards.equality.respelling import RULES, SIGNS

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SIGNED = re.compile(r"[\s({\[]*(?:[-!~]|\\(?:neg|lnot)(?![A-Za-z]))")
_ARTICLE = re.compile(r"^[\s({]*(?:\\text\s*\{\s*)?(?:an?|the)\s+(?=[a-z]{3})", re.IGNORECASE)
_WORDING = re.compile(r"[^\W_][\w .,'’:;&/]*")
_DOLLAR = re.compile(r"(?<!\\)\$")
_INNER_BOX = re.compile(r"\\(?:boxed|fbox)(?=\s*\{)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    r"""The answer respelt: one sign for each meaning, no spacing commands, no delimiters, no outer box, no full stop.

    >>> tidy(r"$\dfrac{14}{3}.$"), tidy("3√13"), tidy(r"14{,}916"), tidy("90°"), tidy(r"52_{\text{8}}")
    ('\\frac{14}{3}', '3\\sqrt{13}', '14916', '90°', '52_{8}')
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _plain(_with_currency(text))
    for signs, pattern, replacement in RULES:
        for sign in signs:
            if sign in text:
                text = pattern.sub(replacement, text)
                break
    return _trimmed(text)


def _with_currency(text: str) -> str:
    """A dollar sign without a partner is money, not the border of a formula."""
    if "$" not in text or len(_DOLLAR.findall(text)) != 1:
        return text
    return _DOLLAR.sub(r"\\$", text)


def _plain(text: str) -> str:
    """Unicode that means a sign becomes the sign; raised and lowered digits keep their height."""
    if text.isascii():
        return text
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}", text)
    text = re.sub("[₀-₉]+", lambda match: f"_{{{match[0].translate(SUBSCRIPTS)}}}", text)
    text = "".join(SIGNS.get(letter, letter) for letter in text)
    return unicodedata.normalize("NFKC", text)


def _trimmed(text: str) -> str:
    """Without surrounding space, final punctuation and outer boxes, however often they alternate."""
    for _ in range(8):
        bare = text.strip()
        bare = bare if bare.endswith("...") else bare.rstrip(".,;:").strip()
        box = _BOX.fullmatch(bare)
        if box and _closes_last(bare):
            bare = box[1]
        if bare == text:
            break
        text = bare
    return _INNER_BOX.sub("", text)


def _closes_last(text: str) -> bool:
    """Whether the first brace is closed by the last."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "}" and depth == 0:
            return at == len(text) - 1
    return False


def wording(text: str) -> str:
    r"""Words to be compared: without case, brackets, `\text` and an article, a hyphen being a space. "" for what is more than words."""
    said = _ARTICLE.sub("", text.replace(r"\text", " ").strip(" .,;:"))
    said = " ".join(re.sub(r"[{}()\[\]\-]", " ", said).split()).casefold()
    spelt = said if any(letter.isdigit() for letter in said) else said.replace(" ", "")
    return spelt if _WORDING.fullmatch(said) and not _SIGNED.match(text) else ""


def letters(text: str) -> str:
    """What words say, without case, brackets, spaces, commands and an article; a sign before them stays."""
    sign = "-" if _SIGNED.match(text) else ""
    text = _ARTICLE.sub("", text)
    return sign + "".join(letter for letter in re.sub(r"\\[A-Za-z]+", "", text).casefold() if letter.isalnum())
