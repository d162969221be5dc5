"""Changing the policy: the supervised cold start, the RL update, data parallelism, checkpoints."""
