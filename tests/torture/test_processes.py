import os
import subprocess
import sys
import time
from pathlib import Path

from processes import descendants, held, survivors

CHILD_OF_A_THREAD = """
import subprocess, sys, threading
def start():
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    print("started", flush=True)
    threading.Event().wait()
threading.Thread(target=start, daemon=True).start()
sys.stdin.read()
"""


def test_children_that_a_thread_started_are_found_and_end_with_their_pipe() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD_OF_A_THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        (child,) = descendants(parent.pid)
        assert child.alive
        assert held(parent.pid).processes == 2
        parent.kill()

    assert survivors([child], patience_s=10) == []
    assert held(parent.pid).resident_mib == 0


def test_a_process_that_goes_on_survives() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        (found,) = [process for process in descendants(os.getpid()) if process.pid == child.pid]
        assert survivors([found], patience_s=0) == [found]
        child.kill()


def test_an_open_file_and_a_filled_page_are_seen() -> None:
    before = held(os.getpid())
    filled = bytearray(b"\1") * (64 << 20)
    with Path(os.devnull).open() as opened:
        after = held(os.getpid())

    assert after.files == before.files + 1
    assert opened.closed
    assert after.resident_mib - before.resident_mib > 0.9 * len(filled) / 2**20


def test_a_wait_for_nobody_is_none() -> None:
    began = time.monotonic()
    assert survivors([], patience_s=60) == []
    assert time.monotonic() - began < 1
