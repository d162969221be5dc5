"""The symbolic stage: guards before it, a deadline around it, nothing left of it."""

import signal
import threading

import pytest

from reasoning_rl.rewards.equality import bounded
from reasoning_rl.rewards.equality.bounded import decide_symbolically, fit_for_symbols, warm_up
from reasoning_rl.rewards.equality.symbolic import decide

IDENTITY = r"\begin{pmatrix}1&0\\0&1\end{pmatrix}"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is about the deadline has a short one: SymPy is long in coming where others use the processor."""
    monkeypatch.setattr(bounded, "DEADLINE_S", 60.0)


def test_the_parser_decides_what_has_no_value_here() -> None:
    assert decide(f"{IDENTITY} {IDENTITY}", IDENTITY)[0] is True
    assert decide(rf"2{IDENTITY}", IDENTITY)[0] is False
    assert decide(r"\frac{", "5")[0] is None


@pytest.mark.parametrize(
    "text", [r"\int_0^1 x dx", "9^{9^{9}}", r"\text{__import__}", "12345!", r"\frac{1}{2}" * 100, "x^{123456}", "plainly", "\\" + "é"]
)
def test_what_could_cost_much_is_not_shown_to_it(text: str) -> None:
    assert not fit_for_symbols(text, r"\frac{1}{2}")
    assert not fit_for_symbols(r"\frac{1}{2}", text)


def test_beside_a_plain_number_only_a_sum_is_shown_to_it() -> None:
    assert fit_for_symbols(r"\sum_{k=1}^{10} k", "55")
    assert not fit_for_symbols(r"\frac{1}{2}", "55")


def test_a_decision_comes_from_another_process_that_is_kept() -> None:
    warm_up()
    assert decide_symbolically(f"{IDENTITY} {IDENTITY}", IDENTITY)[0] == "correct"
    first = bounded._server
    assert decide_symbolically(rf"2{IDENTITY}", IDENTITY)[0] == "wrong"
    assert decide_symbolically(r"\frac{", "5")[0] == "unparsable"
    assert bounded._server is first


def test_a_process_that_died_is_replaced() -> None:
    server = bounded._running()
    server.process.kill()
    server.process.wait()
    assert decide_symbolically(IDENTITY, rf"{IDENTITY} {IDENTITY}")[0] == "correct"


def test_a_decision_that_overruns_is_a_timeout_and_its_process_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decide_symbolically(IDENTITY, IDENTITY)[0] == "correct"
    server = bounded._running()
    monkeypatch.setattr(bounded, "DEADLINE_S", 0.3)
    outcome, reason = decide_symbolically(r"(x+y+z)^{900}", r"(x+y+z+1)^{900}")
    assert (outcome, reason) == ("timeout", "the symbolic comparison took more than 0.3 s or its memory")
    assert server.process.returncode == -signal.SIGKILL


def test_one_that_is_not_ready_or_busy_is_waited_for_no_longer_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded._stop()
    monkeypatch.setattr(bounded, "DEADLINE_S", 0.01)
    assert "not ready" in decide_symbolically("1", "1")[1]
    with bounded._lock:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(decide_symbolically("1", "1")[1]))
        thread.start()
        thread.join()
    assert "busy" in found[0]
