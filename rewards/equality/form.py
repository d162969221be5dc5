"""The shape of an answer: a value, a list, a set, a tuple or interval, a union, a relation, a matrix, or words."""

import re
from dataclasses import dataclass
from typing import Literal, TypeGuard

from reasoning_rl.rewards.equality.limits import MAX_DEPTH, MAX_ITEMS, MAX_SETS, TooLarge, Unreadable
from reasoning_rl.rewards.equality.node import FUNCTIONS, GREEK, NAME
from reasoning_rl.rewards.equality.split import enclosed, split_at
from reasoning_rl.rewards.equality.tidy import letters
from reasoning_rl.rewards.equality.units import split_unit

RELATIONS = frozenset(["=", "<", ">", r"\le", r"\ge", r"\ne", r"\approx", r"\in"])
FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}
"""A relation as it reads from the right."""
JOINTS = frozenset([",", ";", r"\or", r"\and"])
_WORDS = re.compile(r"\s*(?:\\text\s*\{[^{}]*\}\s*)+")
_BARE_WORDS = re.compile(
    r"[A-Za-z]{4,}(?:[ -][A-Za-z]{2,})*|(?:yes|no|odd|one|two|six|ten|red|not|all)(?:[ -][A-Za-z]{2,})*", re.IGNORECASE
)
_UNFINISHED = re.compile(r"[+^/]\s*$|\S\s*-\s*$")
_MATRIX = re.compile(
    r"((?:(?!\\begin)[^=<>,;|]){0,60}?)(?:\\cdot|\\times|\*)?\s*\(?\s*\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\s*\{[^{}]*\})?(.*)\\end\{\2\}\s*\)?",
    re.DOTALL,
)
_CLOCK = re.compile(r"([0-9]{1,2})\s*:\s*([0-9]{2})(?:\s*:\s*([0-9]{2}))?\s*([ap]\.?\s*m\.?)?", re.IGNORECASE)
_EMPTY = frozenset(["emptyset", "theemptyset", "nosolution", "nosolutions", "norealsolution", "norealsolutions"])
_UNDEFINED = frozenset(["undefined", "doesnotexist", "dne"])
_ALL = frozenset(["allrealnumbers", "allreals", "realnumbers", "allrealvalues"])
_EXCEPT = re.compile(r"(?:all )?(?:real numbers|reals)(?: \w)?,? *except(?: for)? +(?:\w *= *)?([^A-Za-z]+)", re.IGNORECASE)
_BUILDER = re.compile(r"([A-Za-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?[|:]\s*(.+)", re.DOTALL)
"""The inside of `{x ∈ ℝ | condition}`."""


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `half` is `a`, `p` or nothing."""

    hour: int
    minute: int
    second: int
    half: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value, not yet read."""

    text: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """Several values. `list` and `set` have no order; `tuple` has, and its brackets say whether the ends of an interval belong to it."""

    kind: Literal["list", "set", "tuple"]
    items: tuple["Form", ...]
    brackets: str = ""
    joints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Combined:
    """Sets joined by one operation, from left to right."""

    operation: str
    """`\\cup`, `\\cap` or `\\setminus`."""
    parts: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Relation:
    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[str, ...], ...]
    scale: str = ""
    """What stands before it: a factor of every cell, or a minus."""


Form = Words | Clock | Leaf | Items | Combined | Relation | Matrix


def read_form(text: str, depth: int = 0) -> Form:
    """The shape of a tidy text. Raises TooLarge where it has too many members or levels, Unreadable where it is empty."""
    if depth > MAX_DEPTH // 2:
        raise TooLarge("brackets are nested too deep")
    if not text:
        raise Unreadable("the answer is empty")
    for read in (_named, _worded, _matrix, _several, _related, _bracketed):
        if (form := read(text, depth)) is not None:
            return form
    return _leaf(text)


def _named(text: str, _depth: int) -> Form | None:
    """Sets that have a name."""
    if text[0] != "\\" and not text[0].isalpha():
        return None
    said = letters(text)
    if text == r"\emptyset" or said in _EMPTY:
        return Words("empty")
    if said in _UNDEFINED:
        return Words("undefined")
    if reals := _EXCEPT.fullmatch(re.sub(r"\\text|[{}]", " ", text).strip()):
        return Combined(r"\setminus", (Leaf(r"\mathbb{R}"), read_form(rf"\{{{reals[1]}\}}")))
    return Leaf(r"\mathbb{R}") if said in _ALL else None


def _worded(text: str, _depth: int) -> Form | None:
    r"""A time of day, or words: those in `\text`, and bare ones that are no product of letters."""
    plain = re.sub(r"\\text|[{}\\]", " ", text)
    if clock := _CLOCK.fullmatch(plain.strip()):
        return Clock(int(clock[1]), int(clock[2]), int(clock[3] or 0), (clock[4] or "")[:1].lower())
    if _WORDS.fullmatch(text) or (
        _BARE_WORDS.fullmatch(text) and not any({word, word[:-1]} & (FUNCTIONS | GREEK) for word in text.split())
    ):
        return Words(plain)
    return None


def _matrix(text: str, _depth: int) -> Form | None:
    matrix = _MATRIX.fullmatch(text)
    if not matrix or r"\begin" in matrix[3] or _UNFINISHED.search(matrix[1]):
        return None
    return Matrix(_cells(matrix[3]), matrix[1].strip())


