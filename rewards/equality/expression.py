r"""An expression as a tree: TeX (`\frac{3}{2}x^2`, `\sin^2 x`) and plain notation (`3*sqrt(13)`), read by recursive descent.

Nothing is evaluated while reading. Length and nesting are bounded, so that no text costs more than a few milliseconds.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from reasoning_rl.rewards.equality.limits import MAX_DEPTH, MAX_DIGITS, MAX_TOKENS, TooLarge, Unreadable
from reasoning_rl.rewards.equality.node import FUNCTIONS, GREEK, INVERTIBLE, Node, in_base

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)|(\\[A-Za-z]+|\\[{}|])|([A-Za-z]+)|(.))", re.DOTALL)
_CLOSER = {"(": ")", "[": "]", "{": "}", "|": "|", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", r"\{": r"\}"}
_STARTERS = frozenset(["(", "[", "{", "|", r"\lfloor", r"\lceil"])
_MEANING = {r"\lfloor": "floor", r"\lceil": "ceil", "|": "abs"}
_TIMES = frozenset(["*", r"\cdot", r"\times"])
_OVER = frozenset(["/", r"\div", ":"])


def read_expression(text: str) -> Node:
    """The tree of a tidy text. Raises Unreadable where it is no expression, TooLarge where it passes a limit."""
    reader = _Reader(_tokens(text))
    node = reader.sum()
    if reader.next:
        raise Unreadable(f"{reader.next!r} is out of place")
    return node


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    for number, command, word, sign in _TOKEN.findall(text.rstrip()):
        found += _letters(word) if word else [number or command or sign]
        if len(found) > MAX_TOKENS:
            raise TooLarge(f"the expression has more than {MAX_TOKENS} tokens")
    if not found:
        raise Unreadable("there is no expression")
    return found


def _letters(word: str) -> list[str]:
    """A word is a function or a product of letters; `xsin` is x times sin, and long words are language."""
    if word in FUNCTIONS or (word in GREEK and len(word) > 3):
        return ["\\" + word]
    if word[:-1] in FUNCTIONS:  # sinx
        return ["\\" + word[:-1], word[-1]]
    for cut in range(1, len(word)):
        if word[cut:] in FUNCTIONS:
            return [*word[:cut], "\\" + word[cut:]]
    if len(word) > 4 and len(set(word)) > 2:
        raise Unreadable(f"{word!r} is a word")
    return list(word)


def _is_number(token: str) -> bool:
    return token[:1].isdecimal() or (token[:1] == "." and token[1:2].isdecimal())


class _Reader:
    """Tokens from left to right; each method reads one rule of the grammar."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.postfixes = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        if not token:
            raise Unreadable("the expression ends early")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Unreadable(f"{token!r} is missing")

    def sum(self) -> Node:
        terms = [self.signed(self.product)]
        while self.next in {"+", "-"}:
            terms.append(self.signed(self.product))
        return Node("+", tuple(terms)) if len(terms) > 1 else terms[0]

    def signed(self, rule: Callable[[], Node]) -> Node:
        """What `rule` reads, behind any number of signs."""
        minus = False
        while self.next in {"+", "-"}:
            minus ^= self.take() == "-"
        node = rule()
        return Node("neg", (node,)) if minus else node

    def product(self) -> Node:
        factors = [self.power()]
        while True:
            if self.next in _TIMES:
                self.take()
                factors.append(self.signed(self.power))
            elif self.next in _OVER:
                self.take()
                factors.append(Node("inverse", (self.signed(self.power),)))
            elif self.starts_factor():
                factors.append(self.juxtaposed(factors))
            else:
                return Node("*", tuple(factors)) if len(factors) > 1 else factors[0]

    def juxtaposed(self, factors: list[Node]) -> Node:
        r"""A factor without a sign before it; `1\frac{4}{5}` is a mixed number, and two numerals side by side are none."""
        if _is_number(self.next) and _is_number(self.tokens[self.at - 1]):
            raise Unreadable("two numbers stand side by side")
        whole = factors[-1]
        mixed = self.next == r"\frac" and whole.op == "number" and whole.value.denominator == 1
        right = self.power()
        percent, fraction = right.op == "percent", right.args[0] if right.op == "percent" else right
        if not mixed or fraction.op != "/" or not all(arg.op == "number" for arg in fraction.args):
            return right
        total = Node("+", (factors.pop(), fraction))
        return Node("percent", (total,)) if percent else total

    def starts_factor(self) -> bool:
        token = self.next
        if token == "|":
            return self.bars == 0
        return (
            token in _STARTERS
            or _is_number(token)
            or token.isalpha()
            or token[1:] in _ATOMS
            or token[1:] in FUNCTIONS
            or token[1:] in GREEK
        )

    def power(self) -> Node:
        node = self.postfixed(self.atom())
        if self.next == "^":
            self.take()
            node = self.postfixed(Node("^", (node, self.exponent())))
        return node

    def postfixed(self, node: Node) -> Node:
        while self.next in {"!", "%"}:
            node = Node("factorial" if self.take() == "!" else "percent", (node,))
            self.postfixes += 1
        if self.postfixes > 2 * MAX_DEPTH:
            raise TooLarge(f"more than {2 * MAX_DEPTH} factorials and percent signs")
        return node

    def exponent(self) -> Node:
        """One atom, signed if need be, with an exponent of its own."""
        with self.deeper():
            return self.signed(self.power)

    def atom(self) -> Node:
        with self.deeper():
            token = self.take()
            if _is_number(token):
                return self.numeral(token)
            if token in _STARTERS:
                return self.bracketed(token)
            if token.startswith("\\"):
                return self.command(token[1:])
            if token.isascii() and token.isalpha():
                return self.symbol(token)
            raise Unreadable(f"{token!r} is no part of an expression")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"the expression is nested more than {MAX_DEPTH} deep")
        yield
        self.depth -= 1

    def numeral(self, token: str) -> Node:
        if len(token) > MAX_DIGITS:
            raise TooLarge("a numeral is too long")
        if self.next == "_":
            return Node("number", value=Fraction(in_base(token, self.subscript())))
        return Node("number", value=Fraction(token.rstrip(".")))

    def symbol(self, name: str) -> Node:
        if self.next == "_":
            name = f"{name}_{self.subscript()}"
        while self.next == "'":
            name += self.take()
        return Node("symbol", name=name)

    def subscript(self) -> str:
        self.expect("_")
        if self.next != "{":
            return self.take()
        self.take()
        parts = []
        while self.next not in {"}", ""}:
            parts.append(self.take())
        self.expect("}")
        return "".join(parts)

    def bracketed(self, opener: str) -> Node:
        self.bars += opener == "|"
        node = self.sum()
        self.bars -= opener == "|"
        self.expect(_CLOSER[opener])
        return Node(_MEANING[opener], (node,)) if opener in _MEANING else node

    def command(self, name: str) -> Node:
        if name in _ATOMS:
            return _ATOMS[name](self)
        if name in FUNCTIONS:
            return self.function(name)
        if name in GREEK:
            return self.symbol(name)
        raise Unreadable(f"\\{name} is not understood")

    def argument(self) -> Node:
        r"""What a TeX command takes: a group, or one digit, letter or command (`\frac54`)."""
        token = self.next
        if token.isdecimal() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.atom()

    def fraction(self) -> Node:
        return Node("/", (self.argument(), self.argument()))

    def binomial(self) -> Node:
        return Node("binomial", (self.argument(), self.argument()))

    def root(self) -> Node:
        degree = Node("number", value=Fraction(2))
        if self.next == "[":
            degree = self.bracketed(self.take())
        return Node("root", (self.atom(), degree))

    def function(self, name: str) -> Node:
        r"""`\sin x`, `\sin(x)`, `\sin^2 x`, `\sin^{-1} x` (the inverse), `\log_2 8`."""
        if name == "sqrt":
            return self.root()
        base = self.base_of_log() if name == "log" and self.next == "_" else None
        exponent = None
        if self.next == "^":
            self.take()
            exponent = self.exponent()
        node = Node("log", (self.operand(), base)) if base else Node(name, (self.operand(),))
        if name in INVERTIBLE and exponent == Node("neg", (Node("number", value=Fraction(1)),)):
            return Node("arc" + name, node.args)
        return Node("^", (node, exponent)) if exponent else node

    def base_of_log(self) -> Node:
        self.take()
        return self.argument()

    def operand(self) -> Node:
        """What a function is applied to: a bracket, or the product that follows it up to the next function."""
        if self.next in {"(", "{", "[", "|"}:
            return self.atom()  # a power behind the bracket is one of the whole: sin(x)^2
        return self.signed(self.run_of_factors)

    def run_of_factors(self) -> Node:
        factors = [self.power()]
        while self.starts_factor() and self.next[1:] not in FUNCTIONS and self.next not in {"(", "["}:
            factors.append(self.power())
        return Node("*", tuple(factors)) if len(factors) > 1 else factors[0]


_ATOMS: dict[str, Callable[[_Reader], Node]] = {
    "frac": _Reader.fraction,
    "binom": _Reader.binomial,
    "dbinom": _Reader.binomial,
    "tbinom": _Reader.binomial,
    "sqrt": _Reader.root,
    "pi": lambda _: Node("symbol", name="pi"),
    "infty": lambda _: Node("infinity"),
}
