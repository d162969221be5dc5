import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.errors import StorageError
from reasoning_rl.files import digest, discard, leftovers, sha256_of, sweep, whole_folder, write_json, write_text, write_whole


def test_a_file_is_put_in_place_with_its_folders(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a" / "b.json", {"π": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "π": 1\n}\n'


def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.txt", "old")

    def torn(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, torn)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]  # noqa: PTH208  # names are enough


def test_a_folder_that_is_a_file_is_a_storage_error_with_the_path(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(StorageError, match=r"file/x\.txt can't be written"):
        write_text(tmp_path / "file" / "x.txt", "")


def test_a_full_disk_is_a_storage_error_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "x.txt", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"x\.txt can't be written: No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_folder_appears_when_it_is_whole_and_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with whole_folder(tmp_path / "a" / "b") as folder:
            (folder / "below").mkdir()
            (folder / "below" / content).touch()
    assert [path.name for path in (tmp_path / "a" / "b").rglob("*")] == ["below", "new"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_that_was_not_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()

    def begin() -> None:
        with whole_folder(tmp_path / "b") as folder:
            (folder / "new").touch()
            raise KeyError

    with pytest.raises(KeyError):
        begin()
    assert [path.name for path in tmp_path.rglob("*")] == ["b"]


def test_what_a_killed_process_left_is_found_and_swept_and_nothing_else(tmp_path: Path) -> None:
    """It has the numbers of processes that are no more."""
    for name in (".x.txt.7.tmp", "below/.y.8.tmp", ".folder.9.tmp/.inner.9.tmp", ".folder.9.tmp/file", "x.tmp", ".hidden", "below/z"):
        write_text(tmp_path / name, "")
    assert {path.relative_to(tmp_path).as_posix() for path in leftovers(tmp_path)} == {".x.txt.7.tmp", "below/.y.8.tmp", ".folder.9.tmp"}
    sweep(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"x.tmp", ".hidden", "below", "z"}


def test_what_is_removed_loses_its_name_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "folder" / "file", "")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        discard(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    assert len(leftovers(tmp_path)) == 1


def test_what_an_earlier_process_of_the_same_number_left_is_no_obstacle(tmp_path: Path) -> None:
    """In a container numbers come again soon."""
    write_text(tmp_path / f".folder.{os.getpid()}.old.tmp" / "file", "")
    write_text(tmp_path / "folder" / "file", "")
    discard(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_to_remove_what_is_not_there_is_no_failure_and_a_link_is_not_followed(tmp_path: Path) -> None:
    discard(tmp_path / "absent")
    write_text(tmp_path / "kept" / "file", "")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    discard(tmp_path / "link")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_a_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1: the digest of "abc"
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(write_text(tmp_path / "abc", "abc")) == known


@given(st.dictionaries(st.text(), st.integers()))
def test_a_digest_forgets_the_order_of_keys(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_a_digest_tells_values_apart() -> None:
    assert digest({"a": 1}) != digest({"a": 2})
