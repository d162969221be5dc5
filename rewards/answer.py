r"""Finding the answer in a completion. Pure strings, time linear in the text.

    <answer>…</answer> → the last \boxed{…} → #### … → "the answer is …" or a line `A: …` → the last formula or number

What stands inside `<think>` is no answer, nor is anything in a think block that never closes.
"""

import re
from collections import deque
from dataclasses import dataclass

from reasoning_rl.rewards.boxes import last_boxes
from reasoning_rl.rewards.equality.node import FUNCTIONS

_OPENED, _CLOSED = (
    re.compile(rf"<\s?{slash}(?:think|thinking|thought|reasoning)\s?>|◁{slash}think▷", re.IGNORECASE) for slash in ("", "/")
)
TAIL = 40_000
"""Characters searched: the last ones, or those from the last box or tag."""
MAX_JOINED = 12
"""Formulas that may be one answer together."""
MAX_TEXT = 2000
"""A longer answer outside a box is prose."""

_NUMBER = (
    r"[0-9]{1,2}:[0-9]{2}(?:\s*[ap]\.?\s?m\b\.?)?"  # a time of day
    r"|[-−]?[0-9]+ [0-9]+/[0-9]+"
    r"|[-−]?(?:[0-9.]*√[0-9]+|[0-9.]*sqrt\([0-9]+\)|[0-9.]*π|[0-9]+\^[0-9]+|[0-9]+!)"
    r"|[-−]?(?:\\?\$)?\s?(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:\s?/\s?[0-9]+)?"
    r"(?:\s*(?:\\times|×|\*|x)\s*10\s*\^\s*\{?-?[0-9]+\}?|\s(?:thousand|(?:m|b|tr)illion)\b)?"
    r"|[-−]?\.[0-9]+"
)
"""As prose writes one."""
_PERCENT = r"\s*(?:\\?%|percent\b|pct\b)"
_VALUE = re.compile(
    rf"\$\$[^$]+\$\$(?:{_PERCENT})?|(?<!\\)\$[^$]+(?<!\\)\$(?:{_PERCENT})?"
    r"|\\\(.{1,500}?\\\)|\\\[.{1,500}?\\\]"
    rf"|(?<![0-9A-Za-z.])(?:{_NUMBER})(?:{_PERCENT}|°)?",
    re.DOTALL,
)
"""A formula or a number."""
_SAYS = re.compile(r"\b(?:final\s+)?answer\s*(?:is|:)\s*:?", re.IGNORECASE)
_LINE = re.compile(r"^[ \t]*(?:\*\*)?A(?:nswer)?\s*:(?:\*\*)?[ \t]*(\S[^\n]*)$", re.MULTILINE)
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_HEADING = re.compile(r"\W*(?:step|part|case|final|conclusion|solution|answer|summary|explanation)\b", re.IGNORECASE)
"""How a heading of Markdown begins that has as many hashes."""
_REMARK = re.compile(r"(?<=[0-9])\s+\((?=[^()]*[A-Za-z]{2})[^()]*\)\s*$")
"""In brackets behind a number."""
_DENIED = re.compile(
    r"(?:\bnot|\bnever|\bneither|n't|(?:more|less|fewer|greater|larger|smaller|lower|higher) than|at (?:least|most)|up to)\s*(?:be\s+)?$",
    re.IGNORECASE,
)
"""Before a number: it is no answer, or only a bound of one."""
_BOLD = re.compile(r"(?<![0-9A-Za-z)\]}])\*\*|\*\*(?![0-9A-Za-z(\[{\\-])")
"""Asterisks that no power has on both sides."""
_JOINT = re.compile(r"\s*(?:,|,?\s*\b(?:and|or)\b)\s*")
"""Between values that are one answer."""
_GOES_ON = re.compile(r"\s*[-−+*/×÷^=]")
"""Behind a number: a calculation, whose result comes later."""
_ALTERNATIVE = re.compile(r"\s*,?\s*\bor\b(?:\s+(?:maybe|perhaps|possibly))?\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\s*$", re.IGNORECASE)
_ASSIGNED = re.compile(r"\$+\s*([A-Za-z]\w*)\s*=")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_MATH_WORDS = FUNCTIONS | {"pct", "percent", "and", "cbrt", "binom", "choose"}


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
    if _is_overlong(text):
        return Found(text, "last")
    tag = _in_tag(text)
    if tag is not None:
        return _within(tag, closed="</answer>" in text, task=task)
    return _boxed(text, "box") or _hashes(text, task) or _said(text) or _last(text)


def after_thinking(completion: str) -> str | None:
    """What follows the last think block, cut to its tail; None inside a block that never closes."""
    closed = deque(_CLOSED.finditer(completion), maxlen=1)
    text = completion[closed[0].end() :] if closed else completion
    opened = _OPENED.search(text)
    if opened is None:
        return _tail(text)
    return _tail(text[: opened.start()]) if text[: opened.start()].strip() else None


