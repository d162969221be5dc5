"""`verify` on whole completions: cases as data, the shared corpora where they are, and any text at all."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.rewards import verify

FOLDER = Path(__file__).parents[1] / "cases"
CASES = [json.loads(line) for line in (FOLDER / "completions.jsonl").read_text().splitlines()]
PAIRS = [json.loads(line) for line in (FOLDER / "pairs.jsonl").read_text().splitlines()]
SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[2].parent / "shared"))


def corpus(name: str) -> list[dict[str, Any]]:
    path = SHARED / "verifier_bench" / "dev" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if isinstance(row["completion"], dict):
            row["completion"] = "".join(text * times for text, times in row["completion"]["parts"])
    return rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["reason"])
def test_a_completion_gets_its_verdict(case: dict[str, Any]) -> None:
    score = verify(case["completion"], case["gold"], case["task"])
    assert score.verdict == case["verdict"], score
    assert score.value == float(case["verdict"] == "correct")
    assert score.strict == score.value * case["strict"]


@pytest.mark.parametrize("group", sorted({pair["class"] for pair in PAIRS}))
def test_pairs_of_a_class_are_judged_as_labelled(group: str) -> None:
    for pair in PAIRS:
        if pair["class"] == group:
            score = verify(pair["completion"], pair["gold"], pair["task"])
            assert (score.value > 0.5) == pair["label"], (pair, score)


def test_a_score_says_what_was_found_and_how_it_was_decided() -> None:
    score = verify(r"so \boxed{\frac{2}{4}}", "0.5")
    assert (score.answer, score.gold, score.method) == (r"\frac{2}{4}", "0.5", "number")
    assert score.reason == "equal to the gold (answer from: box)"
    assert score.seconds > 0


@pytest.mark.parametrize(("name", "most"), [("gsm8k_model_solutions", 0), ("math_cot", 0), ("peer_tests", 2), ("hard_pairs", 3)])
def test_labelled_corpora_are_judged_as_labelled(name: str, most: int) -> None:
    rows = corpus(name)
    wrong = [row["id"] for row in rows if (verify(row["completion"], row["gold"], row["task"]).value > 0.5) != bool(row["label"])]
    assert len(wrong) <= most, wrong


def test_hostile_completions_are_refused_quickly_and_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for row in corpus("hostile"):
        start = time.perf_counter()
        assert verify(row["completion"], row["gold"], row["task"]).value == 0, row["id"]
        assert time.perf_counter() - start < 4, row["id"]
    assert not list(tmp_path.iterdir())


def test_reference_solutions_are_correct_against_their_golds() -> None:
    path = SHARED / "data" / "math" / "math500.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["unique_id"] for row in rows if verify(row["solution"], row["answer"]).value != 1] == []


PIECES = [*"01 9.,x+-*/^_{}()[]|$\\=<>!%°eiπ√", r"\frac", r"\sqrt", r"\boxed{", r"\text{", "or", "cm", r"\pm", r"\cup", r"\sin", r"\\"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_text_raises(text: str) -> None:
    assert 0 <= verify(f"\\boxed{{{text}}}", "5").value <= 1
    assert 0 <= verify(text, text, "gsm8k").value <= 1


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_unicode_raises(text: str) -> None:
    assert 0 <= verify(text, "5").value <= 1
    assert 0 <= verify("5", text).value <= 1


def test_it_works_in_threads_and_in_a_forked_child() -> None:
    product = r"\boxed{\begin{pmatrix}1&0\\0&1\end{pmatrix}\begin{pmatrix}2&0\\0&2\end{pmatrix}}"
    gold = r"\begin{pmatrix}2&0\\0&2\end{pmatrix}"  # reaches the symbolic stage, hence a process of its own
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(verify(product, gold).method)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["symbolic"] * 2
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(int(verify(product, gold).value))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
