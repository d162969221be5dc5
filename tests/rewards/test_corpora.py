"""`verify` on what others wrote: labelled completions, every gold and reference solution of GSM8K and MATH. Skipped where absent."""

import json
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reasoning_rl.rewards import verify

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[2].parent / "shared"))
BENCH = SHARED / "verifier_bench" / "dev"
DATA = SHARED / "data"

labelled = pytest.mark.skipif(not BENCH.is_dir(), reason=f"no labelled completions in {BENCH}")
problems = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real problems in {DATA}")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def text_of(completion: str | dict[str, Any]) -> str:
    return completion if isinstance(completion, str) else "".join(text * times for text, times in completion["parts"])


@labelled
@pytest.mark.parametrize("name", ["gsm8k_model_solutions", "math_cot", "peer_tests", "hard_pairs"])
def test_labelled_completions_are_judged_as_labelled(name: str) -> None:
    judged = [(case, verify(case["completion"], case["gold"], case["task"]).value > 0.5) for case in rows(BENCH / f"{name}.jsonl")]
    assert {case["label"] for case, _ in judged} == {True, False}
    assert [case["id"] for case, correct in judged if correct and not case["label"]] == []  # a policy finds these
    assert [case["id"] for case, correct in judged if case["label"] and not correct] == []


@labelled
def test_hostile_completions_are_refused_quickly_and_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for case in rows(BENCH / "hostile.jsonl"):
        start = time.process_time()
        assert verify(text_of(case["completion"]), case["gold"], case["task"]).value == 0, case["id"]
        assert time.process_time() - start < 4, case["id"]
    assert not list(tmp_path.iterdir())


def gsm8k(split: str) -> Iterator[tuple[str, str]]:
    """Reference solution and gold."""
    for row in rows(DATA / "gsm8k" / f"{split}.jsonl"):
        yield row["answer"], row["answer"].rpartition("####")[2].strip()


def competition(split: str) -> Iterator[tuple[str, str]]:
    for row in rows(DATA / "math" / f"{split}.jsonl"):
        if row["answer"]:  # 4 rows have none
            yield row.get("solution", ""), row["answer"]


@pytest.mark.slow
@problems
def test_every_gold_in_a_box_is_correct_against_itself() -> None:
    golds = [(gold, "gsm8k") for split in ("train", "test") for _, gold in gsm8k(split)]
    golds += [(gold, "math") for split in ("train", "math500") for _, gold in competition(split)]
    assert len(golds) == 7473 + 1319 + 7470 + 500
    assert [(gold, task) for gold, task in golds if verify(rf"So the answer is $\boxed{{{gold}}}$.", gold, task).verdict != "correct"] == []


@problems
def test_every_reference_solution_of_gsm8k_is_correct_against_its_gold() -> None:
    pairs = [*gsm8k("train"), *gsm8k("test")]
    assert [solution for solution, gold in pairs if verify(solution, gold, "gsm8k").verdict != "correct"] == []


@problems
def test_every_reference_solution_of_math500_is_correct_against_its_gold() -> None:
    assert [solution for solution, gold in competition("math500") if verify(solution, gold).verdict != "correct"] == []


@problems
def test_the_gold_of_the_next_problem_is_wrong_unless_it_is_the_same() -> None:
    """A verifier that says yes too often would pass all of the above."""
    golds = [gold.removeprefix("x=") for _, gold in competition("math500")]
    taken = [pair for pair in pairwise(golds) if verify(rf"\boxed{{{pair[0]}}}", pair[1]).value == 1]
    assert [pair for pair in taken if pair[0] != pair[1]] == []
