r"""The last `\boxed{…}` of a text, with those it is joined to: `\boxed{1} and \boxed{2}` is one answer of two values."""

import re
from dataclasses import dataclass

MAX_BOXES = 20
_LEXEME = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(?=[0-9A-Za-z\\]))|\\.|[{}]", re.DOTALL)
_SHORT = re.compile(r"\s*([0-9A-Za-z]|\\[A-Za-z]+)")
_MARKUP = re.compile(r"\\text\s*\{([^{}]*)\}|\\q?quad|\\[()\[\],;! ]|\$|[\s.:]+")
_NAMED = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?\s*=")
_PART = re.compile(r"\bfor part\s*\(?\w\)?")

_ALTERNATIVE = re.compile(r"\bor\b|\botherwise\b|\balternatively\b|\\lor\b|\\vee\b|^\W*[/;]\W*$", re.IGNORECASE)
_HEDGES = frozenset(["possibly", "maybe", "perhaps", "else", "alternatively", "also", "even"])


@dataclass(frozen=True, slots=True)
class Box:
    start: int
    end: int
    content: str
    joint: str = ""
    """What joins it to the box before: `and`, `or`, `,`; empty for the first."""


def last_boxes(text: str) -> list[Box]:
    """The last box and those joined to it, first to last; a box in a box counts as one. Empty where there is no box at all."""
    boxes = all_boxes(text)[-MAX_BOXES:]
    joined: list[Box] = []
    for box in reversed(boxes):
        if joined:
            joint = _joint(text[box.end : joined[0].start])
            if not joint:
                break
            joined[0] = Box(joined[0].start, joined[0].end, joined[0].content, joint)
        joined.insert(0, box)
    return joined


def all_boxes(text: str) -> list[Box]:
    """Outermost boxes in order, found in one pass. A box that never closes is none, unless others close inside it."""
    first = min((at for at in (text.find(r"\boxed"), text.find(r"\fbox")) if at >= 0), default=len(text))
    boxes: list[Box] = []
    opened: list[int | None] = []
    for match in _LEXEME.finditer(text, first):
        token = match[0]
        if token.startswith(("\\boxed", "\\fbox")):
            if token.endswith("{"):
                opened.append(match.start())
            elif short := _SHORT.match(text, match.end()):
                boxes.append(Box(match.start(), short.end(), short[1]))
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is not None:
                boxes = _closed(boxes, start, match.start(), text)
    return boxes


def _closed(boxes: list[Box], start: int, end: int, text: str) -> list[Box]:
    """The box just closed takes the place of those inside it."""
    while boxes and boxes[-1].start > start:
        boxes.pop()
    content = text[text.index("{", start) + 1 : end]
    return [*boxes, Box(start, end + 1, content)] if len(boxes) < 2 * MAX_BOXES else [*boxes[-MAX_BOXES:], Box(start, end + 1, content)]


def _joint(gap: str) -> str:
    """The word between two boxes of one answer; empty where more than that lies between them."""
    if len(gap) > 80:
        return ""
    words = _PART.sub(" ", _MARKUP.sub(lambda match: f" {match[1] or ''} ", gap))
    found = re.findall("[a-z]+|[^a-z ]", _NAMED.sub(" ", words).lower())
    if not found or not set(found) <= {"and", "or", ","} | _HEDGES or set(found) <= _HEDGES:
        return "or" if _ALTERNATIVE.search(gap) and not re.search(r"\.\s|\n\s*\n", gap) else ""
    return "or" if "or" in found else "and" if "and" in found else ","
