"""A learned verifier of steps: a sequence classifier that reads the answer up to the end of each step.

Process supervision by a model (DeepSeekMath, arXiv:2402.03300 §4.1.3, after arXiv:2305.20050). A step is a line. Models that label tokens
within one pass need a verifier of their own; see docs/verifiers.md.
"""

import re
from typing import Annotated, Literal

from pydantic import Field

from reasoning_rl.records import Completion, Problem, Score, StepScore
from reasoning_rl.rewards.reward_model import load, valued
from reasoning_rl.rewards.verifier import verifier

_LINE = re.compile(r"[^\n]*\S[^\n]*")
"""One with something in it."""


@verifier("process_model", scores_steps=True, prepare=load)
def process_model(
    completion: Completion,
    problem: Problem,
    *,
    model: str,
    revision: str = "main",
    label: str = "",
    max_tokens: Annotated[int, Field(gt=0)] = 2048,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Score:
    """The lowest value of a step, as an answer is no better than its worst; and each step's end and value. 0 for an empty answer.

    Options are those of `reward_model`. The classifier is run once for each line.
    """
    loaded = load(model=model, revision=revision, label=label, max_tokens=max_tokens, device=device)
    ends = [match.start() + len(match[0].rstrip()) for match in _LINE.finditer(completion.text)]
    steps = tuple(StepScore(end, valued(loaded, label, problem, completion.text[:end])) for end in ends)
    lowest = min((step.value for step in steps), default=0.0)
    return Score(lowest, reason=f"lowest of {len(steps)} steps", method="process_model", steps=steps)
