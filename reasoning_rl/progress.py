"""How far a run is: a live bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Mapping
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_QUIET_S = 10.0
"""Between two plain lines."""
_SHOWN = {
    "nll": "loss per token",
    "reward": "reward",
    "pass_rate": "pass rate",
    "completions/mean_length": "tokens",
    "eval/pass@1": "held-out pass@1",
}


class Progress:
    """`with Progress(console, total=steps, done=start) as progress: progress.phase("sample"); progress.step(metrics)`."""

    def __init__(self, console: Console, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._total, self._done, self._clock = console, total, done, clock
        self._start, self._first, self._began = done, done, clock()
        self._last_line = self._began - _QUIET_S
        self._bar = _bar(console) if console.is_terminal else None
        self._phase, self._summary = "", ""
        self._task = self._bar.add_task("", total=total, completed=done, phase="", summary="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar:
            self._bar.stop()

    def phase(self, name: str) -> None:
        """What the step does now: sample, judge, learn."""
        self._phase = name
        self._refresh()

    def step(self, metrics: Mapping[str, float | int]) -> None:
        """One step is done, and these are its metrics. The first counts for no time left: it loads and builds what the others use."""
        self._done += 1
        if self._done == self._start + 1:
            self._began, self._first = self._clock(), self._done
        self._summary = "  ".join(f"{label} {_short(metrics[name])}" for name, label in _SHOWN.items() if name in metrics)
        self._show("step", at_once="eval/pass@1" in metrics)

    def at(self, done: int, total: int) -> None:
        """So much is done, where nothing is measured on the way."""
        self._done, self._total = done, total
        self._show(self._phase)

    def say(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _show(self, word: str, at_once: bool = False) -> None:
        if self._bar:
            self._refresh()
        elif at_once or self._line_is_due():
            self._last_line = self._clock()
            parts = (f"{word} {self._done}/{self._total}", self._summary, self._time_left())
            self.say("  ".join(part for part in parts if part))

    def _refresh(self) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done, total=self._total, phase=self._phase, summary=self._summary)

    def _line_is_due(self) -> bool:
        return self._done == self._total or self._clock() - self._last_line >= _QUIET_S

    def _time_left(self) -> str:
        if self._done <= self._first:
            return ""
        per_step_s = (self._clock() - self._began) / (self._done - self._first)
        return f"{per_step_s:.2g} s each, {_duration(per_step_s * (self._total - self._done))} left"


def _bar(console: Console) -> Bar:
    columns = (
        SpinnerColumn(),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[phase]:<6}"),
        TextColumn("{task.fields[summary]}"),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=console, speed_estimate_period=300)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no minus before a zero


def _duration(seconds: float) -> str:
    """A span in its two largest units.

    >>> _duration(75), _duration(7260), _duration(4)
    ('1 min 15 s', '2 h 01 min', '4 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
