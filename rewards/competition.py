r"""MATH's rule: the answer in the last `\boxed{}` equals the gold, by value, not by spelling. Hendrycks et al. 2021, arXiv:2103.03874."""

from dataclasses import replace

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.equality.rules import Order, Percent, Rules, Tolerance, Units
from reasoning_rl.rewards.judgement import verify
from reasoning_rl.rewards.verifier import verifier


@verifier("math", judges_answer=True)
def competition(
    completion: Completion,
    problem: Problem,
    *,
    strict: bool = False,
    percent: Percent = "optional",
    units: Units = "optional",
    tolerance: Tolerance = 0.0,
    order: Order = "tuples",
) -> Score:
    """1 for an answer equal to the gold, wherever it reasonably stands; `strict` wants an answer tag or a box. The rest: `Rules`."""
    score = verify(completion.text, problem.gold, "math", Rules(percent, units, tolerance, order))
    return required(score) if strict else score


def required(score: Score) -> Score:
    """The score with only the required format counted; an answer elsewhere is as good as none."""
    if score.value > (score.strict or 0.0):
        return replace(score, value=0.0, verdict="no_answer", reason=f"not in the required format; otherwise {score.reason}")
    return score
