import io
from collections.abc import Iterator

from rich.console import Console

from reasoning_rl.progress import Progress


def ticking(step_s: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step_s


def lines_of(steps: int, step_s: float, done: int = 0) -> list[str]:
    """What a run of so many steps prints where there is no terminal; the clock moves on at each look."""
    output = io.StringIO()
    clock = ticking(step_s)
    with Progress(Console(file=output, width=200), total=steps, done=done, clock=lambda: next(clock)) as progress:
        for _ in range(done, steps):
            progress.phase("sample")
            progress.step({"reward": 0.5, "pass_rate": 0.25, "completions/mean_length": 25.4})
    return output.getvalue().splitlines()


def test_without_a_terminal_the_first_and_the_last_step_have_a_line() -> None:
    lines = lines_of(steps=50, step_s=0.01)
    assert len(lines) == 2
    assert lines[0] == "step 1/50  reward 0.500  pass rate 0.250  tokens 25"  # the first tells nothing of the others' time
    assert lines[1].startswith("step 50/50")
    assert lines[1].endswith("0 s left")


def test_what_has_no_metrics_is_counted_in_the_words_of_its_phase() -> None:
    output = io.StringIO()
    with Progress(Console(file=output), total=20, clock=lambda: 0.0) as progress:
        progress.phase("base")
        for done in (0, 10, 30):
            progress.at(done, 30)
    assert output.getvalue().splitlines() == ["base 0/30", "base 30/30  0 s each, 0 s left"]


def test_without_a_terminal_slow_steps_have_a_line_each() -> None:
    assert len(lines_of(steps=5, step_s=11)) == 5


def test_a_resumed_run_counts_on() -> None:
    assert lines_of(steps=10, step_s=0.01, done=8)[0].startswith("step 9/10")


def test_a_held_out_measurement_always_has_a_line() -> None:
    output = io.StringIO()
    with Progress(Console(file=output), total=100, clock=lambda: 0.0) as progress:
        for step in range(3):
            progress.step({"eval/pass@1": 0.1} if step == 2 else {})
    assert "held-out pass@1 0.100" in output.getvalue()


def test_what_is_said_keeps_its_brackets() -> None:
    output = io.StringIO()
    with Progress(Console(file=output), total=1) as progress:
        progress.say("[red] is no colour here")
    assert output.getvalue() == "[red] is no colour here\n"


def test_a_terminal_shows_phase_reward_and_count() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=160, color_system=None)
    with Progress(console, total=4) as progress:
        progress.phase("judge")
        progress.step({"reward": 0.5})
        progress.say("above the bar")
    shown = output.getvalue()
    assert "judge" in shown
    assert "reward 0.500" in shown
    assert "1/4" in shown
    assert "above the bar" in shown
