r"""Texts to try a verifier with, from a seed: nested TeX, tokens at random, any unicode, cuts of worked solutions, all of them damaged.

Answers grow from a grammar of templates, in which `@` stands for another answer: `\frac{@}{@}`, `(@,@]`.
"""

import ast
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

from reasoning_rl.config import ArithmeticConfig
from reasoning_rl.data.arithmetic import stream
from reasoning_rl.data.stories import solution

DICTIONARY = Path(__file__).parent / "tokens.dict"
CASES = Path(__file__).parents[1] / "cases" / "completions.jsonl"
HOLE = "@"
DEEPEST = 5
LONGEST = 4000

LEAVES: list[str] = [
    *("0123456789xyzabnieABC"),
    *("10", "12", "0.5", "1,000", "3.14159", "007", "1e9", "99999999999", r"\pi", r"\infty", r"\emptyset", "", " "),
    *(r"\text{red}", "yes", "4:30 p.m.", "½", "٣", "x²", "−1", r"\alpha"),
]
SHAPES: list[str] = [
    *("@+@", "@-@", "-@", "@@", "@ @", r"@\cdot @", "@/@", r"@\times 10^{@}", "@*@", "@^{@}", "@^@", "@**@", "@!"),
    *(r"@\%", "@%", "@_{@}", "@_@", r"\frac{@}{@}", r"\frac@@", r"\dfrac{@}{@}", r"@\frac{@}{@}", r"\sqrt{@}"),
    *(r"\sqrt[@]{@}", r"\sqrt@", "sqrt(@)", "√@", r"\binom{@}{@}", "(@)", "[@]", r"\left(@\right)", r"\{@\}", "|@|"),
    *(r"\lfloor @\rfloor", r"\left\lceil @\right\rceil", "{@}", "$@$", r"\(@\)", r"\boxed{@}", "@,@", "@, @, @"),
    *(r"@\text{ or }@", "@ and @", "@;@", "(@,@)", "[@,@)", r"\left(@,@\right]", r"\{@,@\}", r"[@,@]\cup(@,@)", r"@\cup @"),
    *("@=@", "@<@", r"@\le @<@", r"@\ne @", "x=@", r"x\in @", r"f(x)=@", r"@\pm @", r"@\mp@", r"@\approx @"),
    *(r"@\equiv @\pmod{@}", r"\sin @", r"\sin^{-1}(@)", r"\log_@ @", r"\ln{@}", r"\arctan @", r"\sum_{@}^{@}@", r"\int_@^@ @"),
    *(r"\lim_{@\to @}@", r"\overline{@}", r"\begin{pmatrix}@&@\\@&@\end{pmatrix}", r"\begin{pmatrix}@\\@\end{pmatrix}"),
    *(r"\begin{cases}@&@\\@\end{cases}", r"\text{@}", r"\mathrm{@}", r"@^\circ", "@°", r"@\text{ cm}^2", "@ dollars", r"\$@"),
    *("@:@ p.m.", r"\text{(@)}", "@ to @", "not @", r"@\dots", "@'", r"\angle @"),
]
PLACES: list[str] = [
    *("@", r"\boxed{@}", r"So $\boxed{@}$.", "<answer>@</answer>", "<answer>@", "<think>@</think>@", "<think>@"),
    *("<think>@</think><answer>@</answer>", "#### @", "@\n#### @", "The answer is @.", "**Final answer:** @", "A: @"),
    *("@\nAnswer: @", r"$@$ and $@$", r"\[@\]", r"\boxed{@} or \boxed{@}", r"\boxed{@}, \boxed{@}", r"\fbox{@}", r"\boxed @"),
    *(r"<answer>\boxed{@} @</answer>", r"x = \boxed{@}, y = \boxed{@}", "@ @ @"),
]


def tokens() -> list[str]:
    """The dictionary that libFuzzer reads, decoded."""
    lines = DICTIONARY.read_text(encoding="utf-8").splitlines()
    return [bytes(ast.literal_eval("b" + line)).decode() for line in lines if line.startswith('"')]


def pairs(seed: int, count: int) -> Iterator[tuple[str, str, str]]:
    """Completion, gold and task, `count` times; the same for the same seed."""
    rng = Random(seed)
    kinds = _kinds(rng)
    for _ in range(count):
        gold = damaged(rng, answer(rng), rng.choice([0, 0, 0, 1]))
        inside = rng.choice([gold, answer(rng), damaged(rng, gold, 2)])
        completion = rng.choice(kinds)() if rng.random() < 0.3 else rng.choice(PLACES).replace(HOLE, inside)
        yield damaged(rng, completion, rng.choice([0, 0, 1, 3])), gold, rng.choice(["math", "gsm8k"])


def answer(rng: Random, depth: int = 0) -> str:
    if depth >= rng.randrange(DEEPEST + 1):
        return rng.choice(LEAVES)
    first, *rest = rng.choice(SHAPES).split(HOLE)
    return first + "".join(answer(rng, depth + 1) + piece for piece in rest)


def damaged(rng: Random, text: str, times: int) -> str:
    """The text after `times` accidents: a cut, a doubling, a loss, a token or a character too many."""
    for _ in range(times):
        start, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        text = rng.choice([
            text[start:end],
            text[:start] + text[end:],
            text[:start] + text[start:end] * rng.choice([2, 3, 20]) + text[end:],
            text[:start] + rng.choice(TOKENS) + text[start:],
            text[:start] + rng.choice(TOKENS) + text[start:end] + rng.choice(["}", ")", "]", "$"]) + text[end:],
            text[:start] + character(rng) + text[start:],
        ])  # fmt: skip
        text = text[:LONGEST]
    return text


def character(rng: Random) -> str:
    """Any but a surrogate, the lower planes more often."""
    code = rng.randrange(rng.choice([0x80, 0x800, 0x3000, 0x110000]))
    return chr(code if not 0xD800 <= code < 0xE000 else 0x2212)


def _kinds(rng: Random) -> list[Callable[[], str]]:
    """Whole completions: a worked solution, a case of the tests, tokens at random, characters at random."""
    cases = [json.loads(line)["completion"] for line in CASES.read_text(encoding="utf-8").splitlines()]
    worked = [solution(story) for story in islice(stream(0, "fuzz", ArithmeticConfig()), 50)]
    return [
        lambda: rng.choice(worked),
        lambda: rng.choice(cases),
        lambda: "".join(rng.choices(TOKENS, k=rng.randrange(30))),
        lambda: "".join(character(rng) for _ in range(rng.randrange(60))),
    ]


TOKENS = tokens()
