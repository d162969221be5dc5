"""`verify` and the comparison on ten thousand generated texts; `fuzz_verify.py` goes on from here, guided by coverage."""

import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from fuzz_texts import pairs, tokens

from reasoning_rl.records import Outcome
from reasoning_rl.rewards import verify
from reasoning_rl.rewards.equality.equivalence import equivalent

COUNT = 1000
DEADLINE_S = 5.0
"""Of the processor, for one judgement: the judge would kill a worker that is busy for longer."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_any_text_gets_a_judgement_and_leaves_no_trace(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verdicts: Counter[str] = Counter()
    for completion, gold, task in pairs(seed, COUNT):
        case = f"verify({completion!r}, {gold!r}, {task!r})"
        start = time.process_time()
        score = verify(completion, gold, task)
        assert time.process_time() - start < DEADLINE_S, case
        assert score.verdict != "error", (case, score.reason)
        assert score.value == float(score.verdict == "correct"), case
        assert score.strict in {0.0, score.value}, case
        verdicts[score.verdict] += 1
    assert set(verdicts) <= set(get_args(Outcome))
    assert {"correct", "wrong", "unparsable", "no_answer", "hedged"} <= set(verdicts)  # the generator reaches them all
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_equality_of_generated_answers_has_no_direction(seed: int) -> None:
    for completion, gold, _ in pairs(seed, COUNT):
        there, back = equivalent(completion, gold), equivalent(gold, completion)
        assert (there.outcome == "correct") == (back.outcome == "correct"), (completion, gold, there, back)


def test_generated_texts_follow_from_the_seed() -> None:
    assert list(pairs(3, 50)) == list(pairs(3, 50)) != list(pairs(4, 50))


def test_the_dictionary_is_read_as_libfuzzer_reads_it() -> None:
    assert {r"\boxed{", "\\\\", "\nAnswer: ", "√", "\u200b"} <= set(tokens())
