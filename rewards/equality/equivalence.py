"""Whether two answers are equal: a cascade, cheapest stage first. A stage decides or passes on; the order of the arguments never matters.

text → number → structure (shapes; exact or sixty-digit values)
         → symbolic (math-verify's parser and SymPy, in a process with a deadline)
"""

import re
from dataclasses import dataclass

from reasoning_rl.records import Outcome
from reasoning_rl.rewards.equality.bounded import decide_symbolically, fit_for_symbols
from reasoning_rl.rewards.equality.compare import same_text
from reasoning_rl.rewards.equality.limits import MAX_ANSWER, TooLarge, Undefined, Unreadable
from reasoning_rl.rewards.equality.number import read_number, same_number
from reasoning_rl.rewards.equality.rules import DEFAULT, Rules
from reasoning_rl.rewards.equality.tidy import tidy

_LETTER = re.compile(r"(?:\\text\s*\{)?\s*\(?[A-J]\)?\s*\}?")
_NUMBERS_APART = re.compile(r"[0-9] [0-9]")
_OPTION = re.compile(r"\\text\s*\{\s*(?:[Oo]ption|[Cc]hoice)\s*\(?([A-J])\)?\s*\}|(?:[Oo]ption|[Cc]hoice)\s*\(?([A-J])\)?")
_LETTER_AND_TEXT = re.compile(r"(?:\\text\s*\{)?\s*\(?([A-J])[).:]+\s*\}?\s*(?!\\or|\\and|[,;])(?:[^A-J,;]|[A-J](?=[a-z]))+")
"""A choice with its text, which holds no other choice."""
_OTHER_CHOICE = re.compile(r"\bor\b|\b(?:not?|wrong)\b|\(?[a-jA-J]\)")


@dataclass(frozen=True, slots=True)
class Match:
    """What was decided, by which stage, and why."""

    outcome: Outcome
    method: str
    reason: str


def equivalent(answer: str, gold: str, rules: Rules = DEFAULT, *, by_symbols: bool = True) -> Match:
    """Never raises; an answer or gold beyond the limits is `too_large`, one that no stage can read `unparsable`.

    Without `by_symbols` the last stage, the one that can take seconds, is left out.
    """
    if len(answer) > MAX_ANSWER or len(gold) > MAX_ANSWER:
        return Match("too_large", "", f"more than {MAX_ANSWER} characters")
    a, b = tidy(answer), tidy(gold)
    if not a or not b:
        return Match("no_answer" if not a else "unparsable", "", "empty" if not a else "the gold is empty")
    return _by_text(a, b) or _by_number(a, b, rules) or _by_structure(a, b, rules, by_symbols)


def _said(equal: bool, method: str) -> Match:
    return Match("correct", method, "equal to the gold") if equal else Match("wrong", method, "differs from the gold")


def _by_text(a: str, b: str) -> Match | None:
    return _said(True, "text") if a == b or ("".join(a.split()) == "".join(b.split()) and not _NUMBERS_APART.search(a + "|" + b)) else None


def _by_number(a: str, b: str, rules: Rules) -> Match | None:
    x, y = read_number(a), read_number(b)
    if x is None or y is None or (rules.units == "required" and x.money != y.money):
        return None
    return _said(same_number(x, y, rules), "number")


def _by_structure(a: str, b: str, rules: Rules, by_symbols: bool) -> Match:
    try:
        return _said(same_text(*_choice(*_thousands(a, b)), rules), "structure")
    except TooLarge as refusal:
        return Match("too_large", "structure", str(refusal))
    except Undefined as refusal:
        return Match("wrong", "structure", str(refusal))
    except Unreadable as refusal:
        return _by_symbols(a, b, str(refusal)) if by_symbols else Match("unparsable", "structure", str(refusal))


def _by_symbols(a: str, b: str, unread: str) -> Match:
    """The last stage, for what has no value here (a product of matrices): behind guards, in a process that a deadline ends."""
    if not fit_for_symbols(a, b):
        return Match("unparsable", "structure", unread)
    outcome, reason = decide_symbolically(a, b)
    return Match(outcome, "symbolic", reason)


def _thousands(a: str, b: str) -> tuple[str, str]:
    """`1,000` is a number where the other side is one, and a list of two where it isn't."""
    x, y = read_number(a), read_number(b)
    return (str(x.value) if x and "," in a and "," not in b else a, str(y.value) if y and "," in b and "," not in a else b)


def _choice(a: str, b: str) -> tuple[str, str]:
    """`(B) 12` and `B. twelve` are the choice B where the other side is a bare letter."""
    if _LETTER.fullmatch(a):
        chosen = _OPTION.fullmatch(b) or _LETTER_AND_TEXT.fullmatch(b)
        if chosen and _OTHER_CHOICE.search(b, chosen.end(chosen.lastindex or 0) + 1):
            return a, b
        return (a, chosen[chosen.lastindex or 0]) if chosen else (a, b)
    return _choice(b, a)[::-1] if _LETTER.fullmatch(b) else (a, b)
