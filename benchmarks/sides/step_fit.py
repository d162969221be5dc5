"""Seconds of measured steps as a sum of few terms, fitted by least squares, and predictions of runs that the fit has not seen.

    sample         once + token · tokens / min(processes, cores) + peer · (processes − 1)
    learn          the same; where weights are shared out, shard + shard_peer · (processes − 1) in place of peer · (processes − 1)
    judge, rest    once + answer · answers

`rest` is what the driver does besides. In a cluster `learn` holds the publishing of the weights, and `sample` their way into the samplers.
No coefficient is below 0: nothing gives time back. A step is the sum of its parts; off-policy it is max(sample + judge, learn + rest),
which is not fitted, but predicted from runs in turn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import nnls

from reasoning_rl.config import Config
from reasoning_rl.recipes import load_config

Row = Mapping[str, Any]
"""Of metrics.jsonl."""
Terms = dict[str, float]
Coefficients = dict[str, Terms]
"""Seconds by phase and term."""

WARMING = 1
"""Steps that build kernels, left out."""


@dataclass(frozen=True)
class Run:
    """A measured one."""

    name: str
    samplers: int
    learners: int
    cores: int
    rows: Sequence[Row]
    lag: int = 0
    """`train.off_policy_steps`."""
    shard: bool = False
    """Whether the learners share the weights out."""

    @property
    def seen_s(self) -> dict[str, float]:
        """Medians over steps, by phase and of the whole step; of this alone where phases lie beside each other."""
        phases = ("step",) if self.lag else (*PHASES, "step")
        return {phase: median(_seen(phase, row) for row in self.rows) for phase in phases}

    def predicted_s(self, coefficients: Coefficients) -> dict[str, float]:
        """The same from the sizes of its steps alone."""
        parts = {phase: [_said(phase, self, row, coefficients) for row in self.rows] for phase in PHASES}
        steps = map(_ahead if self.lag else _in_turn, *parts.values())
        return {**{phase: median(each) for phase, each in parts.items()}, "step": median(steps)}


def _in_turn(*parts: float) -> float:
    return sum(parts)


def _ahead(sample: float, judge: float, learn: float, rest: float) -> float:
    return max(sample + judge, learn + rest)


def _shared(processes: int, run: Run, row: Row) -> Terms:
    return {"once": 1.0, "token": row["num_tokens"] / min(processes, run.cores), "peer": processes - 1.0}


def _sample(run: Run, row: Row) -> Terms:
    return _shared(run.samplers, run, row)


def _learn(run: Run, row: Row) -> Terms:
    terms, peers = _shared(run.learners, run, row), run.learners - 1.0
    return {**terms, "peer": peers * (not run.shard), "shard": float(run.shard), "shard_peer": peers * run.shard}


def _by_answer(_: Run, row: Row) -> Terms:
    return {"once": 1.0, "answer": row["num_completions"]}


PHASES = {"sample": _sample, "judge": _by_answer, "learn": _learn, "rest": _by_answer}


def _seen(phase: str, row: Row) -> float:
    if phase == "step":
        return float(row["step_time"])
    if phase == "rest":
        return float(row["step_time"]) - sum(_seen(other, row) for other in PHASES if other != "rest")
    return float(row[f"seconds/{phase}"])


def _said(phase: str, run: Run, row: Row, coefficients: Coefficients) -> float:
    return sum(coefficients[phase][term] * value for term, value in PHASES[phase](run, row).items())


def fit(runs: Sequence[Run]) -> Coefficients:
    """Of all steps of the runs in turn among these, each run counting the same."""
    return {phase: _fitted(phase, [run for run in runs if not run.lag]) for phase in PHASES}


def _fitted(phase: str, runs: Sequence[Run]) -> Terms:
    steps = [(run, row, len(run.rows) ** -0.5) for run in runs for row in run.rows]
    values = [PHASES[phase](run, row) for run, row, _ in steps]
    names, scales = list(values[0]), np.array([each for *_, each in steps])
    matrix = np.array([[each[name] for name in names] for each in values]) * scales[:, None]
    seen = np.array([_seen(phase, row) for _, row, _ in steps]) * scales
    return dict(zip(names, map(float, nnls(matrix, np.maximum(seen, 0.0))[0]), strict=True))


def unseen(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each run, predicted by a fit on the others."""
    return [compared(run, fit([other for other in runs if other is not run])) for run in runs]


def compared(run: Run, coefficients: Coefficients) -> dict[str, Any]:
    """What was seen, what is predicted, and how far the prediction is off as a share of what was seen."""
    seen, predicted = run.seen_s, run.predicted_s(coefficients)
    sizes = {
        "samplers": run.samplers,
        "learners": run.learners,
        "shard": run.shard,
        "answers": run.rows[0]["num_completions"],
        "lag": run.lag,
    }
    return {
        "run": run.name, **sizes, "seen_s": _rounded(seen), "predicted_s": _rounded(predicted),
        "off": round(predicted["step"] / seen["step"] - 1, 3),
    }  # fmt: skip


def _rounded(seconds: Terms) -> Terms:
    return {name: round(value, 4) for name, value in seconds.items()}


def measured(folder: Path) -> Run:
    """From the files of a run. ValueError where it has too few steps. Off-policy, those with more or less to sample are left out too."""
    config = load_config(folder / "config.yaml")
    lag = config.train.off_policy_steps
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [row for row in map(json.loads, lines) if "step_time" in row]
    rows = steps[WARMING + lag : len(steps) - lag]
    if not rows:
        raise ValueError(f"{folder}: {len(steps)} steps in metrics.jsonl; {WARMING + 2 * lag + 1} or more are needed")
    cores = json.loads((folder / "environment.json").read_text(encoding="utf-8"))["cores"]
    return Run(folder.name, *_processes(config), cores, rows, lag, config.cluster.address is not None and config.cluster.shard)


def _processes(config: Config) -> tuple[int, int]:
    """That sample and that learn."""
    if config.cluster.address is None:
        return config.learner.processes, config.learner.processes
    return config.cluster.samplers, config.cluster.learners
