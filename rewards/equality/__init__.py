"""Whether two answers are equal, by the rules of docs/verifiers.md: text → number → structure → symbolic. `equivalence.py` is the entry."""
