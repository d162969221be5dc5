"""Training problems that a held-out problem has let out: the same question, or a long run of the same words."""

from collections.abc import Iterable, Sequence

from reasoning_rl.data.sift import Finding, Findings
from reasoning_rl.data.source import Row
from reasoning_rl.data.words import Gram, grams, normalised, words


def contaminated(train: Sequence[Row], held_out: Sequence[Row], size: int) -> Findings:
    """Training problems whose question is a held-out one, or shares a run of `size` words with one; 0 compares whole questions alone."""
    questions = {normalised(row.problem.question): row.problem.id for row in reversed(held_out)}  # the first of a name gives its id
    runs = dict(_runs(held_out, size)) if size else {}
    found = ((row, _finding(row.problem.question, questions, runs, size)) for row in train)
    return {row.problem.id: finding for row, finding in found if finding is not None}


def _runs(held_out: Sequence[Row], size: int) -> Iterable[tuple[Gram, str]]:
    for row in reversed(held_out):
        for run in grams(words(row.problem.question), size):
            yield run, row.problem.id


def _finding(question: str, questions: dict[str, str], runs: dict[Gram, str], size: int) -> Finding | None:
    if (same := questions.get(normalised(question))) is not None:
        return Finding(f"the question of the held-out {same}", same)
    if not runs:
        return None
    run = next((run for run in grams(words(question), size) if run in runs), None)
    return Finding(f"shares {size} words with the held-out {runs[run]}: “{' '.join(run)}”", runs[run]) if run else None
