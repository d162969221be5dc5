"""Verifiers: what a completion is worth, and why.

    from reasoning_rl.rewards import verify
    verify(completion, gold, task="math").verdict

Policies of equality: `from reasoning_rl.rewards import Rules`.

One verifier per file; a new file in this folder is usable by its name in a recipe, see docs/verifiers.md.
"""

if __name__ != "reasoning_rl.rewards":
    raise ImportError("import reasoning_rl.rewards, not rewards")

from reasoning_rl.rewards.equality.rules import Rules
from reasoning_rl.rewards.judgement import verify

__all__ = ["Rules", "verify"]
