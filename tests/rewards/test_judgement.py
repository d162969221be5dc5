"""`verify` on whole completions: cases as data, and any text at all. What others wrote is in test_corpora.py."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.rewards import verify
from reasoning_rl.rewards.equality import bounded

FOLDER = Path(__file__).parents[1] / "cases"
CASES = [json.loads(line) for line in (FOLDER / "completions.jsonl").read_text().splitlines()]
PAIRS = [json.loads(line) for line in (FOLDER / "pairs.jsonl").read_text().splitlines()]


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


def test_it_works_in_threads_and_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "DEADLINE_S", 60.0)  # for SymPy to start where others use the processor
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
        signal.alarm(60)
        os._exit(int(verify(product, gold).value))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_however_many_candidates_there_are_the_symbolic_stage_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def decide(a: str, _b: str) -> tuple[str, str]:
        asked.append(a)
        return "timeout", "as if it took long"

    monkeypatch.setattr("reasoning_rl.rewards.equality.equivalence.decide_symbolically", decide)
    product = r"\begin{pmatrix}1\end{pmatrix}+\begin{pmatrix}1\end{pmatrix}"
    verify(", ".join([rf"\boxed{{{product}}}"] * 20), rf"\angle {product}")
    verify(", ".join([rf"\boxed{{{product}}}"] * 20), r"\begin{pmatrix}2\end{pmatrix}+x")
    assert len(asked) <= 2
