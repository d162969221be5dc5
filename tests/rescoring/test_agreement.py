"""How far two sides agree, and how verdicts are counted."""

from collections import Counter

import pytest

from reasoning_rl.records import Completion, Problem, Score, Verdict
from reasoning_rl.rescoring.answers import Answer
from reasoning_rl.rescoring.tally import Agreement, Count, Judged, Tally


def judged(ours: float, other: float | None, row: int = 1, reason: str = "why") -> Judged:
    problem = Problem("p", "s", "test", "q", "5")
    score = Score(ours, "correct" if ours > 0.5 else "wrong", reason, answer="a|b", strict=0.0)
    there = None if other is None else Score(other, reason="because")
    return Judged(Answer(Completion("x", ()), problem, "f.jsonl", row), Verdict(2 * ours, {"math": score}, answer=score), score, there)


def cells(both: int, ours: int, theirs: int, neither: int) -> Agreement:
    return Agreement(cells=Counter({(True, True): both, (True, False): ours, (False, True): theirs, (False, False): neither}))


def test_kappa_is_agreement_beyond_chance() -> None:
    """20 and 15 of 50 agree: p_o = 0.7; 25/50·30/50 + 25/50·20/50 = 0.5 = p_e; (0.7 − 0.5)/0.5 = 0.4."""
    assert cells(20, 5, 10, 15).kappa == pytest.approx(0.4)
    assert cells(10, 0, 0, 10).kappa == 1.0
    assert cells(0, 10, 10, 0).kappa == -1.0


def test_kappa_is_not_defined_where_both_say_the_same_of_all() -> None:
    assert cells(10, 0, 0, 0).kappa is None
    assert Agreement().kappa is None


def test_disagreements_are_kept_by_kind_the_first_ones_only() -> None:
    agreement = Agreement(kept=2)
    for row in range(1, 6):
        agreement.add(judged(1.0, 0.0, row))
    agreement.add(judged(0.0, 1.0, 6))
    agreement.add(judged(1.0, 1.0, 7))
    agreement.add(judged(1.0, None, 8))
    assert {kind: [each.answer.row for each in kept] for kind, kept in agreement.examples.items()} == {
        (True, False): [1, 2],
        (False, True): [6],
    }
    assert (agreement.n, agreement.agreed, agreement.skipped) == (7, 1, 1)


def test_verdicts_rewards_and_values_are_counted() -> None:
    tally = Tally()
    for value in (1.0, 1.0, 0.0):
        tally.add(judged(value, None))
    assert tally.counted.verdicts == {"correct": 2, "wrong": 1}
    assert (tally.n, tally.counted.right, tally.counted.strict, tally.rewards, tally.verifiers["math"].value) == (3, 2, 0, 4.0, 2.0)


def test_a_verifier_that_knows_no_strict_format_counts_the_same_there_and_says_so() -> None:
    count = Count()
    count.add(judged(1.0, None).answer, Score(1.0))
    assert (count.strict, count.formats) == (1, 0)


def test_the_first_reason_of_each_verdict_is_kept() -> None:
    count = Count()
    for row, reason in enumerate(("", "no key", "no value"), start=1):
        count.add(judged(0.0, None, row).answer, Score(0.0, "error", reason))
    count.add(judged(0.0, None, 4).answer, Score(0.0, "timeout", "after 5 s"))
    assert {verdict: (answer.row, reason) for verdict, (answer, reason) in count.first.items()} == {
        "error": (2, "no key"),
        "timeout": (4, "after 5 s"),
    }


def test_what_a_verifier_failed_on_is_counted_apart_from_what_it_found_wrong() -> None:
    count = Count()
    for verdict in ("error", "timeout", "too_large", "wrong", "no_answer"):
        count.add(judged(0.0, None).answer, Score(0.0, verdict))
    assert (count.n, count.failed, count.right) == (5, 3, 0)
