r"""Finding chains of equations in a text: `3 + 4 = 7`, `<<3+4=7>>`, `\frac{1}{2} \times 6 = 3 = 5 - 2`. Nothing is evaluated here.

Words part chains. What stands next to a variable, a function or an operator beside a word is left unreadable rather than misread:
of `x + 3 = 5` and `3 apples + 4 = 7` nothing can be said. One pass over the text; time linear in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from reasoning_rl.rewards.equality.node import FUNCTIONS, GREEK

MAX_SIDE = 200
"""Characters of one side; a longer one is unreadable."""
UNREADABLE = "?"

_ANNOTATION = re.compile(r"<<([^<>\n]{1,200})>>")
_BOLD = re.compile(r"(?<![0-9)\]}])\*\*|\*\*(?![0-9(\[{\\-])")
_MARKER = re.compile(r"\s*(?:[-*•+]|\(?[0-9]{1,3}[.):])\s+")
"""Of a list, before the item."""
_TOKEN = re.compile(
    r"(?P<space>[\s$€£¥₹&°]+|\\[$()\[\],;:! ]|\\q?quad(?![A-Za-z]))"
    r"|(?P<number>(?:[0-9]|(?:\{,\}|,\\!|[.,])(?=[0-9]))+)"
    r"|(?P<barrier>!=|\\(?:begin|end)\s?\{[^{}]{0,40}\}|(?:=>|=<|[<>]=|:=))"
    r"|(?P<equals>==?|[≈≃＝]|\\(?:approx|simeq|eq)(?![A-Za-z]))"
    r"|(?P<text>\\(?:text|mbox|hbox|textrm|textbf|textit|mathrm|operatorname)\s?\{[^{}]{0,100}\}(?:\s?\^\s?(?:[0-9]|\{[0-9]\}))?)"
    r"|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<clock>(?<=[0-9])(?:\.\.+|…|[:](?=[0-9])|\.(?=\\(?:overline|dot|bar|[lc]?dots))))"
    r"|(?P<sign>[-−–+*×·⋅∙/÷∕⁄^()\[\]{}|%!_√½⅓⅔¼¾⁰¹²³⁴⁵⁶⁷⁸⁹⁻])"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_PUNCTUATION = frozenset(".,;:?\"'`’‘“”„«»<>#~…→⇒。，；：？、（）—")
_PARTING = frozenset(
    ["implies", "Rightarrow", "Longrightarrow", "rightarrow", "to", "iff", "therefore", "because", "ne", "neq", "le", "leq", "leqslant",
     "ge", "geq", "geqslant", "lt", "gt", "item"]
)  # fmt: skip
"""TeX commands with which a formula ends."""
_JOINING = frozenset(["and", "or", "so", "if", "then", "where", "because", "since", "thus", "hence", "therefore", "for"])
_OPERATORS = {"x": "*", "X": "*", "times": "*", "of": "*", "plus": "+", "minus": "-"}
"""Words that calculate where they stand between two operands."""
_CHANGING = FUNCTIONS | frozenset(
    ["half", "third", "quarter", "double", "twice", "thrice", "triple", "choose", "mod", "root", "product", "difference", "quotient",
     "remainder", "gcd", "lcm", "max", "min", "squared", "cubed", "times", "plus", "minus", "than", "by"]
)  # fmt: skip
"""Words that change what the numbers behind them mean."""
_PASSING = frozenset(["of", "the", "a", "an", "these", "those"])
"""Words that pass such a change on: half of the 10."""
_SCALING = frozenset(["cent", "cents", "dozen", "hundred", "thousand", "million", "billion", "trillion"])
"""Words that change what the number before them means."""
_PERCENT = frozenset(["percent", "pct"])
_BINARY = frozenset([*"-−–+*×·⋅∙/÷∕⁄^)]}%!_", r"\times", r"\cdot", r"\div"])
"""Signs with which no side begins that stands behind a word."""
_ENDS, _STARTS = frozenset(")]}%"), frozenset(["(", "[", r"\frac"])
"""Tokens that end an operand, and that begin one, beside numbers."""
_CALCULATING = ("+", "-", "*", "/", "^", r"\times", r"\cdot")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Chain:
    """Two or more sides that are said to be equal."""

    sides: tuple[str, ...]
    """As written; empty or holding UNREADABLE where nothing can be said of them."""
    rounded: tuple[bool, ...]
    """Of each side, whether ≈ stands before it."""


def chains(line: str) -> list[Chain]:
    """Of one line or sentence; those inside GSM8K's annotations come first."""
    annotated = [chain for inside in _ANNOTATION.findall(line) for chain in _read(inside)]
    return annotated + _read(_ANNOTATION.sub(" ", line))


def _read(line: str) -> list[Chain]:
    marker = _MARKER.match(line)
    line = _BOLD.sub("  ", line[marker.end() :] if marker else line)
    reader = _Reader(list(_TOKEN.finditer(line)))
    return [chain for chain in reader.read() if len(chain.sides) > 1]


