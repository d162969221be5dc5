import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reasoning_rl.claim import claimed, holder, waited_for
from reasoning_rl.errors import RunError, StorageError

HOLD = "import sys, time; from pathlib import Path; from reasoning_rl.claim import claimed\nwith claimed(Path(sys.argv[1])):\n"

WAIT = """
import sys
from pathlib import Path
from reasoning_rl.claim import waited_for
print("up", flush=True)
with waited_for(Path(sys.argv[1])):
    print("mine", flush=True)
"""


@contextmanager
def another(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the folder until it is killed."""
    command = [sys.executable, "-c", HOLD + "    print('held', flush=True); time.sleep(600)", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with another(tmp_path / "run") as process:
        who = holder(tmp_path / "run")
        assert who
        assert who.startswith(f"process {process.pid} on ")
        with (
            pytest.raises(RunError, match=rf"run is in use by process {process.pid} .*; wait for it, or give this run a name=… of its own"),
            claimed(tmp_path / "run"),
        ):
            pass


def test_the_kernel_lets_go_for_a_process_that_was_killed(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert holder(tmp_path) is None
        with claimed(tmp_path):
            assert holder(tmp_path) is not None
    assert holder(tmp_path) is None


def test_nobody_is_in_a_folder_that_was_never_claimed(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert holder(tmp_path / "absent") is None


def test_processes_that_the_holder_started_and_left_behind_do_not_hold_it(tmp_path: Path) -> None:
    start = "    import subprocess; subprocess.Popen([sys.executable, '-c', 'print(0, flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD + start, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.wait()
        assert holder(tmp_path) is None


def test_a_folder_that_is_taken_away_or_replaced_is_noticed(tmp_path: Path) -> None:
    with claimed(tmp_path / "run") as claim:
        claim.require()
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError, match="run was removed or moved while this run wrote there"):
            claim.require()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / ".lock").touch()
        with pytest.raises(StorageError, match="put it back, or begin anew"):
            claim.require()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="run can't be written: Not a directory"), claimed(tmp_path / "file" / "run"):
        pass


def test_who_waits_comes_after_who_was_there(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with waited_for(lock):
        process = subprocess.Popen([sys.executable, "-c", WAIT, str(lock)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    assert process.communicate(timeout=30)[0] == "mine\n"
