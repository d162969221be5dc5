"""DeepSeek-R1's format reward (arXiv:2501.12948, §2.2): reasoning in think tags, then the answer in answer tags, and nothing else."""

import re

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier

_SHAPE = re.compile(r"\s*<think>.+?</think>\s*<answer>.+?</answer>\s*", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@verifier("format")
def r1_format(completion: Completion, _problem: Problem, *, prefilled: bool = False) -> Score:
    """1 if `<think>…</think>` and `<answer>…</answer>` are all there is, each once, in this order, with only space around, else 0.

    `prefilled`: the prompt already ends with `<think>`.
    """
    text = "<think>" + completion.text if prefilled else completion.text
    counts = {tag: text.count(tag) for tag in _TAGS}
    odd = [f"{tag} {count} times" for tag, count in counts.items() if count != 1]
    if odd:
        return Score(0.0, reason=", ".join(odd))
    if not _SHAPE.fullmatch(text):
        return Score(0.0, reason="the tags are out of order, empty, or not all there is")
    return Score(1.0, reason="think, then answer")
