"""DAPO's soft overlong punishment (arXiv:2503.14476, eq. 13), moved from [-1, 0] to [0, 1]: value = 1 + R_length.

R = 0                                  for |y| ≤ L_max − L_cache
R = ((L_max − L_cache) − |y|)/L_cache  up to L_max
R = −1                                 beyond
"""

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


@verifier("length", counts_tokens=True)
def length(completion: Completion, _problem: Problem, *, max_tokens: int = 20_480, cache: int = 4096) -> Score:
    """1 for a short completion, falling linearly to 0 over the last `cache` tokens before `max_tokens` (DAPO's own by default).

    With a positive weight w the reward differs from the paper's w·R by the constant w, which no advantage sees.
    """
    if not 0 < cache <= max_tokens:
        raise ValueError(f"length: cache ({cache}) must lie between 1 and max_tokens ({max_tokens})")
    tokens = len(completion.token_ids)
    return Score(min(1.0, max(0.0, (max_tokens - tokens) / cache)), reason=f"{tokens} tokens of {max_tokens}")
