"""The eval stage: sample, judge, estimate pass@k with intervals, compare runs on the same problems. Torch is never imported here."""

from reasoning_rl.eval.compare import compare
from reasoning_rl.eval.passk import maj_at_k, pass_at_k

if __name__ != "reasoning_rl.eval":
    raise ImportError("import reasoning_rl.eval, not eval")

__all__ = ["compare", "maj_at_k", "pass_at_k"]
