r"""Finding the answer in a completion. Pure strings, time linear in the text.

    <answer>…</answer> → the last \boxed{…} → #### … → "the answer is …" or a line `A: …` → the last formula or number

What stands inside `<think>` is no answer, nor is anything in a think block that never closes.
"""

import re
from collections import deque
from dataclasses import dataclass

from reasoning_rl.rewards.boxes import last_boxes
from reasoning_rl.rewards.equality.node import FUNCTIONS

TAIL = 40_000
"""Characters searched, from the end: no answer is looked for further up."""
MAX_TEXT = 2000
"""A longer answer outside a box is prose."""

_NUMBER = r"[-−]?\$?\s?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:\s?/\s?[0-9]+)?|[-−]?\.[0-9]+"
_PERCENT = r"\s*(?:\\?%|percent\b|pct\b)"
_LAST = re.compile(
    rf"\$\$[^$]+\$\$(?:{_PERCENT})?|(?<!\\)\$[^$]+(?<!\\)\$(?:{_PERCENT})?"
    r"|\\\(.{1,500}?\\\)|\\\[.{1,500}?\\\]"
    rf"|(?<![0-9A-Za-z.])(?:{_NUMBER})(?:{_PERCENT}|°)?",
    re.DOTALL,
)
_SAYS = re.compile(r"\b(?:final\s+)?answer\s*(?:is|:)\s*:?", re.IGNORECASE)
_LINE = re.compile(r"^[ \t]*(?:\*\*)?A(?:nswer)?\s*:(?:\*\*)?[ \t]*(\S[^\n]*)$", re.MULTILINE)
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_MATH_WORDS = FUNCTIONS | {"pct", "percent", "and"}


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and where it stood."""

    text: str
    place: str
    """`tag`, `box`, `hashes`, `sentence` or `last`."""
    strict: bool = False
    """In the required format: an answer tag or a box, or GSM8K's `####`."""
    alternatives: tuple[str, ...] = ()
    """Contents of the boxes it was offered among, itself included."""


def find_answer(completion: str, task: str = "math") -> Found | None:
    """The answer that the completion commits itself to, None where there is none."""
    text = after_thinking(completion)
    if text is None:
        return None
    tag = _in_tag(text)
    if tag is not None:
        return _within(tag, closed="</answer>" in text, task=task)
    return _boxed(text, "box") or _hashes(text, task) or _said(text) or _last(text)


def after_thinking(completion: str) -> str | None:
    """What follows the last think block, cut to its tail; None inside a block that never closes."""
    close = completion.rfind("</think>")
    text = completion[close + len("</think>") :] if close >= 0 else completion
    opened = text.find("<think>")
    if opened == 0 or (opened > 0 and not text[:opened].strip()):
        return None
    return (text if opened < 0 else text[:opened])[-TAIL:]


def _in_tag(text: str) -> str | None:
    """Content of the last answer tag; of one cut short, what there is."""
    start = text.rfind("<answer>")
    if start < 0:
        return None
    inside = text[start + len("<answer>") :]
    end = inside.find("</answer>")
    return inside if end < 0 else inside[:end]


def _within(inside: str, *, closed: bool, task: str) -> Found | None:
    """The answer in a tag: its box, what it says is the answer, or all of it where it is a bare expression."""
    found = _boxed(inside, "tag") or _hashes(inside, task) or _said(inside) or _last(inside)
    if found is None:
        bare = inside.strip()
        return Found(bare, "tag", strict=closed) if bare and len(bare) <= MAX_TEXT else None
    return Found(found.text, "tag", strict=closed, alternatives=found.alternatives)


def _boxed(text: str, place: str) -> Found | None:
    boxes = last_boxes(text)
    if not boxes:
        return None
    contents = tuple(box.content for box in boxes)
    if len(boxes) > 1:
        joint = r" \or " if any(box.joint == "or" for box in boxes) else ", "
        return Found(joint.join(contents), place, strict=True, alternatives=contents)
    return Found(contents[0], place, strict=True)


def _hashes(text: str, task: str) -> Found | None:
    lines = _HASHES.findall(text)
    return Found(lines[-1].strip(), "hashes", strict=task == "gsm8k") if lines else None


def _said(text: str) -> Found | None:
    r"""After the last "the answer is", or on the last line `A: …`."""
    start = max((match.end() for match in _SAYS.finditer(text)), default=-1)
    line = next(iter(reversed(list(_LINE.finditer(text)))), None)
    if line is not None and line.start(1) >= start:
        return _reduced(line[1])
    return _reduced(text[start:].strip().split("\n")[0]) if start >= 0 else None


def _reduced(sentence: str) -> Found | None:
    """The sentence's formula or number, or all of it where it is short and without words."""
    sentence = re.split(r"(?<=[^0-9A-Z])\.\s|\.\s+(?=[A-Z<])", sentence.replace("**", ""))[0].strip().rstrip(".")
    if not sentence or len(sentence) > MAX_TEXT:
        return None
    if _is_bare(sentence):
        return Found(sentence, "sentence")
    last = _last(sentence)
    if last is not None:
        return Found(last.text, "sentence")
    return Found(sentence, "sentence") if len(sentence.split()) <= 3 else None


def _is_bare(text: str) -> bool:
    """No language around the mathematics."""
    delimited = text.count("$") in {0, 2} and (not text.count("$") or (text[0] == "$" and text[-1] in "$%"))
    return delimited and all(
        word.lower() in _MATH_WORDS for word in _WORD.findall(re.sub(r"\\(?:text|mbox|mathrm|begin|end)\s*\{[^{}]*\}", "", text))
    )


def _last(text: str) -> Found | None:
    """The whole text where it is one bare expression, else the last formula or number."""
    bare = text.strip()
    if 0 < len(bare) <= 200 and "\n" not in bare and _is_bare(bare):
        return Found(bare, "last")
    matches = deque(_LAST.finditer(text), maxlen=1)
    return Found(matches[0][0].strip(), "last") if matches else None
