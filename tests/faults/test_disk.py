"""A disk that is full, and places that can't be written: one message with the file and the reason, and what was there is whole.

The disk is full by a limit to the size of files, under which a write fails as on a full disk, and where mounting is permitted by one of a
few mebibytes.
"""

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from faults_fakes import Calls, Whole, command, different, followed, prints, staged, whole_in

from reasoning_rl import runfolder, stages
from reasoning_rl.eval.samples import Parts
from reasoning_rl.journal import Journal

MIB = 2**20
BALLAST = "ballast"


@dataclass(frozen=True)
class Case:
    """Room ends in a stage."""

    stage: str
    moment: str | None
    """That it begins from."""
    last: Calls
    """The call after which it ends: of what, which method, which time."""
    named: str
    """In the message."""
    room: int = 0
    """Bytes that a file may have from then on."""


DATA = Case("data", None, (runfolder, "refuse_other_settings", 1), "data/tokenizer")
COLD_START = Case("train", "data", (stages, "_require_enough_prompts", 1), "cold-start-")
ROLLOUTS = Case("train", "data", (Journal, "metrics", 2), "rollouts/step-00002.parquet can't be written")
METRICS = Case("train", "data", (Journal, "rollouts", 2), "metrics.jsonl can't be written")
CHECKPOINT = Case("train", "data", (Journal, "metrics", 3), "checkpoints/step-00002 can't be written")
PIECE = Case("eval", "train", (Parts, "write", 1), "000001.parquet can't be written")
REPORT = Case("eval", "train", (Parts, "remove", 1), "problems.parquet can't be written")
WEIGHTS, STATE = 50_000, 120_000
"""Room for a checkpoint's small files, not for its 90 kB of weights; for these, not for its 190 kB of state."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_in(tmp_path_factory.getbasetemp() / "faults")


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    done = subprocess.run(["mount", *arguments, str(at)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture
def small_disk(whole: Whole) -> Iterator[Path]:
    """Under the folder of runs."""
    whole.put_back()
    with mounted("-t", "tmpfs", "-o", "size=8m", "tmpfs", at=whole.runs):
        yield whole.runs


@contextmanager
def file_limit(size: int) -> Iterator[Callable[[], None]]:
    """From the call on, a write beyond these bytes of a file fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def filled(disk: Path) -> None:
    """To the last block."""
    with (disk / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB // 16))
        except OSError:
            pass


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(DATA, id="data"),
        pytest.param(COLD_START, id="cold start"),
        pytest.param(replace(COLD_START, room=WEIGHTS), id="weights of the cold start"),
        pytest.param(ROLLOUTS, id="rollouts"),
        pytest.param(METRICS, id="metrics"),
        pytest.param(CHECKPOINT, id="checkpoint"),
        pytest.param(replace(CHECKPOINT, room=WEIGHTS), id="weights of a checkpoint"),
        pytest.param(replace(CHECKPOINT, room=STATE), id="state of a checkpoint"),
        pytest.param(PIECE, id="piece of an evaluation"),
        pytest.param(REPORT, id="report"),
    ],
)
def test_what_cannot_be_written_is_named_and_with_room_again_all_ends_as_if_there_had_been(case: Case, whole: Whole) -> None:
    whole.put_back(case.moment)
    with file_limit(case.room) as limit, followed(*case.last, limit):
        ended = staged(whole.runs, case.stage)
    assert (ended.code, ended.said.count("Error: ")) == (7, 1)
    assert case.named in ended.said
    assert "File too large" in ended.said
    assert whole.half_done() == []
    assert whole.after(case.stage) == []


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(DATA, id="data"),
        pytest.param(COLD_START, id="cold start"),
        pytest.param(ROLLOUTS, id="rollouts"),
        pytest.param(CHECKPOINT, id="checkpoint"),
        pytest.param(PIECE, id="piece of an evaluation"),
    ],
)
def test_a_full_disk_is_named_and_with_room_again_all_ends_as_if_there_had_been(case: Case, small_disk: Path, whole: Whole) -> None:
    """A line of metrics is not among them: there is room for it in the last block of the lines before."""
    whole.put_back(case.moment)
    with followed(*case.last, lambda: filled(small_disk)):
        ended = staged(whole.runs, case.stage)
    assert (ended.code, ended.said.count("Error: ")) == (7, 1)
    assert case.named in ended.said
    assert "No space left on device" in ended.said
    assert whole.half_done() == []
    (small_disk / BALLAST).unlink()
    assert whole.after(case.stage) == []


@pytest.mark.parametrize("stage", ["data", "train", "eval"])
def test_a_disk_that_can_only_be_read_is_named(stage: str, whole: Whole) -> None:
    run = whole.put_back("eval")
    with mounted("--bind", "-o", "ro", str(whole.runs), at=whole.runs):
        ended = staged(whole.runs, stage)
    assert ended.code == 7
    assert f"Error: {run} can't be written: Read-only file system" in ended.said
    assert different(prints(run), prints(whole.kept / "eval" / "one")) == []


@pytest.mark.parametrize(
    ("place", "stage", "moment"),
    [
        (".", "data", None),
        ("one", "data", None),
        ("one/data", "data", None),
        ("cache", "train", "data"),
        ("one/rollouts", "train", "data"),
        ("one/checkpoints", "train", "data"),
        ("one/eval", "eval", "train"),
    ],
)
def test_a_file_in_the_way_of_a_folder_is_named_and_left_alone(place: str, stage: str, moment: str | None, whole: Whole) -> None:
    whole.put_back(moment)
    file = whole.runs / place
    if place == ".":
        file.rmdir()
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    ended = staged(whole.runs, stage)
    assert ended.code == 7
    assert f"Error: {file}" in ended.said
    assert "can't be written" in ended.said
    assert file.read_text() == "mine"
    file.unlink()
    assert whole.half_done() == []


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "data/train.parquet", "rollouts/step-00001.parquet", "base.json"])
def test_a_folder_in_the_way_of_a_file_is_named_and_left_alone(name: str, whole: Whole) -> None:
    run = whole.put_back(None if name.startswith("data/") else "data")
    (run / name).mkdir(parents=True)
    ended = staged(whole.runs, "train")
    assert ended.code == 7
    assert f"Error: {run / name}" in ended.said
    assert "Is a directory" in ended.said
    (run / name).rmdir()
    assert whole.half_done() == []


@pytest.mark.parametrize("stage", ["data", "train"])
def test_a_place_where_nothing_can_be_made_is_named(stage: str, whole: Whole) -> None:
    ended = command(stage, "--recipe", "smoke", "runs=/proc/runs")
    assert ended.code == 7
    assert "Error: /proc/runs/smoke can't be written: No such file or directory" in ended.said
