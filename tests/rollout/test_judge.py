"""Poisoned items, dead workers, threads, and what is left behind: the other items never notice."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge import Judge, _death

POISON = """
import os, time
from reasoning_rl.records import Score

KEPT = []

def taste(completion, problem):
    text = completion.text
    if text == "hang":
        while True:
            pass
    if text == "exit":
        os._exit(3)
    if text == "segfault":
        os.kill(os.getpid(), 11)
    if text == "allocate":
        bytearray(1 << 40)
    if text == "raise":
        raise ValueError("bitter")
    if text == "leak":
        KEPT.append(bytearray(200 << 20))
    if text == "hoard":
        while True:
            KEPT.append(bytearray(64 << 20))
    if text == "need":
        bytearray(200 << 20)
    if text == "unsendable":
        return Score(1.0, reason=lambda: None)
    if text == "pid":
        return Score(1.0, reason=str(os.getpid()))
    return Score(1.0, reason="fine")
"""


def problem(gold: str = "5") -> Problem:
    return Problem(id="t/0", source="t", split="test", question="2+3?", gold=gold, task="gsm8k")


def item(text: str) -> tuple[Completion, Problem]:
    return Completion(text=text, token_ids=(1, 2)), problem()


@pytest.fixture(name="poison")
def _poison(tmp_path: Path) -> dict[str, VerifierConfig]:
    path = tmp_path / "poison.py"
    path.write_text(POISON)
    return {f"{path}:taste": VerifierConfig()}


@pytest.fixture(name="plain")
def _plain() -> Iterator[Judge]:
    with Judge({"gsm8k": VerifierConfig()}, JudgeConfig(deadline_s=5)) as judge:
        yield judge


def reasons(verdicts: list[Verdict]) -> list[tuple[str, str]]:
    return [next((score.verdict, score.reason) for score in verdict.scores.values()) for verdict in verdicts]


def test_poisoned_items_get_their_own_verdicts_and_the_others_are_untouched(poison: dict[str, VerifierConfig]) -> None:
    texts = ["ok", "hang", "ok", "exit", "ok", "segfault", "allocate", "raise", *["ok"] * 20]
    with Judge(poison, JudgeConfig(workers=2, deadline_s=0.5, memory_mib=512)) as judge:
        verdicts = judge.judge([item(text) for text in texts])
    outcome = dict(zip(texts, reasons(verdicts)))
    assert outcome["hang"] == ("timeout", "no verdict after 0.5 s")
    assert outcome["exit"] == ("error", "the worker ended itself (exit code 3) while judging it")
    assert outcome["segfault"] == ("error", "the worker was ended by SIGSEGV while judging it")
    assert outcome["allocate"][0] == "too_large"
    assert outcome["raise"] == ("error", "ValueError: bitter")
    assert dict(zip(texts, [verdict.judgement.verdict for verdict in verdicts]))["hang"] == "timeout"
    assert [verdict.reward for text, verdict in zip(texts, verdicts) if text == "ok"] == [1.0] * 23
    assert [verdict.reward for text, verdict in zip(texts, verdicts) if text != "ok"] == [0.0] * 5


def test_verdicts_come_in_the_order_of_the_items(plain: Judge) -> None:
    items = [item(f"#### {number % 7}") for number in range(200)]
    assert [verdict.correct for verdict in plain.judge(items)] == [number % 7 == 5 for number in range(200)]
    assert plain.judge([]) == []


def test_workers_are_kept_between_batches_and_gone_after_close(poison: dict[str, VerifierConfig]) -> None:
    with Judge(poison, JudgeConfig()) as judge:
        pids = [int(reasons(judge.judge([item("pid")]))[0][1]) for _ in range(2)]
    assert pids[0] == pids[1] != os.getpid()
    with pytest.raises(ProcessLookupError):  # reaped too: a zombie would still take signals
        os.kill(pids[0], 0)
    judge.close()


def test_a_worker_that_died_while_idle_costs_nothing(poison: dict[str, VerifierConfig]) -> None:
    with Judge(poison, JudgeConfig()) as judge:
        pid = int(reasons(judge.judge([item("pid")]))[0][1])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        verdicts = judge.judge([item("ok")] * 5)
    assert [verdict.reward for verdict in verdicts] == [1.0] * 5


def test_it_judges_from_any_thread(plain: Judge) -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(verdict.correct for verdict in plain.judge([item("#### 5")])))
    thread.start()
    thread.join()
    assert found == [True]


def least_seconds(work: Callable[[], object]) -> float:
    """Of this process's processor, in five times."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def test_to_have_512_short_completions_judged_costs_less_than_to_judge_them(plain: Judge) -> None:
    items = [item(f"She has 2+3=5 apples.\n#### {number % 9}") for number in range(512)]
    alone = Reward({"gsm8k": VerifierConfig()})
    assert sum(verdict.correct for verdict in plain.judge(items)) == 57  # 5, 14, 23, …: 512 = 56·9 + 8
    assert least_seconds(lambda: plain.judge(items)) < least_seconds(lambda: [alone.verdict(*each) for each in items])