@dataclass(slots=True)
class _Reader:
    """Tokens from left to right, gathered into sides, these into chains."""

    tokens: list[re.Match[str]]
    sides: list[str] = field(default_factory=list)
    rounded: list[bool] = field(default_factory=lambda: [False])
    side: list[str] = field(default_factory=list)
    units: set[str] = field(default_factory=set)
    after_word: bool = False
    changed: bool = False
    """By a word, so that the numbers that follow don't mean themselves."""

    def read(self) -> Iterator[Chain]:
        for at, token in enumerate(self.tokens):
            if token.lastgroup == "equals":
                self.close_side()
                self.rounded.append(token[0] not in {"=", "==", "＝", r"\eq"})
            elif (piece := self.piece(at)) is not None:
                self.add(piece)
            else:
                yield from self.part()
                self.begin_behind(at)
        yield from self.part()

    def piece(self, at: int) -> str | None:
        """What the token adds to a side; None where it is no part of one."""
        kind, said = self.tokens[at].lastgroup, self.tokens[at][0]
        if kind == "word":
            return self.symbol(at)
        if kind == "text":
            return self.text(said)
        if kind in {"number", "sign", "command"}:
            return None if said[1:] in _PARTING else said
        if kind == "space":
            return " "
        return UNREADABLE if kind == "clock" or (kind == "other" and said not in _PUNCTUATION) else None

    def text(self, said: str) -> str | None:
        r"""Of `\text{…}`: numbers are kept, a unit is noted, a word that joins formulas is no part of one."""
        inside, _, exponent = said[said.index("{") + 1 :].partition("}")
        word = inside.strip(" .,:").lower()
        if word in _JOINING:
            return None
        if any(letter.isalpha() for letter in word):
            self.units.add(word.rstrip("s") + exponent)
            return " "
        return said

    def symbol(self, at: int) -> str | None:
        """What a word is within a formula: a sign, a variable, or (None) no part of it."""
        word = self.tokens[at][0]
        if word in _OPERATORS and self.is_operand(at, -1) and self.is_operand(at, 1) and not self.is_aside(at):
            return _OPERATORS[word]
        if self.is_operand(at, -1) and (word in _SCALING or self.is_mixed(at)):
            return UNREADABLE
        if word in _PERCENT and self.is_operand(at, -1):
            return "%"
        return word if (len(word) == 1 and (word.isascii() or "α" <= word.lower() <= "ω")) or word in GREEK else None

    def is_aside(self, at: int) -> bool:
        """3/24 = 1/8 of 2 feet says 1/8; but 80 = 25% of 320."""
        return self.tokens[at][0] == "of" and bool(self.sides) and "%" not in self.side

    def is_mixed(self, at: int) -> bool:
        """1 and 1/4."""
        following = "".join(token[0] for token in self.tokens[at + 1 : at + 5])
        return self.tokens[at][0] == "and" and re.match(r"\s*\(?[0-9]+/", following) is not None

    def is_operand(self, at: int, step: int) -> bool:
        """Whether one ends before the token (step −1), or begins behind it (step 1)."""
        at += step
        if 0 <= at < len(self.tokens) and self.tokens[at].lastgroup == "space":
            at += step
        if not 0 <= at < len(self.tokens):
            return False
        return self.tokens[at].lastgroup == "number" or self.tokens[at][0] in (_ENDS if step < 0 else _STARTS)

    def add(self, piece: str) -> None:
        if self.after_word and piece in _BINARY:
            self.side.append(UNREADABLE)
        if piece != " ":
            self.after_word = self.changed = False
        self.side.append(piece)

    def close_side(self) -> None:
        self.sides.append("".join(self.side))
        self.side, self.after_word, self.changed = [], False, False

    def part(self) -> Iterator[Chain]:
        """The chain ends here. Of different units nothing can be said: 5 m are 500 cm."""
        changed = self.changed
        self.close_side()
        if len(self.sides) > 1 and len(self.units) < 2:
            yield Chain(tuple(_trimmed(self.sides)), tuple(self.rounded))
        self.sides, self.rounded, self.units, self.changed = [], [False], set(), changed

    def begin_behind(self, at: int) -> None:
        """Behind a word, or another token that is no part of a formula."""
        word = self.tokens[at][0].lower() if self.tokens[at].lastgroup == "word" else ""
        passed_on = word in _PASSING and (self.changed or self.is_operand(at, -1))
        called = bool(word) and at + 1 < len(self.tokens) and self.tokens[at + 1][0] == "("
        self.after_word, self.changed = bool(word), word in _CHANGING or passed_on
        if self.changed or called:
            self.side.append(UNREADABLE)


def _trimmed(sides: list[str]) -> list[str]:
    """Without the bracket that opens around the chain, and the one that closes it."""
    first, *middle, last = [side if len(side) <= MAX_SIDE else UNREADABLE for side in sides]
    return [_behind_open(first), *middle, _before_close(last)]


def _behind_open(side: str) -> str:
    opened: list[int] = []
    for at, letter in enumerate(side):
        if letter in _PAIRS:
            opened.append(at)
        elif letter in _PAIRS.values() and opened:
            opened.pop()
    if not opened:
        return side
    return UNREADABLE if side[: opened[-1]].rstrip().endswith(_CALCULATING) else side[opened[-1] + 1 :]


def _before_close(side: str) -> str:
    depth = 0
    for at, letter in enumerate(side):
        depth += (letter in _PAIRS) - (letter in _PAIRS.values())
        if depth < 0:
            return side[:at]
    return side
