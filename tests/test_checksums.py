import shutil
import subprocess
from pathlib import Path

import pytest

from reasoning_rl.checksums import SUMS, damage, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "one").write_text("1")
    (tmp_path / "below" / "two").write_bytes(bytes(range(256)))
    write_sums(tmp_path)
    return tmp_path


def test_a_folder_as_it_was_written_has_no_damage_and_what_came_later_is_none(folder: Path) -> None:
    assert damage(folder) is None
    (folder / "later").write_text("a user's note")
    assert damage(folder) is None


def test_damage_is_named(folder: Path) -> None:
    (folder / "below" / "two").write_bytes(bytes(range(255)))
    assert damage(folder) == "below/two is not as it was written"
    (folder / "below" / "two").unlink()
    assert damage(folder) == "below/two is missing"
    (folder / SUMS).write_text("")
    assert damage(folder) == "SHA256SUMS is empty"
    (folder / SUMS).write_bytes(b"\xff\xfe")
    assert damage(folder) == "SHA256SUMS is unreadable"
    (folder / SUMS).unlink()
    assert damage(folder) == "SHA256SUMS is missing"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_coreutils_read_the_file(folder: Path) -> None:
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=False).returncode == 0
    (folder / "one").write_text("2")
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=False, capture_output=True).returncode == 1
