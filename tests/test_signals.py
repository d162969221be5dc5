import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reasoning_rl.signals import finishing, ignoring_interrupts, unwinding

SEEN = f"import os, signal; [os.kill(os.getpid(), number) for number in ({signal.SIGINT.value}, {signal.SIGTERM.value})]; print('alive')"


def started_inside() -> "subprocess.CompletedProcess[str]":
    """A process that sends itself both signals."""
    with ignoring_interrupts():
        return subprocess.run([sys.executable, "-c", SEEN], check=False, capture_output=True, text=True)


def test_what_is_started_inside_sees_neither_ctrl_c_nor_sigterm() -> None:
    done = started_inside()
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_what_another_thread_starts_sees_them_no_more() -> None:
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(started_inside).result()
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_a_signal_that_comes_meanwhile_is_heard_afterwards_whatever_happens() -> None:
    inside = []

    def interrupted() -> None:
        with ignoring_interrupts():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # of the process, another thread might hear it
            inside.append("went on")
            raise KeyError

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inside == ["went on"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


SCRIPT = """
import os, signal, sys, time
from reasoning_rl.signals import Terminated, finishing, unwinding

def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)

first, second, loop = signal.Signals[sys.argv[1]], sys.argv[2], sys.argv[3] == "loop"
try:
    with unwinding():
        try:
            if loop:
                with finishing(lambda: print("finishing", flush=True)) as signals:
                    for step in range(3):
                        if step == 1:
                            send(first)
                        if step == 1 and second == "in step":
                            send(signal.SIGINT)
                        print("step", step, flush=True)
                        signals.stop_if_asked()
            send(first)
        finally:
            if second == "in clean-up":
                send(signal.SIGTERM)
            print("cleaned up", flush=True)
except (KeyboardInterrupt, Terminated) as stop:
    print(type(stop).__name__, flush=True)
"""


def outcome(first: str, second: str = "", where: str = "elsewhere") -> tuple[int, list[str]]:
    """Exit code and lines of a process that sends itself signals."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, first, second, where], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(("number", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Terminated")])
def test_outside_a_loop_the_first_signal_breaks_off_and_all_is_cleaned_up(number: str, raised: str) -> None:
    assert outcome(number) == (0, ["cleaned up", raised])


@pytest.mark.parametrize(("number", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Terminated")])
def test_in_a_loop_the_step_under_way_is_finished_first(number: str, raised: str) -> None:
    assert outcome(number, where="loop") == (0, ["step 0", "finishing", "step 1", "cleaned up", raised])


def test_a_second_signal_ends_at_once() -> None:
    assert outcome("SIGTERM", "in step", "loop") == (130, ["step 0", "finishing"])
    assert outcome("SIGINT", "in clean-up", "loop") == (143, ["step 0", "finishing", "step 1"])
    assert outcome("SIGINT", "in clean-up") == (143, [])


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with unwinding(), finishing(lambda: None):
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
