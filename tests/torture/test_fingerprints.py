import json
from pathlib import Path

from fingerprints import difference, fingerprint, summary


def made(runs: Path, *, seconds: float = 0.5, loss: float = 0.25, when: str = "2026-01-02T03:04:05+00:00", started: str = "now") -> Path:
    """A run with a file of each kind, and a cache beside it."""
    run = runs / "smoke"
    for folder in (run / "eval" / "base", run / "checkpoints" / "step-00002", runs / "cache" / "cold-start-1"):
        folder.mkdir(parents=True)
    row = {
        "step": 1,
        "loss": loss,
        "step_time": seconds,
        "seconds/learn": seconds,
        "memory/peak_mib": seconds,
        "tokens_per_second": seconds,
    }
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (run / "eval" / "base" / "report.json").write_text(json.dumps({"name": "base", "created": when}))
    (run / "environment.json").write_text(started)
    (run / "resumed.jsonl").write_text(started)
    (run / ".lock").write_text(started)
    (run / "checkpoints" / "step-00002" / "training.pt").write_bytes(b"state")
    (runs / "cache" / "cold-start-1" / "model.safetensors").write_bytes(b"weights")
    return run


def test_time_memory_and_process_leave_no_trace_in_a_fingerprint(tmp_path: Path) -> None:
    one = fingerprint(made(tmp_path / "one"))
    other = fingerprint(made(tmp_path / "other", seconds=9.0, when="2027-01-02T03:04:05+00:00", started="later"))

    assert difference(one, other) == []
    assert summary(one) == summary(other)


def test_each_file_that_counts_has_its_line(tmp_path: Path) -> None:
    assert sorted(fingerprint(made(tmp_path))) == [
        "cache/cold-start-1/model.safetensors",
        "smoke/checkpoints/step-00002/training.pt",
        "smoke/eval/base/report.json",
        "smoke/metrics.jsonl",
    ]


def test_another_loss_is_seen(tmp_path: Path) -> None:
    one, other = (fingerprint(made(tmp_path / name, loss=loss)) for name, loss in (("one", 0.25), ("other", 0.2500001)))

    assert difference(one, other) == ["smoke/metrics.jsonl: differs"]
    assert summary(one) != summary(other)


def test_a_torn_line_is_seen(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    with (other / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 2, "lo')

    assert difference(fingerprint(one), fingerprint(other)) == ["smoke/metrics.jsonl: differs"]


def test_a_byte_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    (other / "checkpoints" / "step-00002" / "training.pt").write_bytes(b"stake")

    assert difference(fingerprint(one), fingerprint(other)) == ["smoke/checkpoints/step-00002/training.pt: differs"]


def test_what_an_interrupted_write_left_is_seen(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    (other / ".base.json.123.tmp").write_text("half")

    assert difference(fingerprint(one), fingerprint(other)) == ["smoke/.base.json.123.tmp: only in the second"]
