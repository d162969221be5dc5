"""The eval stage: sample, judge, estimate pass@k with intervals, compare runs on the same problems. Torch is never imported here."""

from reasoning_rl.eval.compare import compare
from reasoning_rl.eval.passk import avg_at_k, best_at_k, pass_at_k, pass_hat_k
from reasoning_rl.eval.power import settle
from reasoning_rl.eval.votes import maj_at_k

if __name__ != "reasoning_rl.eval":
    raise ImportError("import reasoning_rl.eval, not eval")

__all__ = ["avg_at_k", "best_at_k", "compare", "maj_at_k", "pass_at_k", "pass_hat_k", "settle"]
