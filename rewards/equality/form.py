"""The shape of an answer: a value, a list, a set, a tuple or interval, a union, a relation, a matrix, or words."""

import re
from dataclasses import dataclass
from typing import Literal

from reasoning_rl.rewards.equality.limits import MAX_DEPTH, MAX_ITEMS, TooLarge, Unreadable
from reasoning_rl.rewards.equality.split import enclosed, split_at
from reasoning_rl.rewards.equality.units import split_unit

RELATIONS = frozenset(["=", "<", ">", r"\le", r"\ge", r"\ne", r"\approx", r"\in"])
JOINTS = frozenset([",", ";", r"\or", r"\and"])
_WORDS = re.compile(r"(?:\s*\\text\s*\{[^{}]*\}\s*)+")
_MATRIX = re.compile(r"(-?)\s*\(?\s*\\begin\{([pbvBV]?matrix|smallmatrix|array)\}(?:\s*\{[^{}]*\})?(.*)\\end\{\2\}\s*\)?", re.DOTALL)
_CLOCK = re.compile(r"([0-9]{1,2})\s*:\s*([0-9]{2})\s*([ap]\.?\s*m\.?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `half` is `a`, `p` or nothing."""

    hour: int
    minute: int
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
class Union:
    parts: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Relation:
    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[str, ...], ...]
    negated: bool = False


Form = Words | Clock | Leaf | Items | Union | Relation | Matrix


def read_form(text: str, depth: int = 0) -> Form:
    """The shape of a tidy text. Raises TooLarge where it has too many members or levels, Unreadable where it is empty."""
    if depth > MAX_DEPTH // 2:
        raise TooLarge("brackets are nested too deep")
    if not text:
        raise Unreadable("the answer is empty")
    return _wordy(text) or _several(text, depth) or _related(text, depth) or _bracketed(text, depth) or _leaf(text)


def _wordy(text: str) -> Form | None:
    plain = re.sub(r"\\text|[{}\\]", " ", text)
    if clock := _CLOCK.fullmatch(plain.strip()):
        return Clock(int(clock[1]), int(clock[2]), (clock[3] or "")[:1].lower())
    if _WORDS.fullmatch(text):
        return Words(plain)
    matrix = _MATRIX.fullmatch(text)
    return Matrix(_cells(matrix[3]), bool(matrix[1])) if matrix and r"\begin" not in matrix[3] else None


def _cells(body: str) -> tuple[tuple[str, ...], ...]:
    rows = [row.strip() for row in re.split(r"\\\\|\\cr(?![A-Za-z])", body.replace(r"\hline", " "))]
    cells = tuple(tuple(cell.strip() for cell in row.split("&")) for row in rows if row)
    if sum(map(len, cells)) > MAX_ITEMS:
        raise TooLarge(f"the matrix has more than {MAX_ITEMS} cells")
    return cells


def _several(text: str, depth: int) -> Form | None:
    """A list, a ± pair or a union."""
    parts = [(joint, part) for joint, part in split_at(text, JOINTS) if part]
    if len(parts) > MAX_ITEMS:
        raise TooLarge(f"the answer lists more than {MAX_ITEMS} values")
    if len(parts) > 1:
        return Items(
            "list", _flat([read_form(part, depth + 1) for _, part in parts]), joints=frozenset(joint for joint, _ in parts if joint)
        )
    if (r"\pm" in text or r"\mp" in text) and enclosed(text) is None:
        return Items("list", (read_form(_signed(text, "+"), depth + 1), read_form(_signed(text, "-"), depth + 1)))
    union = split_at(text, frozenset([r"\cup"]))
    return Union(tuple(read_form(part, depth + 1) for _, part in union)) if len(union) > 1 else None


def _signed(text: str, sign: str) -> str:
    return text.replace(r"\pm", sign).replace(r"\mp", "-" if sign == "+" else "+")


def _flat(forms: list[Form]) -> tuple[Form, ...]:
    """A ± pair inside a list adds two members to it; a name given once (`n = 1, 2, 3`) is given to all."""
    members = [member for form in forms for member in (form.items if isinstance(form, Items) and form.kind == "list" else (form,))]
    first, *rest = members
    if isinstance(first, Relation) and first.signs == ("=",) and not any(isinstance(member, Relation) for member in rest):
        return (read_form(first.sides[1]), *rest)
    return tuple(members)


def _related(text: str, depth: int) -> Form | None:
    parts = split_at(text, RELATIONS)
    if len(parts) == 1:
        return None
    if len(parts) > 20:
        raise TooLarge("the chain of relations is too long")
    parts = _without_approximations(parts)
    signs, sides = tuple("=" if sign == r"\approx" else sign for sign, _ in parts[1:]), tuple(side for _, side in parts)
    if r"\in" in signs or not signs:
        return read_form(sides[-1], depth + 1)  # x ∈ S is S
    return Relation(sides, signs)


def _without_approximations(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`2/3 ≈ 0.67` says two thirds; `x ≈ 11` and `≈ 11` say eleven."""
    if not parts[0][1]:
        return [("", parts[1][1]), *parts[2:]]
    cut = next((at for at, (sign, _) in enumerate(parts) if sign == r"\approx" and re.search("[0-9]", parts[at - 1][1])), len(parts))
    return parts[:cut]


def _bracketed(text: str, depth: int) -> Form | None:
    parts = enclosed(text)
    if parts is None or r"\lfloor" in parts or r"\lceil" in parts:
        return None
    opener, inside, closer = parts
    if not inside:
        return Words("empty") if opener in {"{", r"\{"} else None
    inner = read_form(inside, depth + 1)
    if isinstance(inner, Items) and inner.kind == "list":
        if opener in {"{", r"\{"}:
            return Items("set", inner.items)
        return Items("tuple", inner.items, brackets=f"{'[' if opener == '[' else '('}{']' if closer == ']' else ')'}")
    if opener == r"\{":
        return Items("set", (inner,))
    return inner


def _leaf(text: str) -> Leaf:
    value, unit = split_unit(text)
    return Leaf(value, unit)
