"""Verifiers: what a completion is worth, and why.

    from reasoning_rl.rewards import verify
    verify(completion, gold, task="math").verdict

One verifier per file; a new file in this folder is usable by its name in a recipe, see docs/verifiers.md.
"""

if __name__ != "reasoning_rl.rewards":
    raise ImportError("import reasoning_rl.rewards, not rewards")

from reasoning_rl.rewards.judgement import verify

__all__ = ["verify"]
