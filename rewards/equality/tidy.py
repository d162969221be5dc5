"""One spelling for the many ways of writing the same answer: unicode, TeX spacing, delimiters, words for signs.

Pure strings in, strings out; nothing is understood here, only respelt. Every pattern runs in time linear in the text.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from reasoning_rl.rewards.equality.node import FUNCTIONS

SIGNS = {
    **dict.fromkeys("−–—‐‑﹣", "-"),  # every minus and dash a model may choose
    **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/"},
    **{"≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp "},
    **{"∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}"},
    **{
        **dict.fromkeys("°º˚", r"^{\circ}"),
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


_JOINTS = re.compile(r"(?:,\s*)?(?<![A-Za-z])(or|and)(?![A-Za-z])|(?<=[A-Za-z)])\s*(,)(?=\s*[A-Za-z(])")
"""Between the members of a list in words."""
_ASIDE = re.compile(r"\((?=\s*or\b)([^()]*)\)")
_NUMERALS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]


def _unwrap_text(match: re.Match[str]) -> str:
    r"""`\text{8}` is 8, `\mathrm{e}` is e and `\operatorname{arctan}` a function; words stay text.

    `or`, `and` and commas among them join what stands to either side.
    """
    inner = match[2].strip()
    if inner in FUNCTIONS:
        return f"\\{inner} "
    letter = match[1].startswith(("math", "operatorname")) and len(inner) == 1 and match[2] == inner  # \mathrm{~m} is a unit
    if letter or re.fullmatch(r"[0-9.,/%-]+", inner):
        return inner
    divided = _JOINTS.sub(lambda joint: f"}} {',' if joint[2] else chr(92) + joint[1]} \\text{{", _ASIDE.sub(r"\1", match[2]))
    return re.sub(r"\\text\{\s*\}", "", f"\\text{{{divided}}}")


def _repeating(match: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as the fraction that it is."""
    whole, once, again = match[1] or "0", match[2], match[3]
    return rf"\frac{{{int(whole + once + again) - int(whole + once)}}}{{{'9' * len(again)}{'0' * len(once)}}}"


def _rows(match: re.Match[str]) -> str:
    """The rows of aligned equations or of cases, as a list."""
    rows = [row.replace("&", "").strip() for row in re.split(r"\\\\(?:\s*\[[^\]]*\])?", match[2])]
    return ", ".join(row.rstrip(",") for row in rows if row)


def _based(match: re.Match[str]) -> str:
    """A base named in words, as a subscript."""
    return _based_on(match[1] or match[2]) or match[0]


def _based_on(name: str) -> str:
    """The subscript for a base, "" where the name is none."""
    number = str(_NUMERALS.index(name.lower())) if name.lower() in _NUMERALS else name
    return f"_{{{number}}}" if number.isdigit() else ""


def _worded_subscript(match: re.Match[str]) -> str:
    return _based_on(match[1]) or match[0]


