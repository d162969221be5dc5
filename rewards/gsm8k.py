"""GSM8K's rule: the final number equals the gold. Cobbe et al. 2021, arXiv:2110.14168, whose grader reads what follows `####`."""

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.competition import required
from reasoning_rl.rewards.equality.rules import Percent, Rules, Tolerance
from reasoning_rl.rewards.judgement import verify
from reasoning_rl.rewards.verifier import verifier


@verifier("gsm8k", judges_answer=True)
def gsm8k(
    completion: Completion, problem: Problem, *, strict: bool = False, percent: Percent = "optional", tolerance: Tolerance = 0.0
) -> Score:
    """1 for the gold in an answer tag, a box, after `####` or, failing these, as the last number; `strict` wants one of the first three."""
    score = verify(completion.text, problem.gold, "gsm8k", Rules(percent=percent, tolerance=tolerance))
    return required(score) if strict else score