def _cells(body: str) -> tuple[tuple[str, ...], ...]:
    rows = [row.strip() for row in re.split(r"\\\\|\\cr(?![A-Za-z])", body.replace(r"\hline", " "))]
    cells = tuple(tuple(cell.strip() for cell in row.split("&")) for row in rows if row)
    if sum(map(len, cells)) > MAX_ITEMS:
        raise TooLarge(f"the matrix has more than {MAX_ITEMS} cells")
    return cells


def _several(text: str, depth: int) -> Form | None:
    """A list, a ± pair or a combination of sets."""
    parts = [(joint, part) for joint, part in split_at(text, JOINTS) if part]
    if len(parts) > MAX_ITEMS:
        raise TooLarge(f"the answer lists more than {MAX_ITEMS} values")
    if len(parts) > 1:
        return Items(
            "list", _flat([read_form(part, depth + 1) for _, part in parts]), joints=frozenset(joint for joint, _ in parts if joint)
        )
    if (r"\pm" in text or r"\mp" in text) and enclosed(text) is None:
        return Items(
            "set", (read_form(_signed(text, "+"), depth + 1), read_form(_signed(text, "-"), depth + 1)), joints=frozenset([r"\pm"])
        )
    return _combined(text, depth) or _ratio(text, depth)


def _ratio(text: str, depth: int) -> Form | None:
    """`3:4:1` is no quotient; `3:4` is."""
    parts = [part for _, part in split_at(text, frozenset(":"))]
    return Items("tuple", tuple(read_form(part, depth + 1) for part in parts)) if len(parts) > 2 and all(parts) else None


def _combined(text: str, depth: int) -> Form | None:
    for operation in (r"\cup", r"\setminus", r"\cap"):  # the loosest first
        parts = split_at(text, frozenset([operation]))
        if len(parts) > MAX_SETS:
            raise TooLarge(f"more than {MAX_SETS} sets are joined")
        if len(parts) > 1 and all(part for _, part in parts):
            return Combined(operation, tuple(read_form(part, depth + 1) for _, part in parts))
    return None


def _signed(text: str, sign: str) -> str:
    return text.replace(r"\pm", sign).replace(r"\mp", "-" if sign == "+" else "+")


def _flat(forms: list[Form]) -> tuple[Form, ...]:
    """A ± pair inside a list adds two members to it; a name given once (`n = 1, 2, 3`) is given to all."""
    members = [member for form in forms for member in (form.items if _is_spread(form) else (form,))]
    first, *rest = members
    if (
        isinstance(first, Relation)
        and first.signs == ("=",)
        and NAME.fullmatch(first.sides[0])
        and not any(isinstance(member, Relation) for member in rest)
    ):
        return (read_form(first.sides[1]), *rest)
    return tuple(members)


def _is_spread(form: Form) -> TypeGuard[Items]:
    """A list, or a ± pair: several members where one was written."""
    return isinstance(form, Items) and (form.kind == "list" or r"\pm" in form.joints)


def _related(text: str, depth: int) -> Form | None:
    parts = split_at(text, RELATIONS)
    if len(parts) == 1:
        return None
    if len(parts) > 20:
        raise TooLarge("the chain of relations is too long")
    parts = _without_approximations(parts)
    if not parts[0][1] or not parts[-1][1]:
        raise Unreadable("a relation lacks a side")
    signs, sides = tuple("=" if sign == r"\approx" else sign for sign, _ in parts[1:]), tuple(side for _, side in parts)
    if r"\in" in signs and len(signs) > 1:
        raise Unreadable("a chain of memberships")
    if r"\in" in signs or not signs:
        return read_form(sides[-1], depth + 1)  # x ∈ S is S
    return Relation(sides, signs)


def _without_approximations(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`2/3 ≈ 0.67` says two thirds; `x ≈ 11` and `≈ 11` say eleven."""
    if not parts[0][1] and parts[1][0] in {"=", r"\approx"}:
        return [("", parts[1][1]), *parts[2:]]
    cut = next((at for at, (sign, _) in enumerate(parts) if sign == r"\approx" and re.search(r"[0-9]|\\pi", parts[at - 1][1])), len(parts))
    return parts[:cut]


def _bracketed(text: str, depth: int) -> Form | None:
    parts = enclosed(text)
    if parts is None or r"\lfloor" in parts or r"\lceil" in parts:
        return None
    opener, inside, closer = parts
    if not inside:
        return Words("empty") if opener in {"{", r"\{"} else None
    if opener in {"{", r"\{"} and (builder := _BUILDER.fullmatch(inside)) and len(split_at(builder[2], RELATIONS)) > 1:
        return read_form(builder[2], depth + 1)
    return _collected(opener, read_form(inside, depth + 1), closer)


def _collected(opener: str, inner: Form, closer: str) -> Form:
    """What stands between two brackets, as they mean it."""
    if isinstance(inner, Items) and inner.kind == "list":
        if opener in {"{", r"\{"}:
            return Items("set", inner.items)
        return Items("tuple", inner.items, brackets=f"{'[' if opener == '[' else '('}{']' if closer == ']' else ')'}")
    return Items("set", (inner,)) if opener == r"\{" and not _is_spread(inner) else inner


def _leaf(text: str) -> Leaf:
    value, unit = split_unit(text)
    return Leaf(value, unit)
