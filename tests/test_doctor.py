"""`doctor` of the machine: what it reads of the system, and what a recipe would still need."""

import errno
import fcntl
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasoning_rl import cli, doctor, limits
from reasoning_rl.errors import VerifierError
from reasoning_rl.recipes import load_config
from reasoning_rl.rollout import judge

BARE = doctor.Machine(cores=1, memory_gib=4, disk_gib=10, gpus=(), threads="1")
GIB = 1024**3


def test_free_memory_is_what_can_be_had_without_swapping(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable:    2048 kB\n")
    assert limits.free_memory(tmp_path) == 2048 * 1024
    assert limits.free_memory(tmp_path / "elsewhere") is None


def grouped(folder: Path, table: str, **bounds: str) -> int | None:
    """The bound, where the process is in the groups of `table`. `bounds` names files, with a double underscore for a slash."""
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text(table)
    for name, bound in bounds.items():
        path = folder / "groups" / name.replace("__", "/").replace("_limit", ".limit").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{bound}\n")
    return limits.group_memory(folder, folder / "groups")


def test_the_tightest_group_of_all_that_hold_the_process_binds(tmp_path: Path) -> None:
    table = "0::/pod/container\n"
    assert grouped(tmp_path, table, memory_max="max", pod__memory_max="3000", pod__container__memory_max="4000") == 3000


def test_groups_of_the_first_version_bind_too(tmp_path: Path) -> None:
    table = "5:devices:/\n4:memory,hugetlb:/job\n"
    assert grouped(tmp_path, table, memory__memory_limit_in_bytes="9223372036854771712", memory__job__memory_limit_in_bytes="5000") == 5000


def test_without_a_bound_there_is_none(tmp_path: Path) -> None:
    assert grouped(tmp_path, "0::/\n", memory_max="max") is None
    assert limits.group_memory(tmp_path / "elsewhere") is None


def test_a_bound_is_told_only_where_it_is_below_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "group_memory", lambda: GIB // 2)
    assert doctor.inspect(tmp_path).allowed_gib == 0.5
    monkeypatch.setattr(limits, "group_memory", lambda: 2**62)
    assert doctor.inspect(tmp_path).allowed_gib is None


def test_a_folder_where_runs_can_lie_is_left_as_it_was(tmp_path: Path) -> None:
    assert limits.storage_fault(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = "can't be locked, which keeps two processes from one run: No locks available"
    assert limits.storage_fault(tmp_path) == told


def test_a_folder_that_can_not_be_written_is_told_and_one_that_is_not_there_is_made_in_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert limits.storage_fault(tmp_path / "absent") == "can't be written: No such file or directory"
    assert limits.lasting(tmp_path / "absent" / "runs") == tmp_path
    assert doctor.inspect(tmp_path / "absent" / "runs").runs == f"{tmp_path}/absent/runs can be written and locked"


def test_open_files_are_those_of_the_soft_limit() -> None:
    assert limits.open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_judging_is_tried_with_a_process_of_its_own() -> None:
    assert doctor.judging().startswith("works; a process started in ")


def test_where_no_process_can_be_started_judging_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> "subprocess.Popen[bytes]":
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(judge, "start_python", refuse)
    assert doctor.judging() == "fails: [Errno 11] Resource temporarily unavailable"


def test_where_a_verifier_can_not_be_loaded_judging_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            raise VerifierError("math: no module named 'sympy'\nmore")

    monkeypatch.setattr(doctor, "Judge", Broken)
    assert doctor.judging() == "fails: math: no module named 'sympy'"


def test_a_recipe_that_opens_more_files_than_are_allowed_is_told_so() -> None:
    many = load_config("smoke", ["judge.workers=100"])  # 64 + 2 · 100
    assert list(doctor.needed(many, replace(BARE, open_files=263))) == ["opens up to 264 files; allowed are 263 (ulimit -n 264)"]
    assert list(doctor.needed(many, replace(BARE, open_files=264))) == []


def test_libraries_of_a_recipe_are_told_by_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda _: None)
    recipe = load_config("smoke", ["policy.lora.rank=8", "learner.optimizer=adamw8bit"])
    assert list(doctor.needed(recipe, BARE)) == [f"needs pip install 'reasoning-rl[{extra}]'" for extra in ("peft", "bitsandbytes")]


def test_the_tables_say_where_runs_lie_and_whether_judging_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 3 * GIB)
    monkeypatch.setattr(limits, "group_memory", lambda: GIB // 2)
    result = CliRunner().invoke(cli.app, ["doctor", "--runs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "3.0 of it free now; a control group allows 0.5 GiB" in said
    assert "can be written and locked" in said
    assert "works; a process started in" in said
