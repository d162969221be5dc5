r"""The rules of respelling, in their order: what TeX, unicode and words write in many ways is written in one.

Each rule has three parts: what must occur in a text for the rule to apply (any of the signs between bars), a pattern, and what replaces it.
Most rules are skipped by the first. Patterns take time linear in the text, or are bounded by its length (`limits.MAX_ANSWER`).
"""

import re
from collections.abc import Callable

from reasoning_rl.rewards.equality.node import FUNCTIONS

SIGNS = {
    **dict.fromkeys("−–—‐‑﹣", "-"),  # every minus and dash a model may choose
    **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/"},
    **{"≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp "},
    **{"∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "∖": r"\setminus ", "ℝ": r"\mathbb{R}"},
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

Replacement = str | Callable[[re.Match[str]], str]


def _compiled(*rules: tuple[str, str, Replacement]) -> list[tuple[tuple[str, ...], re.Pattern[str], Replacement]]:
    return [(tuple(signs.split("|")), re.compile(pattern), replacement) for signs, pattern, replacement in rules]


_JOINTS = re.compile(r"(?:,\s*)?(?<![A-Za-z])(or|and)(?![A-Za-z])|(?<=[A-Za-z)])\s*(,)(?=\s*[A-Za-z(])")
"""Between the members of a list in words."""
_ASIDE = re.compile(r"\((?=\s*or\b)([^()]*)\)")
_NUMERALS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
    "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
]  # fmt: skip


def _is_letter(match: re.Match[str], inner: str) -> bool:
    r"""Whether a single letter is a variable or constant: `\mathrm{~m}`, and an upright m right behind a number, are metres."""
    if len(inner) != 1 or match[2] != inner:
        return False
    metres = match[1] == "mathrm" and inner in "msghlLNJWV" and match.string[: match.start()].rstrip()[-1:].isdecimal()
    return not metres and (inner in "ixyzn" or match[1].startswith(("math", "operatorname")))


def _unwrap_text(match: re.Match[str]) -> str:
    r"""`\text{8}` is 8, `\mathrm{e}` is e and `\operatorname{arctan}` a function; words stay text.

    `or`, `and` and commas among them join what stands to either side.
    """
    inner = match[2].strip()
    if inner in FUNCTIONS:
        return f"\\{inner} "
    if _is_letter(match, inner) or re.fullmatch(r"[0-9.,/%-]+", inner):
        return inner
    divided = _JOINTS.sub(lambda joint: f"}} {',' if joint[2] else chr(92) + joint[1]} \\text{{", _ASIDE.sub(r"\1", match[2]))
    return re.sub(r"\\text\{\s*\}", "", f"\\text{{{divided}}}")


def _repeating(match: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as the fraction that it is."""
    whole, once, again = match[1] or "0", match[2], match[3] or match[4]
    return rf"\frac{{{int(whole + once + again) - int(whole + once)}}}{{{'9' * len(again)}{'0' * len(once)}}}"


def _without_condition(match: re.Match[str]) -> str:
    """`k ∈ ℤ` says what k is, but of an inequality it is a part."""
    return match[0] if re.search(r"[<>]|\\[lg]e(?![a-z])", match.string[: match.start()]) else ""


def _french(match: re.Match[str]) -> str:
    """`]3, 4]` is (3, 4]: a bracket turned away leaves the end out."""
    return f"{'(' if match[1] == ']' else '['}{match[2]}{')' if match[3] == '[' else ']'}"


_MAGNITUDES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MANY = "|".join(_MAGNITUDES)


def _magnitude(match: re.Match[str]) -> str:
    return rf"\times 10^{{{_MAGNITUDES[match[1] or match[2]]}}}"


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
    return f"_{{{number}}}" if number.isdecimal() else ""


_DEGREE = r"\\(?:text|mathrm)\s*\{\s*o\s*\}"
_ROMAN = r"\\(?:mathrm|text|mbox)\s*\{\s*([A-Za-z]+)\s*\}"
_ONE = r"(?:\{\s*([A-Za-z0-9]+)\s*\}|([A-Za-z0-9]))"
RULES = _compiled(
    # layout
    ("", r"\s+", " "),
    (r"\begin", r"\\begin\s*\{(aligned|align\*?|gathered|split|cases)\}(.*?)\\end\s*\{\1\}", _rows),
    ("\\\\", r"\\\\\s*\[[^\]]*\]", r"\\\\"),  # the height of a row
    ("lbrace", r"\\lbrace(?![A-Za-z])", r"\\{"),
    ("rbrace", r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\$", r"\\(?:text|mathrm)\s*\{\s*\\\$\s*\}", r"\\$"),
    ("{$|{ $", r"\\(?:text|mbox|textbf)\s*\{\s*\$([^$]*)\$\s*\}", r" \1 "),
    (
        r"\co|\textc|\smash|\underl|\bo|\bm|\ensure",
        r"\\(?:color|textcolor)\s*\{[^{}]*\}|\\(?:smash|underline|boldsymbol|bm|ensuremath)(?![A-Za-z])",
        "",
    ),
    # roots
    ("∛|cbrt", r"(?:∛|\bcbrt\b)\s*(?=[({])", r"\\sqrt[3]"),
    ("∛", r"∛\s*([0-9]+|[A-Za-z])", r"\\sqrt[3]{\1}"),
    ("√", r"√\s*([0-9]+(?:\.[0-9]+)?|[A-Za-z])", r"\\sqrt{\1}"),
    ("√", "√", r"\\sqrt "),
    # spacing and size
    ("quad", r"(?<!\\)\\q?quad", " "),
    (r"\displ|\textst|lim|\bf|\rm|\it", r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it)(?![A-Za-z])", " "),
    (r"\la|\La|\hu|\Hu|\sm|\no", r"\\(?:large|Large|LARGE|huge|Huge|small|normalsize)(?![A-Za-z])", " "),
    (r"\left|\right|\b|\B", r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
    (
        r"{,}|\!|\,",
        r"(?<=[0-9])\s*(?:\{,\}|,\s*\\!|\\,|\\!)\s*(?=[0-9]{3}(?![0-9]))",
        "",
    ),  # 14{,}916, 11,\!111 and 1\,000 are one number each
    (r"\|~", r"(?<!\\)\\[,!;:> ]|~", " "),
    (r"\|$", r"(?<!\\)\\[()\[\]#]|(?<!\\)\$", " "),
    # fractions and numerals
    ("frac", r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    ("uppi", r"\\uppi(?![A-Za-z])", r"\\pi "),
    (r"\bigc", r"\\big(cup|cap)(?![A-Za-z])", r"\\\1 "),
    (",", r"(?<=[A-Za-z}^]\{)[0-9]{1,3}(?:,[0-9]{3})+(?=\})", lambda match: match[0].replace(",", "")),  # \frac{1}{2,000}
    ("^", r"\\(?:mathrm|text)\s*\{\s*([A-Za-z]+)\s+([A-Za-z]+)\s*\^\s*\{\s*-\s*1\s*\}\s*\}", r"\\text{ \1/\2}"),  # m\,s^{-1}
    (r"\mathrm", r"\\mathrm\s*\{\s*([0-9.]+)\s*([A-Za-z]+)\s*\}", r"\1\\text{ \2}"),
    ("/", rf"{_ROMAN}\s*/\s*{_ROMAN}", r"\\text{ \1/\2}"),  # \mathrm{~km} / \mathrm{h}
    ("e|E", r"(?<=[0-9])\\(?:text|mathrm)\s*\{\s*[eE]\s*\}(?=[-+]?[0-9])", "e"),
    # degrees and bases
    ("o", rf"(?<=[0-9}}])\s*\^\s*(?:\{{\s*{_DEGREE}\s*\}}|{_DEGREE})", "°"),
    ("_", rf"_\s*(?:\{{\s*{_ROMAN}\s*\}}|{_ROMAN})", _based),
    ("base", r"\\text\s*\{\s*,?\s*\(?\s*(?:in )?base[ -]*([A-Za-z0-9]+)\s*\)?\s*\}|\\text\s*\{\s*(?:in )?base\s*\}\s*([0-9]+)", _based),
    ("base", r"(?<=[0-9A-F])\s*\(?(?:in )?base[ -]*([0-9]+)()\)?(?![0-9A-Za-z])", _based),
    # text, and words in it
    (
        r"\text|\m|\hbox|\operatorname",
        r"\\(text|mbox|hbox|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|operatorname)\s*\{([^{}]*)\}",
        _unwrap_text,
    ),
    ("%|percent|pct", r"\\%|\s*\b(?:percent(?:age)?|pct)\b|\\text\{\s*(?:percent(?:age)?|pct)\s*\}", "%"),
    ("circ|degree", r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\s*\\degree(?![A-Za-z])|\s*\bdegrees?\b|\\text\{\s*degrees?\s*\}", "°"),
    # relations and joints
    (r"\le|<", r"\\(?:leqslant|leq|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
    (r"\ge|>", r"\\(?:geqslant|geq|geqq)(?![A-Za-z])|>=", r"\\ge "),
    ("+/-", r"\+/-", r"\\pm "),
    (r"\not", r"\\not\s*\\in(?![A-Za-z])", r"\\notin "),
    (r"\n|!=", r"\\(?:neq|not\s*=)(?![A-Za-z])|!=", r"\\ne "),
    (r"\approx|\sim", r"\\(?:approx|simeq)(?![A-Za-z])", r"\\approx "),
    (r"\lt", r"\\lt(?![A-Za-z])", "<"),
    (r"\gt", r"\\gt(?![A-Za-z])", ">"),
    (r"vert|\mid", r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
    (r"\lor|\vee", r"\\(?:lor|vee)(?![A-Za-z])", r" \\or "),
    (r"\land|\wedge", r"\\(?:land|wedge)(?![A-Za-z])", r" \\and "),
    # sets
    ("]", r"([\[\]])([^\[\]()]{1,80},[^\[\]()]{1,80})([\[\]])", _french),
    (r"\varnothing", r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
    ("R", r"\\(?:mathbb|mathbf|Bbb|mathds)\s*(?:\{\s*R\s*\}|R(?![A-Za-z]))|\\(?:R|Reals)(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\backslash|\mathbb", r"\\backslash(?![A-Za-z])|(?<=\\mathbb\{R\})\s*(?:-|\\\\)(?=\s*\\\{)", r"\\setminus "),
    ("e|E", r"(?<![A-Za-z0-9.\\])([0-9]+(?:\.[0-9]+)?)[eE]([-+]?[0-9]{1,3})(?![0-9A-Za-z.^])", r"\1\\times 10^{\2}"),  # 1.5e6
    ("dots", r"\\(?:dotsc|dots|ldots|cdots)(?![A-Za-z])", "..."),
    # more numerals, binomial coefficients
    ("(", r"^\s*([0-9]{0,30})\.([0-9]{0,30})\(([0-9]{1,30})()\)\s*$", _repeating),  # 0.1(6)
    (
        ",",
        r"^[^,(\[{]*(?<![0-9.])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9.,])[^,(\[{]*$",
        lambda match: match[0] if re.fullmatch(r"[\s0-9,+-]*", match[0]) else match[0].replace(",", ""),
    ),  # 1,000\pi
    (r"\over|\bar|\dot", r"([0-9]{0,30})\.([0-9]{0,30})\\(?:overline|bar|dot)\s*(?:\{\s*([0-9]{1,30})\s*\}|([0-9]))", _repeating),
    (r"\math", r"\\math(?:bf|rm|it|sf)(?=\s*\{)", ""),
    (r"\over", r"\{([^{}]{1,60})\\over(?![A-Za-z])([^{}]{1,60})\}", r"\\frac{\1}{\2}"),
    (r"\choose", r"\{([^{}]{1,60})\\choose([^{}]{1,60})\}", r"\\binom{\1}{\2}"),
    ("C", rf"(?:\{{\s*\}})?[\^_]{_ONE}\s*C\s*_\s*{_ONE}", r"\\binom{\1\2}{\3\4}"),  # nCk
    ("C", rf"(?<![A-Za-z\\])C_\s*{_ONE}\s*\^\s*{_ONE}", r"\\binom{\1\2}{\3\4}"),
    ("(", r"(?<![A-Za-z\\])(?:C|binom|nCr|choose)\(([^(),]{1,40}),([^(),]{1,40})\)", r"\\binom{\1}{\2}"),
    ("C", r"(?<![0-9A-Za-z\\])([0-9]{1,4})C([0-9]{1,4})(?![0-9])", r"\\binom{\1}{\2}"),  # 10C3
    ("10", r"(?<=[0-9])\s*x\s*(?=10\s*\^)", r"\\times "),
    ("**", r"\*\*", "^"),
    # conditions that say nothing, and words that say a number or a sign
    (r"\equiv", r"\\equiv(?![A-Za-z])(?!.*mod)", "="),
    (
        r"for|\forall",
        r",?\s*\(?(?:\\text\s*\{\s*,?\s*for (?:all|every|any|each)(?: real)?\s*\}\s*|\\forall\s*)[A-Za-z]\s*(?:\\in\s*\\mathbb\{R\})?\)?$",
        "",
    ),
    (
        r"\in",
        r"(?<=[A-Za-z0-9)}])\s*[,;]?\s*\(?\s*(?:\\text\s*\{[^{}]*\}\s*)?[a-z]\s*\\in\s*\\(?:mathbb|mathbf)\s*\{?\s*[ZN]\s*\}?\s*\)?\s*$",
        _without_condition,
    ),
    ("illion|thousand", rf"(?<=[0-9])\s*(?:\\text\s*\{{\s*({_MANY})\s*\}}|({_MANY})(?![A-Za-z]))", _magnitude),
    ("or|and", r"(?<![A-Za-z\\])(or|and)(?![A-Za-z])", r" \\\1 "),
    ("pi", r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    ("inf|oo", r"(?<![A-Za-z\\])(?:infinity|infty|oo)(?![A-Za-z])", r"\\infty "),
    ("/", r"(?<![0-9./])([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)(?![0-9.])", r"\1\\frac{\2}{\3}"),  # 1 4/5
    (" ", r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3})+)(?![0-9])", lambda match: match[1].replace(" ", "")),  # 1 000
    (
        ",",
        r"^\s*(?:\\\$\s*)?[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?=(?:\.[0-9]+)?\s*(?:\\text|[A-Za-z%])[^,]*$)",
        lambda match: match[0].replace(",", ""),
    ),
    ("", r"\s+", " "),
)