def _tail(text: str) -> str:
    """The last lines, or, where the last box or tag lies further up, the text from there: what it holds may be too long."""
    cut = len(text) - TAIL
    if cut <= 0:
        return text
    mark = max(text.rfind(opening) for opening in ("\\boxed", "<answer>"))
    if 0 <= mark < cut:
        return text[mark : mark + TAIL]
    return text[cut:] if mark >= cut else text[cut:].partition("\n")[2]


def _is_overlong(text: str) -> bool:
    """Whether nothing ends of what begins the text that `_tail` cut out; it is refused as too large."""
    unclosed = (text.startswith("\\boxed") and not last_boxes(text)) or (text.startswith("<answer>") and "</answer>" not in text)
    return len(text) == TAIL and unclosed


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
    lines = [line for line in _HASHES.findall(text) if not _HEADING.match(line)]
    return Found(_REMARK.sub("", lines[-1]).strip(), "hashes", strict=task == "gsm8k") if lines else None


def _said(text: str) -> Found | None:
    r"""After the last "the answer is", or on the last line `A: …`."""
    start = max((match.end() for match in _SAYS.finditer(text)), default=-1)
    line = next(iter(reversed(list(_LINE.finditer(text)))), None)
    if line is not None and line.start(1) >= start:
        return _reduced(line[1])
    return _reduced(text[start:].strip().split("\n")[0]) if start >= 0 else None


def _reduced(sentence: str) -> Found | None:
    """The sentence's formula or number, or all of it where it is short and without words."""
    sentence = re.split(r"(?<=[^0-9A-Z])\.\s|\.\s+(?=[A-Z<])", _not_bold(sentence))[0].strip().rstrip(".")
    if not sentence or len(sentence) > MAX_TEXT:
        return None
    if _is_bare(sentence):
        return Found(sentence, "sentence")
    found = _first(sentence) or _last(sentence)
    if found is not None:
        return Found(found.text, "sentence")
    return Found(sentence, "sentence") if len(sentence.split()) <= 3 else None


def _first(sentence: str) -> Found | None:
    """The formula or number that the sentence begins with, and those joined to it: what follows is a remark."""
    match = _VALUE.match(sentence)
    if match is None or _GOES_ON.match(sentence, match.end()):
        return None
    end = match.end()
    while (
        (joint := _JOINT.match(sentence, end))
        and (match := _VALUE.match(sentence, joint.end()))
        and ("$" in match[0] or "," not in joint[0])
    ):
        end = match.end()
    return Found(sentence[:end].strip(), "sentence")


def _not_bold(text: str) -> str:
    """Without Markdown's asterisks; a power `x**2` has something on either side of them."""
    return _BOLD.sub("", text.strip().removeprefix("**").removesuffix("**"))


def _is_bare(text: str) -> bool:
    """No language around the mathematics."""
    delimited = text.count("$") in {0, 2} and (not text.count("$") or (text[0] == "$" and text[-1] in "$%"))
    return delimited and all(
        word.lower() in _MATH_WORDS for word in _WORD.findall(re.sub(r"\\(?:text|mbox|mathrm|begin|end)\s*\{[^{}]*\}", "", text))
    )


def _last(text: str) -> Found | None:
    """The whole text where it is one bare expression, else the last formula or number."""
    bare = _not_bold(text)
    if 0 < len(bare) <= 200 and "\n" not in bare and _is_bare(bare):
        return Found(bare, "last")
    matches = deque(_VALUE.finditer(text), maxlen=MAX_JOINED)
    if not matches or _DENIED.search(text[max(0, matches[-1].start() - 30) : matches[-1].start()]):
        return None
    return Found(_joined(text, list(matches)), "last")


def _joined(text: str, matches: list[re.Match[str]]) -> str:
    """The last of the matches, with those it is joined to: formulas about one name (`$2$, $3$ and $5$`), numbers that are alternatives."""
    start = len(matches) - 1
    while start:
        before, gap = matches[start - 1], text[matches[start - 1].end() : matches[start].start()]
        alternative = _ALTERNATIVE.fullmatch(gap) or (_JOINT.fullmatch(gap) and _BETWEEN.search(text[: before.start()]))
        if not alternative and not (_same_kind(before[0], matches[-1][0]) and _JOINT.fullmatch(gap)):
            break
        start -= 1
    return text[matches[start].start() : matches[-1].end()].strip()


def _same_kind(a: str, b: str) -> bool:
    names = [_ASSIGNED.match(formula) for formula in (a, b)]
    return a[0] == b[0] == "$" and (names[0][1] if names[0] else "") == (names[1][1] if names[1] else "")
