"""Sampling answers from a policy, and judging them."""
