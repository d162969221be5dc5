"""A run as the stages leave it, made by hand in an instant: four steps, two checkpoints, one evaluation."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reasoning_rl import runfolder
from reasoning_rl.checksums import write_sums
from reasoning_rl.data.manifest import Manifest, write_manifest
from reasoning_rl.eval.report import TABLES, Report
from reasoning_rl.eval.samples import Parts, sample_rows
from reasoning_rl.files import sha256_of
from reasoning_rl.journal import Journal
from reasoning_rl.recipes import dump_config, load_config
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict

STEPS = 4
COLD_START = "cold-start-0123456789abcdef"


def made_run(runs: Path, name: str = "one", *, cold_start: str = COLD_START) -> Path:
    """The folder of a run that is done."""
    config = load_config("smoke", [f"runs={runs}", f"name={name}", f"train.steps={STEPS}", "train.save_every=2"])
    runfolder.begin(config, "auto")
    runfolder.note_base(config, str(made_weights(runs / "cache" / cold_start)), "of it")
    made_data(config.folder / "data")
    trained(config.folder, range(STEPS + 1))
    for step in (2, 4):
        made_weights(config.folder / "checkpoints" / f"step-{step:05d}", "training.pt")
    made_evaluation(config.folder / "eval" / "base")
    return config.folder


def made_data(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "train.parquet").write_text("problems")
    files = {"train.parquet": sha256_of(folder / "train.parquet")}
    write_manifest(folder, Manifest("arithmetic", {}, {}, files, "plain", "", "tokenizer", 0, {}, "", "0.1.0"))


def trained(folder: Path, steps: Iterable[int]) -> None:
    """Rows of metrics; of all steps but the zeroth, answers too."""
    with Journal(folder) as book:
        for step in steps:
            if step:
                book.rollouts(step, [_group()])
            book.metrics({"step": step, "reward": 0.5})


def best_at(run: Path, best: int) -> None:
    """The run keeps its best checkpoint by a score, which is highest at this step."""
    config = load_config(str(run / "config.yaml"), ["train.keep_best=eval/pass@1"])
    (run / "config.yaml").write_text(dump_config(config))
    rows = [{"step": step, "eval/pass@1": float(step == best)} for step in range(STEPS + 1)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def made_evaluation(folder: Path, identity: str = "these answers") -> None:
    """Of one problem, in one piece."""
    parts = made_pieces(folder, identity)
    parts.join(1)
    parts.remove()
    (folder / "problems.parquet").write_text("problems")
    files = {name: sha256_of(folder / name) for name in TABLES}
    report = Report(folder.name, "2026-01-02T03:04:05+00:00", (), (), {}, {}, {"files": files})
    (folder / "report.json").write_text(report.to_json())


def made_pieces(folder: Path, identity: str) -> Parts:
    """An evaluation that was stopped behind its first piece."""
    parts = Parts(folder, identity)
    parts.write(0, sample_rows(_group(), "sampled"))
    return parts


def _group() -> Group:
    problem, score = Problem("toy/1", "toy", "train", "1 + 1?", "2"), Score(1.0, "correct", answer="2")
    return Group(Prompt(problem, "1 + 1?", (1,)), (Completion("2", (1, 2)),), (Verdict(1.0, {"math": score}, answer=score),))


def made_weights(folder: Path, *more: str) -> Path:
    """A folder of a model with checksums; `more` files beside."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for name in ("config.json", "model.safetensors", *more):
            (folder / name).write_bytes(name.encode() * 100)
        write_sums(folder)
    return folder


@contextmanager
def in_use(run: Path) -> Iterator[int]:
    """Another process, whose id this is, writes in the run's folder meanwhile."""
    program = (
        f"from reasoning_rl.claim import claimed; from pathlib import Path\nwith claimed(Path({str(run)!r})): print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        user.stdout.readline()
        yield user.pid
        user.communicate("\n")


def corrupted(path: Path) -> None:
    """One bit in the middle of a file is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def torn(path: Path) -> None:
    """Only its first half is there."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
