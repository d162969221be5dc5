r"""Laws of equality that hold for answers of every shape.

An answer of a kind follows from parameters, and two answers of a kind are equal only where all parameters are. So each kind says at once
what must be `correct` (the same parameters, set in another way) and what must be `wrong` (a digit, sign, exponent, bracket or unit changed,
the members of a tuple in another order).
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reasoning_rl.rewards import verify
from reasoning_rl.rewards.equality.equivalence import equivalent
from reasoning_rl.rewards.equality.limits import MAX_ANSWER
from reasoning_rl.rewards.equality.tidy import tidy

Parameters = tuple[Any, ...]
Rewriting = Callable[[str], str]


class Kind:
    """Answers of one shape: a template and what may stand in each of its places."""

    def __init__(self, template: str, *places: Sequence[Any]) -> None:
        self.template = template
        self.places = places

    def answer(self, parameters: Parameters) -> str:
        return self.template % parameters

    def parameters(self) -> st.SearchStrategy[Parameters]:
        return st.tuples(*map(st.sampled_from, self.places))

    def answers(self) -> st.SearchStrategy[str]:
        return self.parameters().map(self.answer)

    def changed_by(self, rewriting: Rewriting) -> bool:
        """Whether the rewriting changes a good part of these answers."""
        rng = Random(0)
        samples = [self.answer(tuple(rng.choice(place) for place in self.places)) for _ in range(20)]
        return sum(rewriting(sample) != sample for sample in samples) >= 4


any_integer = range(-(10**6), 10**6)
small = range(-50, 51)
positive = range(2, 50)
sign = ["", "-"]
prime = [7, 11, 13, 17, 19, 23]  # coprime to every denominator, so that a fraction is written in one way only
denominator = [2, 3, 4, 5, 6, 8, 9, 10, 12]
squarefree = [2, 3, 5, 6, 7, 10, 11, 13, 14, 15]

KINDS = {
    "integer": Kind("%d", any_integer),
    "decimal": Kind("%s%d.%03d", sign, range(1000), range(1, 1000)),
    "decimal below one": Kind("%s0.%d", sign, range(11, 10**6, 10)),
    "fraction": Kind(r"%s\frac{%d}{%d}", sign, prime, denominator),
    "mixed number": Kind(r"%d\frac{%d}{%d}", positive, [7, 11, 13], [16, 18, 20, 25, 27]),
    "percentage": Kind(r"%d\%%", range(1, 1000)),
    "scientific": Kind(r"%d.%d \times 10^{%d}", range(1, 10), range(1, 10), range(2, 10)),
    "surd": Kind(r"%s%d\sqrt{%d}", sign, positive, squarefree),
    "sum with a surd": Kind(r"%d - %d\sqrt{%d}", small, positive, squarefree),
    "multiple of pi": Kind(r"\frac{%d\pi}{%d}", prime, denominator),
    "power": Kind("3^{%d}", range(2, 60)),
    "complex": Kind("%d + %di", small, positive),
    "polynomial": Kind("%dx^{%d} - %dx + %d", positive, range(2, 9), positive, positive),
    "product": Kind("(x + %d)(y - %d)", positive, positive),
    "tuple": Kind("(%d, %d, %d)", small, small, small),
    "tuple of fractions": Kind(r"\left(\frac{%d}{%d}, %d\right)", prime, denominator, small),
    "set": Kind(r"\{%d, %d, %d\}", range(-9, 1), range(1, 9), range(10, 99)),
    "list": Kind("%d, %d", range(-99, 1), range(1, 99)),
    "plus or minus": Kind(r"%d \pm \sqrt{%d}", small, squarefree),
    "interval": Kind(r"%s%d, %d%s", "([", range(-50, 1), range(1, 50), ")]"),
    "ray": Kind(r"%s%d, \infty)", "([", small),
    "union": Kind(r"(-\infty, %d%s \cup %s%d, %d)", range(-50, 0), ")]", "([", range(10), range(10, 50)),
    "matrix": Kind(r"\begin{pmatrix} %d & %d \\ %d & %d \end{pmatrix}", small, small, small, small),
    "vector": Kind(r"\begin{pmatrix} %d \\ %d \\ %d \end{pmatrix}", small, small, small),
    "assignment": Kind("x = %d", small),
    "line": Kind("y = %dx - %d", positive, positive),
    "circle": Kind("(x - %d)^2 + (y + %d)^2 = %d", positive, positive, positive),
    "inequality": Kind(r"x %s %d", ["<", ">", r"\le", r"\ge"], small),
    "chain of inequalities": Kind(r"%d %s x %s %d", range(-50, 0), ["<", r"\le"], ["<", r"\le"], range(50)),
    "length": Kind(r"%d\text{ %s}", positive, ["cm", "m", "km", "feet", "inches", "hours", "kg", "dollars"]),
    "area": Kind(r"%d\text{ %s}^%d", positive, ["cm", "m", "in"], [2, 3]),
    "angle": Kind(r"%d^\circ", range(1, 361)),
    "octal": Kind("%o_8", range(8, 5000)),
    "choice": Kind(r"\text{(%s)}", "ABCDE"),
    "word": Kind(r"\text{%s}", ["Evelyn", "Briana", "north", "east", "odd", "even", "parabola"]),
    "time of day": Kind(r"%d:%02d\text{ %s.m.}", range(1, 13), range(60), "ap"),
}

answers = st.sampled_from(list(KINDS.values())).flatmap(Kind.answers)


def replacing(pattern: str, by: str) -> Rewriting:
    return lambda text: re.sub(pattern, lambda match: match.expand(by), text)


def without_names(rewriting: Rewriting) -> Rewriting:
    r"""Leave the names of commands and environments alone."""
    return lambda text: "".join(
        piece if index % 2 else rewriting(piece) for index, piece in enumerate(re.split(r"(\\[A-Za-z]+(?:\{[a-z ]+\})?)", text))
    )


WORDED = re.compile(r"\\text|(?<![\\A-Za-z])[A-Za-z]{2}")
"""With words in it, whose spaces mean something."""

REWRITINGS: dict[str, Rewriting] = {
    "no space": lambda text: text if WORDED.search(text) else re.sub(r"(?<![A-Za-z]) | (?![A-Za-z])", "", text),
    "more space": without_names(replacing(r"(?<=[0-9)\]])(?!,[0-9]{3}) ?([-+,=<>])", r"  \1  ")),
    "thin space": without_names(replacing(r"(?<=[-+=,]) ", r"\\, ")),
    "negative space": without_names(replacing(r"(?<=[-+=]) ", r"\\! ")),
    "wide space": without_names(replacing(r"(?<=,) ", r"\\quad ")),
    "dollars": lambda text: f"${text}$",
    "display": lambda text: rf"\[ {text} \]",
    "parentheses": lambda text: rf"\( {text} \)",
    "displaystyle": lambda text: rf"\displaystyle {text}",
    "full stop": lambda text: f"{text}.",
    "box": lambda text: rf"\boxed{{{text}}}",
    "dfrac": replacing(r"\\frac", r"\\dfrac"),
    "tfrac": replacing(r"\\frac", r"\\tfrac"),
    "short frac": replacing(r"\\frac\{([0-9])\}\{([0-9])\}", r"\\frac\1\2"),
    "slash": replacing(r"(?<![0-9])\\frac\{([0-9]+)\}\{([0-9]+)\}", r"\1/\2"),
    "big brackets": lambda text: (
        re.sub(r"(?<!\\left)([(\[])", r"\\left\1", re.sub(r"(?<!\\right)([)\]])", r"\\right\1", text)) if r"\text" not in text else text
    ),
    "plain brackets": replacing(r"\\left|\\right", ""),
    "unicode minus": replacing("-", "−"),
    "en dash": replacing("-", "–"),
    "trailing zero": replacing(r"([0-9]\.[0-9]+)", r"\g<1>0"),
    "leading point": replacing(r"(?<![0-9])0\.", "."),
    "thousands": lambda text: f"{int(text):,}" if re.fullmatch("-?[0-9]+", text) else text,
    "thousands in braces": replacing(r"(?<![0-9.{^])([0-9]{1,3})([0-9]{3})(?![0-9_])", r"\1{,}\2"),
    "thousands apart": replacing(r"(?<![0-9.{^])([0-9]{1,3})([0-9]{3})(?![0-9_])", r"\1\\,\2"),
    "cdot": replacing(r"\\times", r"\\cdot"),
    "unicode times": replacing(r"\\times", "×"),
    "braced power": replacing(r"\^([0-9])", r"^{\1}"),
    "bare power": replacing(r"\^\{([0-9])\}", r"^\1"),
    "unicode root": replacing(r"\\sqrt\{([0-9]+)\}", r"√\1"),
    "unicode pi": replacing(r"\\pi", "π"),
    "unicode infinity": replacing(r"\\infty", "∞"),
    "unicode union": replacing(r"\\cup", "∪"),
    "unicode plus or minus": replacing(r"\\pm", "±"),
    "leq": replacing(r"\\([lg])e(?![A-Za-z])", r"\\\1eq"),
    "leqslant": replacing(r"\\([lg])e(?![A-Za-z])", r"\\\1eqslant"),
    "unicode at most": lambda text: re.sub(r"\\le(?![A-Za-z])", "≤", re.sub(r"\\ge(?![A-Za-z])", "≥", text)),
    "lt": replacing(" < ", r" \\lt "),
    "square matrix": replacing("pmatrix", "bmatrix"),
    "degree sign": replacing(r"\^\\circ", "°"),
    "braced circle": replacing(r"\^\\circ", r"^{\\circ}"),
    "degrees": replacing(r"\^\\circ", r"\\text{ degrees}"),
    "plain words": replacing(r"\\text\{([^{}]{3,})\}", r"\1"),  # a single letter would be a variable
    "roman": replacing(r"\\text\{([^{}]*)\}", r"\\mathrm{\1}"),
    "mbox": replacing(r"\\text\{([^{}]*)\}", r"\\mbox{\1}"),
    "bold": replacing(r"\\text\{\(([A-E])\)\}", r"\\textbf{(\1)}"),
    "bare choice": replacing(r"\\text\{\(([A-E])\)\}", r"\1"),
    "lower case": lambda text: text.lower() if text.startswith(r"\text") else text,
    "base in braces": replacing("_8", "_{8}"),
    "base in text": replacing("_8", r"_{\\text{8}}"),
    "unicode base": replacing("_8", "₈"),
}

APPLICABLE = {name: [kind for kind in KINDS.values() if kind.changed_by(rewriting)] for name, rewriting in REWRITINGS.items()}


@given(answers)
def test_an_answer_in_a_box_is_correct_against_itself(answer: str) -> None:
    assert verify(rf"So the answer is $\boxed{{{answer}}}$.", answer).verdict == "correct"


@given(st.text(max_size=50) | st.text(r"0123456789+-*/^_{}()[],.<>=\ !%$xyfrac", max_size=30))
def test_every_text_with_content_equals_itself(text: str) -> None:
    expected = "correct" if tidy(text) else "no_answer"
    assert equivalent(text, text).outcome == expected


def test_only_an_answer_beyond_the_limit_does_not_equal_itself() -> None:
    assert equivalent("1" * MAX_ANSWER, "1" * MAX_ANSWER).outcome == "correct"
    assert equivalent("1" * (MAX_ANSWER + 1), "1" * (MAX_ANSWER + 1)).outcome == "too_large"


@settings(max_examples=400)
@given(answers, answers)
def test_equality_has_no_direction(a: str, b: str) -> None:
    assert equivalent(a, b).outcome == equivalent(b, a).outcome


@pytest.mark.parametrize("name", REWRITINGS)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_how_an_answer_is_set_makes_no_difference(name: str, data: st.DataObject) -> None:
    rewriting = REWRITINGS[name]
    answer = data.draw(st.sampled_from(APPLICABLE[name]).flatmap(Kind.answers))
    rewritten = rewriting(answer)
    assert equivalent(rewritten, answer).outcome == "correct", rewritten
    assert equivalent(answer, rewritten).outcome == "correct", rewritten


@settings(max_examples=300, deadline=None)
@given(answers, st.lists(st.sampled_from(list(REWRITINGS)), min_size=2, max_size=4, unique=True))
def test_nor_do_several_such_changes_at_once(answer: str, names: list[str]) -> None:
    rewritten = answer
    for name in names:
        rewritten = REWRITINGS[name](rewritten)
    assert equivalent(rewritten, answer).outcome == "correct", rewritten


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_changing_any_part_of_an_answer_makes_it_wrong(name: str, data: st.DataObject) -> None:
    before, drawn = data.draw(KINDS[name].parameters()), data.draw(KINDS[name].parameters())
    place = data.draw(st.integers(0, len(before) - 1))
    after = (*before[:place], drawn[place], *before[place + 1 :])
    assume(after != before)
    answer, gold = KINDS[name].answer(after), KINDS[name].answer(before)
    assert equivalent(answer, gold).outcome == "wrong"
    assert verify(rf"So the answer is $\boxed{{{answer}}}$.", gold).verdict == "wrong"


@given(st.sampled_from(["tuple", "matrix", "vector"]), st.data())
def test_the_members_of_a_tuple_or_matrix_have_an_order(name: str, data: st.DataObject) -> None:
    before = data.draw(KINDS[name].parameters())
    after = tuple(data.draw(st.permutations(before)))
    assume(after != before)
    assert equivalent(KINDS[name].answer(after), KINDS[name].answer(before)).outcome == "wrong"


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True), st.sampled_from([r"\{%s\}", "%s"]), st.data())
def test_the_members_of_a_set_or_list_have_none(members: list[int], template: str, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(members))
    answer, gold = (template % ", ".join(map(str, each)) for each in (shuffled, members))
    assert equivalent(answer, gold).outcome == "correct"


@given(st.lists(KINDS["interval"].parameters(), min_size=2, max_size=4, unique=True), st.data())
def test_nor_have_the_pieces_of_a_union(pieces: list[Parameters], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(pieces))
    answer, gold = (r" \cup ".join(map(KINDS["interval"].answer, each)) for each in (shuffled, pieces))
    assert equivalent(answer, gold).outcome == "correct"


@given(st.integers(2, 10**12))
def test_neighbouring_integers_differ_however_large(number: int) -> None:
    assert equivalent(str(number), str(number + 1)).outcome == "wrong"
    assert equivalent(rf"\frac{{{number}}}{{7}}", rf"\frac{{{number + 1}}}{{7}}").outcome == "wrong"


@given(st.integers(8, 10**6))
def test_a_number_is_the_same_in_every_base_and_its_digits_are_not(number: int) -> None:
    octal, binary = f"{number:o}", f"{number:b}"
    assert equivalent(f"{octal}_8", f"{binary}_2").outcome == "correct"
    assert equivalent(f"{octal}_8", str(number)).outcome == "correct"
    assert equivalent(f"{octal}_8", f"{octal}_9").outcome == "wrong"


@given(st.integers(-(10**4), 10**4), st.integers(2, 99), st.integers(1, 9))
def test_a_fraction_may_be_expanded(above: int, below: int, factor: int) -> None:
    expanded = rf"\frac{{{above * factor}}}{{{below * factor}}}"
    assert equivalent(expanded, rf"\frac{{{above}}}{{{below}}}").outcome == "correct"
    assert equivalent(expanded, rf"\frac{{{above * factor + 1}}}{{{below * factor}}}").outcome == "wrong"


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_a_product_may_be_multiplied_out_and_terms_reordered(a: int, b: int, c: int) -> None:
    product = f"({a}x + {c})(x + {b})"
    assert equivalent(f"{b * c} + {a * b + c}x + {a}x^2", product).outcome == "correct"
    assert equivalent(f"{b * c + 1} + {a * b + c}x + {a}x^2", product).outcome == "wrong"