def test_a_verifier_that_is_missing_is_named_before_anything_starts() -> None:
    with pytest.raises(VerifierError, match=r"rewards\.symbolc: no such verifier"):
        Judge({"symbolc": VerifierConfig()}, JudgeConfig())


def test_a_worker_that_cannot_start_is_an_error_with_its_reason(poison: dict[str, VerifierConfig]) -> None:
    judge = Judge(poison, JudgeConfig())
    Path(next(iter(poison)).rpartition(":")[0]).write_text("raise RuntimeError('gone sour')")
    with pytest.raises(VerifierError, match="gone sour"):
        judge.judge([item("ok")])


def test_ctrl_c_ends_the_workers_without_a_traceback_of_theirs(poison: dict[str, VerifierConfig], tmp_path: Path) -> None:
    script = f"""
        from reasoning_rl.config import JudgeConfig, VerifierConfig
        from reasoning_rl.records import Completion, Problem
        from reasoning_rl.rollout.judge import Judge
        judge = Judge({{{next(iter(poison))!r}: VerifierConfig()}}, JudgeConfig(deadline_s=30))
        def one(text):
            problem = Problem(id="t/0", source="t", split="test", question="?", gold="5")
            return judge.judge([(Completion(text=text, token_ids=()), problem)])[0]
        print(next(iter(one("pid").scores.values())).reason, flush=True)
        one("hang")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_ignores_ctrl_c_before_it_runs_a_line(poison: dict[str, VerifierConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        process: subprocess.Popen[bytes] = popen(*arguments, **options)  # type: ignore[call-overload]
        started.append(process.pid)
        os.kill(process.pid, signal.SIGINT)  # the interpreter is still starting
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with Judge(poison, JudgeConfig()) as judge:
        verdicts = judge.judge([item("pid")])
    assert reasons(verdicts) == [("scored", str(started[0]))]


def test_what_a_killed_worker_had_not_sent_is_judged_again(poison: dict[str, VerifierConfig]) -> None:
    texts = ["pid"] * 30 + ["hang"] + ["pid"] * 30 + ["exit"] + ["pid"] * 30
    with Judge(poison, JudgeConfig(deadline_s=1)) as judge:
        found = reasons(judge.judge([item(text) for text in texts]))
    assert (found[30], found[61]) == (
        ("timeout", "no verdict after 1 s"),
        ("error", "the worker ended itself (exit code 3) while judging it"),
    )
    assert {outcome for outcome, _ in found[:30] + found[31:61] + found[62:]} == {"scored"}
    assert 1 <= len({pid for outcome, pid in found if outcome == "scored"}) <= 3


def test_a_verdict_that_cannot_be_sent_costs_no_other(poison: dict[str, VerifierConfig]) -> None:
    texts = ["ok"] * 10 + ["unsendable"] + ["ok"] * 10
    with Judge(poison, JudgeConfig()) as judge:
        verdicts = judge.judge([item(text) for text in texts])
    assert [verdict.judgement.verdict == "error" for verdict in verdicts] == [text == "unsendable" for text in texts]


def test_leaked_memory_is_no_items_fault(poison: dict[str, VerifierConfig]) -> None:
    """Two leaks fit into a worker; the item that finds no memory left is judged by a new one."""
    texts = ["ok", *["leak"] * 5, "need", "ok"]
    with Judge(poison, JudgeConfig(memory_mib=512)) as judge:
        assert reasons(judge.judge([item(text) for text in texts])) == [("scored", "fine")] * len(texts)


def test_an_item_that_fills_a_new_worker_is_too_large_and_those_behind_it_are_not(poison: dict[str, VerifierConfig]) -> None:
    texts = ["ok", "hoard", "need", "hoard", "need"]
    with Judge(poison, JudgeConfig(memory_mib=512)) as judge:
        outcomes = [outcome for outcome, _ in reasons(judge.judge([item(text) for text in texts]))]
    assert outcomes == ["scored", "too_large", "scored", "too_large", "scored"]


def test_deaths_are_named() -> None:
    assert _death(-9) == "was ended by SIGKILL"
    assert _death(-99) == "was ended by 99"