_ROMAN = r"\\(?:mathrm|text|mbox)\s*\{\s*([A-Za-z]+)\s*\}"
_ONE = r"(?:\{\s*([A-Za-z0-9]+)\s*\}|([A-Za-z0-9]))"
_TEX = _compiled(
    (r"\s+", " "),
    (r"\\begin\s*\{(aligned|align\*?|gathered|split|cases)\}(.*?)\\end\s*\{\1\}", _rows),
    (r"\\\\\s*\[[^\]]*\]", r"\\\\"),  # the height of a row
    (r"\\(?:text|mathrm)\s*\{\s*\\\$\s*\}", r"\\$"),
    (r"\\(?:text|mbox|textbf)\s*\{\s*\$([^$]*)\$\s*\}", r" \1 "),
    (r"\\(?:color|textcolor)\s*\{[^{}]*\}|\\(?:smash|underline|boldsymbol|bm|ensuremath)(?![A-Za-z])", ""),
    (r"(?:∛|\bcbrt\b)\s*(?=[({])", r"\\sqrt[3]"),
    (r"∛\s*([0-9]+|[A-Za-z])", r"\\sqrt[3]{\1}"),
    (r"√\s*([0-9]+(?:\.[0-9]+)?|[A-Za-z])", r"\\sqrt{\1}"),
    ("√", r"\\sqrt "),
    (r"(?<!\\)\\q?quad", " "),
    (r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it)(?![A-Za-z])", " "),
    (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
    (r"(?<=[0-9])\s*(?:\{,\}|,\s*\\!|\\,|\\!)\s*(?=[0-9]{3}(?![0-9]))", ""),  # 14{,}916, 11,\!111 and 1\,000 are one number each
    (r"(?<!\\)\\[,!;:> ]|~", " "),
    (r"(?<!\\)\\[()\[\]#]|(?<!\\)\$", " "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\uppi(?![A-Za-z])", r"\\pi "),
    (r"\\big(cup|cap)(?![A-Za-z])", r"\\\1 "),
    (r"(?<=[A-Za-z}^]\{)[0-9]{1,3}(?:,[0-9]{3})+(?=\})", lambda match: match[0].replace(",", "")),  # \frac{1}{2,000}
    (rf"{_ROMAN}\s*/\s*{_ROMAN}", r"\\text{ \1/\2}"),  # \mathrm{~km} / \mathrm{h}
    (r"(?<=[0-9])\\(?:text|mathrm)\s*\{\s*[eE]\s*\}(?=[-+]?[0-9])", "e"),
    (r"(?<=[0-9}])\s*\^\s*\{?\s*\\(?:text|mathrm)\s*\{\s*o\s*\}\s*\}?", "°"),
    (r"_\s*\{?\s*\\(?:text|mathrm)\s*\{\s*([A-Za-z]+)\s*\}\s*\}?", _worded_subscript),
    (r"\\text\s*\{\s*,?\s*\(?\s*(?:in )?base[ -]*([A-Za-z0-9]+)\s*\)?\s*\}|\\text\s*\{\s*(?:in )?base\s*\}\s*([0-9]+)", _based),
    (r"(?<=[0-9A-F])\s*\(?(?:in )?base[ -]*([0-9]+)()\)?(?![0-9A-Za-z])", _based),
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
    (r"\\(?:land|wedge)(?![A-Za-z])", r" \\and "),
    (r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
    (r"\\(?:mathbb|mathbf|Bbb|mathds)\s*(?:\{\s*R\s*\}|R(?![A-Za-z]))|\\(?:R|Reals)(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\\backslash(?![A-Za-z])|(?<=\\mathbb\{R\})\s*(?:-|\\\\)(?=\s*\\\{)", r"\\setminus "),
    (r"(?<![A-Za-z0-9.\\])([0-9]+(?:\.[0-9]+)?)[eE]([-+]?[0-9]{1,3})(?![0-9A-Za-z.^])", r"\1\\times 10^{\2}"),  # 1.5e6
    (r"\\(?:dotsc|dots|ldots|cdots)(?![A-Za-z])", "..."),
    (r"([0-9]{0,30})\.([0-9]{0,30})\\(?:overline|bar|dot)\s*\{?\s*([0-9]{1,30})\s*\}?", _repeating),
    (r"\\math(?:bf|rm|it|sf)(?=\s*\{)", ""),
    (r"\{([^{}]{1,60})\\over(?![A-Za-z])([^{}]{1,60})\}", r"\\frac{\1}{\2}"),
    (r"\{([^{}]{1,60})\\choose([^{}]{1,60})\}", r"\\binom{\1}{\2}"),
    (rf"(?:\{{\s*\}})?[\^_]{_ONE}\s*C\s*_\s*{_ONE}", r"\\binom{\1\2}{\3\4}"),  # nCk
    (rf"(?<![A-Za-z\\])C_\s*{_ONE}\s*\^\s*{_ONE}", r"\\binom{\1\2}{\3\4}"),
    (r"(?<![A-Za-z\\])(?:C|binom|nCr|choose)\(([^(),]{1,40}),([^(),]{1,40})\)", r"\\binom{\1}{\2}"),
    (r"\*\*", "^"),
    (r"(?<![A-Za-z\\])(or|and)(?![A-Za-z])", r" \\\1 "),
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (r"(?<![A-Za-z\\])(?:infinity|infty|oo)(?![A-Za-z])", r"\\infty "),
    (r"(?<![0-9./])([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)(?![0-9.])", r"\1\\frac{\2}{\3}"),  # 1 4/5
    (r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9])", lambda match: match[1].replace(" ", "")),  # 1 000
    (r"\s+", " "),
)
_DOLLAR = re.compile(r"(?<!\\)\$")
_INNER_BOX = re.compile(r"\\(?:boxed|fbox)(?=\s*\{)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    r"""The answer respelt: one sign for each meaning, no spacing commands, no delimiters, no outer box, no full stop.

    >>> tidy(r"$\dfrac{14}{3}.$"), tidy("3√13"), tidy(r"14{,}916"), tidy("90°"), tidy(r"52_{\text{8}}")
    ('\\frac{14}{3}', '3\\sqrt{13}', '14916', '90°', '52_{8}')
    """
    text = _plain(_with_currency(text))
    for pattern, replacement in _TEX:
        text = pattern.sub(replacement, text)
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
        bare = text.strip().rstrip(".,;:").strip()
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


def letters(text: str) -> str:
    """What words say, without case, brackets, spaces and commands."""
    return "".join(letter for letter in re.sub(r"\\[A-Za-z]+", "", text).casefold() if letter.isalnum())
