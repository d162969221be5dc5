"""Helper processes as they are born."""

import signal

from reasoning_rl.rewards.child import start_python


def test_a_helper_process_is_deaf_to_signals_from_its_start_and_its_parent_is_not() -> None:
    process = start_python("import signal; print(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))", piped=True)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    assert process.communicate()[0] == f"{sorted(map(int, (signal.SIGINT, signal.SIGTERM)))}\n".encode()
