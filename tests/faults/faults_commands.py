"""The command line in processes of their own, which signals may be sent to. All are forked from one that has imported everything, once."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "transformers", "pandas", "matplotlib.pyplot", "reasoning_rl.evalstage", "reasoning_rl.train"])
SECONDS = 60.0
"""Whatever is waited for takes a few, on a busy machine some more."""
HOLD = "FAULTS_HOLD"
"""In the environment: split and policy version whose first answer the verifier of `faults_runs` holds on to, and where it says so."""


def until(happened: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait; TimeoutError if it does not."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:g} s")
        time.sleep(0.01)


@dataclass(frozen=True)
class Hold:
    """A verifier stands still at the first answer to a problem of this split by a policy of this version, until it is let go."""

    folder: Path
    split: str = "train"
    version: int = 2

    @property
    def environment(self) -> dict[str, str]:
        self.folder.mkdir(exist_ok=True)
        return {HOLD: f"{self.split} {self.version} {self.folder}"}

    def wait(self) -> None:
        """Until it stands still."""
        until((self.folder / "here").exists, "an answer that is held")

    def let_go(self) -> None:
        (self.folder / "go").touch()


@dataclass(frozen=True)
class Command:
    """One that was started, with a process group of its own."""

    process: ForkServerProcess
    output: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def said(self) -> str:
        """So far."""
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """To it alone, or to all processes that it has started too, as a terminal or a scheduler does."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> int:
        """Its exit code."""
        until(lambda: not self.process.is_alive(), f"an end of {self.process.name}")
        code = self.process.exitcode
        assert code is not None
        return code

    def living(self) -> list[int]:
        """Processes of its group that have not ended."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_mine(entry)]

    def _is_mine(self, entry: Path) -> bool:
        try:
            state, _parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:  # ended meanwhile
            return False
        return int(group) == self.pid and state not in "ZX"

    def children(self, word: str) -> list[int]:
        """Those of `living` whose command line has this word in it."""
        return [pid for pid in self.living() if pid != self.pid and word in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")]


def started(arguments: Sequence[str], output: Path, environment: dict[str, str] | None = None) -> Command:
    """`reasoning-rl` with these arguments; what it says goes to `output`."""
    process = _CONTEXT.Process(target=_live, args=(list(arguments), output, environment or {}), name=f"reasoning-rl {arguments[0]}")
    process.start()
    return Command(process, output)


def ended(arguments: Sequence[str], output: Path) -> tuple[int, str]:
    """Exit code, and what it said."""
    command = started(arguments, output)
    return command.wait(), command.said


def _live(arguments: list[str], output: Path, environment: dict[str, str]) -> None:
    import torch

    from reasoning_rl.cli import main

    os.setpgid(0, 0)
    vars(resource_tracker)["_resource_tracker"].__dict__["_fd"] = None  # a command has none until it starts a worker
    os.environ.update({"OMP_NUM_THREADS": "1", **environment})
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    torch.set_num_threads(1)  # results are compared bit by bit
    sys.argv = ["reasoning-rl", *arguments]
    main()
