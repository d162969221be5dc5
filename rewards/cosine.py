"""The cosine reward (Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs", arXiv:2502.03373 §4.2), moved into [0, 1].

CosFn(t, T, a, b) = b + ½(a − b)(1 + cos(πt/T))        from a at t = 0 to b at t = T

R = r_e                              where the answer reaches the limit L_max or was cut
R = CosFn(L, L_max, r_0^c, r_L^c)    where it is correct: shorter is better
R = CosFn(L, L_max, r_0^w, r_L^w)    where it is wrong: longer is less bad

value = (R − m) / (M − m), m the least and M the greatest of the five. With weight w the reward is the paper's times w/(M − m) but for a
constant, which no advantage sees.
"""

import math
from typing import Annotated

from pydantic import Field

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.judgement import verify
from reasoning_rl.rewards.verifier import verifier


@verifier("cosine", counts_tokens=True)
def cosine(
    completion: Completion,
    problem: Problem,
    *,
    max_tokens: Annotated[int, Field(gt=0)] = 14_336,
    correct_short: float = 2.0,
    correct_long: float = 1.0,
    wrong_short: float = -10.0,
    wrong_long: float = 0.0,
    exceeded: float = -10.0,
    strict: bool = False,
) -> Score:
    """The paper's R with its own values by default, moved to [0, 1]. Whether the answer is right is judged as the problem's task judges it.

    With the defaults a correct answer is worth 1 to 11/12, a wrong one 0 to 10/12: without `repetition` beside it, and `math` or `gsm8k`,
    empty length pays (the paper's §4.5). `strict` counts the required format only.
    """
    corners = (correct_short, correct_long, wrong_short, wrong_long, exceeded)
    if max(corners) <= min(corners):
        raise ValueError(f"cosine: the five values must differ, found {min(corners)} for all of them")
    tokens, judged = len(completion.token_ids), verify(completion.text, problem.gold, problem.task)
    correct = ((judged.strict or 0.0) if strict else judged.value) > 0.5
    if tokens >= max_tokens or completion.finish_reason == "length":
        reward, reason = exceeded, "cut, or at the limit"
    elif correct:
        reward, reason = cos_fn(tokens, max_tokens, correct_short, correct_long), "correct"
    else:
        reward, reason = cos_fn(tokens, max_tokens, wrong_short, wrong_long), "wrong"
    value = (reward - min(corners)) / (max(corners) - min(corners))
    return Score(min(1.0, max(0.0, value)), reason=f"{reason}, {tokens} tokens of {max_tokens}: R = {reward:.3g}")


def cos_fn(t: float, T: float, start: float, end: float) -> float:
    """From `start` at t = 0 to `end` at t = T, along half a cosine."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * t / T))
