import signal
import subprocess
import sys
import threading

import pytest

from reasoning_rl.signals import ignoring_interrupts


def test_ctrl_c_is_heard_again_afterwards_whatever_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ignoring_interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyError), ignoring_interrupts():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_leaves_ctrl_c_as_it_is() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with ignoring_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [before]


def test_what_another_thread_starts_never_sees_ctrl_c_either() -> None:
    statement = f"import os, signal; os.kill(os.getpid(), {signal.SIGINT.value}); print('alive')"
    found: list[subprocess.CompletedProcess[str]] = []

    def inside() -> None:
        with ignoring_interrupts():
            found.append(subprocess.run([sys.executable, "-c", statement], check=False, capture_output=True, text=True))
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    blocked: list[object] = []
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert (found[0].returncode, found[0].stdout) == (0, "alive\n")
    assert blocked == [set()]
