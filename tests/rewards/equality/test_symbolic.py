"""The serving side of the symbolic stage, run as its parent runs it."""

import io
import json
import os
import resource
import signal
import sys

import pytest

from reasoning_rl.rewards.child import start_python
from reasoning_rl.rewards.equality.symbolic import MEMORY_MIB, _reply, serve


def test_it_answers_line_by_line_and_ends_with_its_input() -> None:
    process = start_python("from reasoning_rl.rewards.equality.symbolic import serve; serve()", piped=True)
    output, _ = process.communicate(b'["x+1", "1+x"]\n["x+1", "x"]\n')
    assert [json.loads(line) for line in output.splitlines()] == ["ready", [True, ""], [False, ""]]
    assert process.returncode == 0


def test_it_takes_over_the_output_ignores_ctrl_c_and_limits_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "dup", lambda _: writing)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stdin", io.StringIO('["2x", "x+x"]\n'))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    before = signal.getsignal(signal.SIGINT)
    try:
        serve()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    with os.fdopen(reading) as replies:
        assert [json.loads(line) for line in replies] == ["ready", [True, ""]]
    assert limits[0][0] > MEMORY_MIB << 20


def test_what_the_parser_raises_becomes_a_reason() -> None:
    equal, reason = _reply(r"\frac{1}{", None)  # type: ignore[arg-type]
    assert equal is None
    assert reason
