"""Helper processes as they are born."""

import signal

from reasoning_rl.rewards.child import start_python


def test_a_helper_process_ignores_ctrl_c_from_its_start_and_its_parent_still_hears_it() -> None:
    before = signal.getsignal(signal.SIGINT)
    process = start_python("import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)", piped=True)
    assert signal.getsignal(signal.SIGINT) is before
    assert process.communicate()[0] == b"True\n"
