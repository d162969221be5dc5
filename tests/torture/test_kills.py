"""The torturer, on a program that takes a second: whether it finds what is wrong, above all."""

from pathlib import Path

import pytest
from kills import main

PROGRAM = """
import pathlib, subprocess, sys, time
stage, run = sys.argv[1], pathlib.Path("runs/smoke")
run.mkdir(parents=True, exist_ok=True)
texts = ("begin", {{"train": "Training by nobody", "eval": "eval/base"}}.get(stage, "go on"))
{begin}
with (run / f"{{stage}}.txt").open("{mode}") as file:
    for text in texts:
        file.write(text)
        file.flush()
        print(text, flush=True)
        time.sleep(0.3)
"""


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, *, mode: str = "w", begin: str = "") -> list[str]:
    """One that takes the place of reasoning_rl in processes; returns arguments for the torturer."""
    package = folder / "program" / "reasoning_rl"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(PROGRAM.format(mode=mode, begin=begin))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return ["--kills", "5", "--folder", str(folder)]


def kept(folder: Path) -> list[Path]:
    return list(folder.glob("torture-*"))


def test_a_program_that_begins_each_file_anew_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(program(tmp_path, monkeypatch)) == 0

    *_, counted, undisturbed, chains = capsys.readouterr().out.splitlines()
    assert counted.startswith("5 kills in ")
    assert undisturbed.split()[-1] == chains.split()[-1]
    assert not kept(tmp_path)


def test_a_program_that_goes_on_in_a_torn_file_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(program(tmp_path, monkeypatch, mode="a")) == 1

    said = capsys.readouterr().err
    assert "smoke/train.txt: differs" in said
    assert kept(tmp_path)


def test_a_program_that_fails_after_a_kill_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = 'if (run / f"{stage}.txt").exists(): sys.exit(f"{stage}: is there already")'
    assert main(program(tmp_path, monkeypatch, begin=refusing)) == 1

    said = capsys.readouterr().err
    assert "ended with exit code 1" in said
    assert "is there already" in said


def test_a_process_that_outlives_its_killed_parent_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.ORPHANS_S", 0.2)
    lingering = 'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])'
    assert main(program(tmp_path, monkeypatch, begin=lingering)) == 1

    assert "its processes were still there" in capsys.readouterr().err


def test_stages_that_are_always_over_before_their_kill_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once = 'if pathlib.Path.cwd().name.startswith("chain"): (run / f"{stage}.txt").write_text("".join(texts)); sys.exit(0)'
    assert main(program(tmp_path, monkeypatch, begin=at_once)) == 1

    assert "ended before they could be killed" in capsys.readouterr().err
