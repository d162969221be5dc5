"""Peak memory grows with what is held, stays when it is let go, and is this process's own."""

import subprocess
import sys
from typing import Any

import pytest

from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.memory import MIB, peak_memory, peak_resident_bytes

HELD = 128 * MIB


class Pair:
    """A crew of two whose peaks are given."""

    def peaks(self) -> list[tuple[int, int]]:
        return [(300 * MIB, 5 * MIB), (200 * MIB, 6 * MIB)]


def in_a_bare_process(program: str) -> list[int]:
    """Numbers that a process without torch prints."""
    program = f"from reasoning_rl.learner.memory import peak_resident_bytes as peak\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_the_peak_remembers_what_was_let_go() -> None:
    before, after = in_a_bare_process(f"print(peak()); held = bytearray(b'x') * {HELD}; del held; print(peak())")
    assert before + 0.9 * HELD <= after <= before + 1.1 * HELD


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is the process's own elsewhere")
def test_a_process_does_not_begin_with_the_peak_of_its_parent() -> None:
    (bare,) = in_a_bare_process("print(peak())")
    assert bare < peak_resident_bytes() / 2  # this one has torch in it


def test_peaks_of_a_crew_add_up() -> None:
    crew: Any = Pair()
    assert peak_memory(crew) == {"memory/peak_mib": 500.0, "memory/peak_gpu_mib": 11.0}


def test_without_a_gpu_there_is_no_figure_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    with Crew() as crew:
        found = peak_memory(crew)
    assert list(found) == ["memory/peak_mib"]
    assert found["memory/peak_mib"] == pytest.approx(peak_resident_bytes() / MIB, rel=0.05)


def test_where_linux_says_nothing_the_system_call_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("reasoning_rl.learner.memory._STATUS", tmp_path / "none")
    assert peak_resident_bytes() > 50 * MIB
