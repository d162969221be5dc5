"""ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", §3): how far one text follows another, word by word."""

from collections.abc import Sequence


def rouge_l(left: Sequence[str], right: Sequence[str]) -> float:
    """F1 of the longest common subsequence, 2·LCS/(m + n). 1 for equal texts, two empty ones too; 0 without a common word.

    >>> rouge_l("she sells nine shells".split(), "she sells shells".split())  # LCS 3 of 4 and 3 words
    0.8571428571428571
    """
    words = len(left) + len(right)
    return 2 * longest_common(left, right) / words if words else 1.0


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            diagonal, row[column] = row[column], diagonal + 1 if word == other else max(row[column], row[column - 1])
    return row[-1]
