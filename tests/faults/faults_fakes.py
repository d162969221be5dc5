"""A run that nothing happened to, put back before each test as it was at some moment, and what there is to compare of two runs."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pipeline import MICRO, rewarded
from typer.testing import CliRunner

from reasoning_rl import cli
from reasoning_rl.eval import evaluate
from reasoning_rl.eval.samples import Parts
from reasoning_rl.files import digest, leftovers, sha256_of
from reasoning_rl.journal import Journal

STAGES = ("data", "train", "eval")
PIECE = 8
"""Answers of an evaluation that are stored at a time: those to 12 problems, 2 each, are 3 pieces."""
Calls = tuple[object, str, int]
"""Of what, of which method of it, how many."""
_STOPS: dict[str, tuple[str, str, Calls]] = {
    "stopped": ("data", "train", (Journal, "metrics", 4)),
    "evaluating": ("train", "eval", (Parts, "write", 2)),
}
"""Moments at which the run was stopped: before which stage it was put back, and where in the next Ctrl-C arrived."""
_OF_THE_PROCESS = {".lock", "environment.json", "resumed.jsonl", "report.html"}
"""The page has one cell more where two reports were not written in the same second."""
_TIMED = ("second", "memory", "step_time")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@dataclass(frozen=True)
class Ended:
    """A command that did, and what it wrote on both streams."""

    code: int
    said: str


@dataclass(frozen=True)
class Whole:
    """The run `one` in a folder of runs, kept as each stage left it, and as it was `stopped` in training and `evaluating`."""

    runs: Path
    kept: Path

    @property
    def run(self) -> Path:
        return self.runs / "one"

    def put_back(self, moment: str | None = None) -> Path:
        """The folder of the run, as it was then; with no moment, before anything was done."""
        shutil.rmtree(self.runs, ignore_errors=True)  # where something is mounted, the folder itself stays
        self.runs.mkdir(exist_ok=True)
        if moment:
            shutil.copytree(self.kept / moment, self.runs, dirs_exist_ok=True)
        return self.run

    def keep(self, moment: str) -> None:
        shutil.copytree(self.runs, self.kept / moment)

    def after(self, *stages: str, like: str = "") -> list[str]:
        """Run the stages; the files that then are not as they were at the moment `like`, the last stage's end if not told."""
        for stage in stages:
            ended = staged(self.runs, stage)
            assert ended.code == 0, ended.said
        return different(prints(self.run), prints(self.kept / (like or stages[-1]) / "one"))

    def half_done(self) -> list[str]:
        """Files that are not as the whole run has them in the end, but for metrics, which may have fewer lines, and what writing left."""
        ours, theirs = prints(self.run), prints(self.kept / "eval" / "one")
        lines, whole = (timeless_lines(folder / "metrics.jsonl") for folder in (self.run, self.kept / "eval" / "one"))
        wrong = [name for name, found in ours.items() if name != "metrics.jsonl" and ".parts-" not in name and found != theirs.get(name)]
        return [*wrong, *map(str, leftovers(self.run)), *([] if lines == whole[: len(lines)] else ["metrics.jsonl"])]


@cache
def whole_in(folder: Path) -> Whole:
    """Made once for all tests, at the place where they are made that are compared with it: its settings name it."""
    whole = Whole(folder / "runs", folder / "kept")
    whole.runs.mkdir(parents=True)
    for stage in STAGES:
        assert staged(whole.runs, stage).code == 0
        whole.keep(stage)
    for moment, (before, stage, calls) in _STOPS.items():
        whole.put_back(before)
        with interrupted(*calls):
            assert staged(whole.runs, stage).code == cli.INTERRUPTED
        whole.keep(moment)
    return whole


def staged(runs: Path, stage: str, *overrides: str) -> Ended:
    """Run a stage of the run `one` as the command line does. Whatever happened, it is not taken for a mistake of reasoning-rl."""
    return command(stage, "--recipe", "smoke", *MICRO, rewarded(runs.parent), f"runs={runs}", "name=one", *overrides)


def command(*arguments: object) -> Ended:
    """`reasoning-rl` in this process, with one thread: results are compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "ANSWERS_PER_CHUNK", PIECE)
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    torch.set_num_threads(threads)
    assert "Traceback" not in result.output, result.output
    assert "mistake of reasoning-rl" not in result.output, result.output
    return Ended(result.exit_code, result.output)


@contextmanager
def interrupted(kind: object, method: str, calls: int) -> Iterator[None]:
    """Ctrl-C arrives when this method has been called so many times."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with followed(kind, method, calls, interrupt):
        yield


@contextmanager
def followed(kind: object, method: str, calls: int, act: Callable[[], object]) -> Iterator[None]:
    """So many calls of this method are followed by one of `act`."""
    original, numbers = getattr(kind, method), iter(range(1, 10_000))

    def called(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if next(numbers) == calls:
            act()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, called)
        yield


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def prints(folder: Path) -> dict[str, str]:
    """A digest of every file of a run, but for times of day and durations."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: _print(path) for name, path in files.items() if path.name not in _OF_THE_PROCESS}


def different(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Names of files that one hasn't, or that are not the same."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def timeless_lines(metrics: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without durations and memory; none where there is none."""
    rows = map(json.loads, metrics.read_text(encoding="utf-8").splitlines()) if metrics.exists() else ()
    return [{name: value for name, value in row.items() if not any(word in name for word in _TIMED)} for row in rows]


def _print(path: Path) -> str:
    if path.name == "metrics.jsonl":
        return digest(timeless_lines(path))
    if path.name in {"report.json", "report.md"}:
        return digest(_MOMENT.sub("then", path.read_text(encoding="utf-8")))
    return sha256_of(path)
