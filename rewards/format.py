"""DeepSeek-R1's format reward (arXiv:2501.12948, §2.2): reasoning in think tags, then the answer in answer tags, and nothing else."""

import re

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier

_SHAPE = re.compile(r"\s*<think>.+?</think>\s*<answer>.+?</answer>\s*", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@verifier("format")
def r1_format(completion: Completion, _problem: Problem, *, prefilled: bool = False, soft: bool = False) -> Score:
    """1 if `<think>…</think>` and `<answer>…</answer>` are all there is, each once, in this order, with only space around, else 0.

    `prefilled`: the prompt already ends with `<think>`. `soft`: the share of the conditions that are met, so that a policy far from the
    format sees which way to go. The conditions: each tag once and behind those before it, a closing one with something before it; and
    then nothing outside.
    """
    text = "<think>" + completion.text if prefilled else completion.text
    mistake = _mistake(text)
    if mistake is None:
        return Score(1.0, reason="think, then answer")
    return Score(_share(text, given=int(prefilled)) if soft else 0.0, reason=mistake)


def _mistake(text: str) -> str | None:
    counts = {tag: text.count(tag) for tag in _TAGS}
    odd = [f"{tag} {count} times" for tag, count in counts.items() if count != 1]
    if odd:
        return ", ".join(odd)
    return None if _SHAPE.fullmatch(text) else "the tags are out of order, empty, or not all there is"


def _share(text: str, given: int) -> float:
    """Of the conditions that the completion meets itself; the first `given` tags stand in the prompt."""
    return sum(_met(text)[given:]) / (len(_TAGS) + 1 - given)


def _met(text: str) -> list[bool]:
    """One per tag. The condition that nothing stands outside is met only by what has the whole format, so never here."""
    met: list[bool] = []
    reached = 0
    for opening, closing in (_TAGS[:2], _TAGS[2:]):
        start = _once(text, opening, reached)
        end = _once(text, closing, reached) if start is not None else None
        filled = start is not None and end is not None and bool(text[start + len(opening) : end].strip())
        met += [start is not None, filled]
        reached = (end if filled else start) or reached
    return met


def _once(text: str, tag: str, reached: int) -> int | None:
    """Where the tag stands, if it does so once and not before `reached`."""
    at = text.find(tag)
    return at if at >= reached and text.count(tag) == 1 else None
