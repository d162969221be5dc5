"""The same seed in two fresh folders, with another number of workers for the judge: nothing is another but where that number is quoted."""

from pathlib import Path

import pytest
from fingerprints import MOMENT, difference, fingerprint
from stages import run_all


def left_in(folder: Path, workers: int) -> Path:
    folder.mkdir()
    run_all(folder, "smoke", [f"judge.workers={workers}"])
    return folder / "runs" / "smoke"


def page(run: Path) -> bytes:
    """Less the moments, and the row of its table of settings that has the number."""
    lines = (run / "eval" / "report.html").read_bytes().splitlines()
    return MOMENT.sub(b"", b"\n".join(line for line in lines if b"judge.workers" not in line))


@pytest.mark.slow
def test_neither_the_folder_nor_the_number_of_workers_changes_a_result(tmp_path: Path) -> None:
    one, other = left_in(tmp_path / "one", workers=1), left_in(tmp_path / "other", workers=3)

    digests = fingerprint(one)
    assert {"smoke/metrics.jsonl", "smoke/eval/trained/report.json", "smoke/checkpoints/step-00004/training.pt"} <= digests.keys()
    assert difference(digests, fingerprint(other)) == ["smoke/config.yaml: differs", "smoke/eval/report.html: differs"]
    assert page(one) == page(other)
