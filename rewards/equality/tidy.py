"""One spelling for the many ways of writing the same answer: unicode, TeX spacing, delimiters, words for signs.

Pure strings in, strings out; nothing is understood here, only respelt. Every pattern runs in time linear in the text.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

SIGNS = {
    **dict.fromkeys("−–—‐‑﹣", "-"),  # every minus and dash a model may choose
    **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/"},
    **{"≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp "},
    **{"∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}"},
    **{
        "°": r"^{\circ}",
        "′": "'",
        "⟨": r"\langle ",
        "⟩": r"\rangle ",
        "⌊": r"\lfloor ",
        "⌋": r"\rfloor ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
    },
    **{"π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "φ": r"\phi ", "ω": r"\omega "},
    **{"½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}"},
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),  # invisible: 4<zero width space>5 is 45
}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

Replacement = str | Callable[[re.Match[str]], str]


def _compiled(*rules: tuple[str, Replacement]) -> list[tuple[re.Pattern[str], Replacement]]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


def _unwrap_text(match: re.Match[str]) -> str:
    r"""`\text{8}` is 8 and `\mathrm{e}` is e; words stay text, but `or` and `and` among them join what stands to either side."""
    inner = match[2].strip()
    if re.fullmatch(r"[0-9.,/%-]+", inner) or (match[1].startswith(("math", "operatorname")) and len(inner) == 1):
        return inner
    pieces = re.split(r"(?<![A-Za-z])(or|and)(?![A-Za-z])", match[2])
    return "".join(f" \\{piece} " if index % 2 else f"\\text{{{piece}}}" * bool(piece.strip()) for index, piece in enumerate(pieces))


_TEX = _compiled(
    (r"\s+", " "),
    (r"√\s*([0-9]+(?:\.[0-9]+)?|[A-Za-z])", r"\\sqrt{\1}"),
    ("√", r"\\sqrt "),
    (r"(?<!\\)\\q?quad", " "),
    (r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it)(?![A-Za-z])", " "),
    (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
    (r"(?<=[0-9])\s*(?:\{,\}|,\s*\\!|\\,|\\!)\s*(?=[0-9]{3}(?![0-9]))", ""),  # 14{,}916, 11,\!111 and 1\,000 are one number each
    (r"(?<!\\)\\[,!;:> ]|~", " "),
    (r"(?<!\\)\\[$()\[\]#]|\$", " "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\(text|mbox|hbox|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|operatorname)\s*\{([^{}]*)\}", _unwrap_text),
    (r"\\%|\s*\b(?:percent(?:age)?|pct)\b|\\text\{\s*(?:percent(?:age)?|pct)\s*\}", "%"),
    (r"\^\s*\{?\s*\\circ\s*\}?|\s*\\degree(?![A-Za-z])|\s*\bdegrees?\b|\\text\{\s*degrees?\s*\}", "°"),
    (r"\\(?:leqslant|leq|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
    (r"\\(?:geqslant|geq|geqq)(?![A-Za-z])|>=", r"\\ge "),
    (r"\\(?:neq|not\s*=)(?![A-Za-z])|!=", r"\\ne "),
    (r"\\(?:approx|simeq|sim)(?![A-Za-z])", r"\\approx "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
    (r"\\(?:lor|vee)(?![A-Za-z])", r" \\or "),
    (r"\\(?:dotsc|dots|ldots|cdots)(?![A-Za-z])", "..."),
    (r"\*\*", "^"),
    (r"(?<![A-Za-z\\])(or|and)(?![A-Za-z])", r" \\\1 "),
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (r"(?<![A-Za-z\\])(?:infinity|infty|oo)(?![A-Za-z])", r"\\infty "),
    (r"(?<![0-9./])([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)(?![0-9.])", r"\1\\frac{\2}{\3}"),  # 1 4/5
    (r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9])", lambda match: match[1].replace(" ", "")),  # 1 000
    (r"\s+", " "),
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    r"""The answer respelt: one sign for each meaning, no spacing commands, no delimiters, no outer box, no full stop.

    >>> tidy(r"$\dfrac{14}{3}.$"), tidy("3√13"), tidy(r"14{,}916"), tidy("90°"), tidy(r"52_{\text{8}}")
    ('\\frac{14}{3}', '3\\sqrt{13}', '14916', '90°', '52_{8}')
    """
    text = _plain(text)
    for pattern, replacement in _TEX:
        text = pattern.sub(replacement, text)
    return _trimmed(text)


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
        bare = text.strip().rstrip(".,;:").strip()
        box = _BOX.fullmatch(bare)
        if box and _closes_last(bare):
            bare = box[1]
        if bare == text:
            break
        text = bare
    return text


def _closes_last(text: str) -> bool:
    """Whether the first brace is closed by the last."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "}" and depth == 0:
            return at == len(text) - 1
    return False
