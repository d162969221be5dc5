"""Poisoned items, dead workers, threads, and what is left behind: the other items never notice."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Verdict
from reasoning_rl.rollout import judge_worker
from reasoning_rl.rollout.judge import Judge, _death
from reasoning_rl.rollout.judge_worker import Job, limit_memory, serve

POISON = """
import os, time
from reasoning_rl.records import Score

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


def test_512_short_completions_take_well_under_a_second_once_warm(plain: Judge) -> None:
    items = [item(f"She has 2+3=5 apples.\n#### {number % 9}") for number in range(512)]
    plain.judge(items[:4])
    start = time.perf_counter()
    assert sum(verdict.correct for verdict in plain.judge(items)) == 57  # 5, 14, 23, …: 512 = 56·9 + 8
    assert time.perf_counter() - start < 1.0  # about 0.05 s on an idle core; CI shares its own


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


def test_the_worker_loop_answers_each_item_until_the_connection_closes(poison: dict[str, VerifierConfig]) -> None:
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=serve, args=(theirs,), kwargs={"limit": False})
    thread.start()
    ours.send(Job(poison, 1.0, 512))
    assert ours.recv() == "ready"
    ours.send([item("ok"), item("raise")])
    assert [ours.recv().reward for _ in range(2)] == [1.0, 0.0]
    ours.close()
    thread.join(5)
    assert not thread.is_alive()


def test_a_worker_process_limits_itself_before_it_is_ready(poison: dict[str, VerifierConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(judge_worker, "limit_memory", limits.append)
    ours, theirs = multiprocessing.Pipe()
    heard: list[object] = []

    def parent() -> None:
        ours.send(Job(poison, 1.0, 512))
        ours.send([(Completion("ok", ()), replace(problem(), task="math"))])
        heard.extend(ours.recv() for _ in range(2))
        ours.close()

    thread = threading.Thread(target=parent)
    thread.start()
    serve(theirs, limit=True)
    thread.join()
    assert (limits, heard[0]) == ([512], "ready")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_to_memory_lies_above_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    limit_memory(512)
    assert limits[0][0] > 512 << 20


def test_the_worker_says_why_it_cannot_start() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.send(Job({"nothing": VerifierConfig()}, 1.0, 512))
    serve(theirs, limit=False)
    assert "no such verifier" in ours.recv()
    ours.close()
    theirs.close()


def test_an_allocation_beyond_the_limit_raises(tmp_path: Path) -> None:
    code = """
from reasoning_rl.rollout.judge_worker import limit_memory
limit_memory(256)
bytearray(64 << 20)
try:
    bytearray(1 << 30)
except MemoryError:
    print("bounded")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "bounded\n"


def test_deaths_are_named() -> None:
    assert _death(-9) == "was ended by SIGKILL"
    assert _death(-99) == "was ended by 99"
