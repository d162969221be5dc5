"""What goes to and fro between the judge and its workers."""

from dataclasses import replace

from reasoning_rl.records import Completion, Problem, Score, StepScore, Verdict
from reasoning_rl.rollout.judge_messages import pack_items, pack_verdict, unpack_items, unpack_verdict


def test_records_arrive_as_they_were_sent() -> None:
    completion = Completion("a", (1, 2), (-0.5, -1.5), "length", 7)
    problem = Problem(id="t/0", source="t", split="test", question="2+3?", gold="5", task="gsm8k")
    items = [(completion, replace(problem, level="5", solution="2+3=5")), (Completion("b", (1, 2)), problem)]
    score = Score(0.5, "wrong", "why", "4", "5", "number", 0.25, 0.125, (StepScore(3, 0.5, "so"),))
    verdict = Verdict(0.75, {"gsm8k": score, "format": Score(1.0)}, correct=True, strict=True, answer=score)
    assert unpack_items(pack_items(items)) == items
    assert unpack_verdict(pack_verdict(verdict)) == verdict
    assert unpack_verdict(pack_verdict(Verdict(1.0))) == Verdict(1.0)
