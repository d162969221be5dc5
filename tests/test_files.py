import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.errors import StorageError
from reasoning_rl.files import digest, sha256_of, write_json, write_text, write_whole


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


def test_a_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1: the digest of "abc"
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(write_text(tmp_path / "abc", "abc")) == known


@given(st.dictionaries(st.text(), st.integers()))
def test_a_digest_forgets_the_order_of_keys(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_a_digest_tells_values_apart() -> None:
    assert digest({"a": 1}) != digest({"a": 2})
