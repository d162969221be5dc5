"""Whole runs on a Ray of this machine: as in process whatever the number of ranks, and through the death of a sampler and of a rank."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from reasoning_rl.cluster.ray_session import connected
from reasoning_rl.config import ClusterConfig
from reasoning_rl.journal import read_metrics, rollout_steps
from reasoning_rl.recipes import load_config
from reasoning_rl.stages import run_training

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STEPS = 20
ENGINES_OWN = "learner.old_logprobs=engine"
"""Stored answers are learned from by the probabilities that they were drawn with."""
LIKE_ONE = {"2": ("cluster.learners=2",), "4": ("cluster.learners=4",), "2 whole": ("cluster.learners=2", "cluster.shard=false")}
AHEAD = ("train.off_policy_steps=2",)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all runs here, which start from one policy, made in process."""
    home = tmp_path_factory.mktemp("cluster")
    config = load_config("smoke", [f"runs={home}", "name=start", "train.steps=0", "policy.autocast=off"])
    run_training(config, resume="auto", console=Console(file=StringIO()))
    return home


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with connected(ClusterConfig(address="local", learners=4, samplers=2)):
        yield


def trained(home: Path, name: str, *overrides: str, steps: int = STEPS) -> Path:
    """The folder of a run of the smoke recipe that has come to its end."""
    (start,) = (home / "cache").glob("cold-start-*")
    asked = [
        f"runs={home}", f"name={name}", f"policy.model={start}", "cold_start.enabled=false", "policy.autocast=off", f"train.steps={steps}",
        "train.save_every=5", "train.eval_every=0", ENGINES_OWN, *overrides,
    ]  # fmt: skip
    config = load_config("smoke", asked)
    run_training(config, resume="auto", console=Console(file=StringIO()))
    return config.folder


def weights(run: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:05d}" / "model.safetensors")


def answers(run: Path) -> list[pd.DataFrame]:
    return [pd.read_parquet(path) for path in rollout_steps(run).values()]


@pytest.fixture(scope="module")
def alone(home: Path) -> Path:
    """In this process."""
    return trained(home, "alone")


def differences(one: Path, other: Path, column: str) -> list[float]:
    """Of every step but the zeroth, in size."""
    here, there = (read_metrics(run)[column].iloc[1:].to_numpy() for run in (one, other))
    return [float(abs(first - second)) for first, second in zip(here, there, strict=True)]


@pytest.mark.parametrize("ranks", LIKE_ONE)
def test_twenty_steps_on_the_same_answers_are_those_of_one_process(home: Path, alone: Path, ranks: str) -> None:
    name = f"ranks-{ranks.replace(' ', '-')}"
    run = trained(home, name, "cluster.address=auto", f"train.rollouts={alone}", *LIKE_ONE[ranks])
    for column, most in {"loss": 1e-6, "grad_norm": 1e-4, "entropy": 1e-5, "learner/tokens": 0.0}.items():
        assert max(differences(alone, run, column)) <= most, column
    for name, tensor in weights(alone).items():
        # weights have moved by up to 5e-3, and Adam enlarges what rounds otherwise
        torch.testing.assert_close(weights(run)[name], tensor, rtol=0, atol=5e-5)


def test_a_run_with_samplers_is_that_of_one_process_until_a_token_falls_otherwise(home: Path, alone: Path) -> None:
    """Sums differ in their last digit by the number of ranks, and a draw may lie that near to the border between two tokens."""
    run = trained(home, "samplers", "cluster.address=auto", "cluster.learners=2", "cluster.samplers=2")
    pairs = zip(answers(alone), answers(run), strict=True)
    same = [list(map(tuple, one["token_ids"])) == list(map(tuple, other["token_ids"])) for one, other in pairs]
    until = same.index(False) if False in same else STEPS
    assert until >= 3
    for column, most in {"reward": 0.0, "num_tokens": 0.0, "loss": 1e-6, "grad_norm": 1e-4}.items():
        assert max(differences(alone, run, column)[:until]) <= most, column


def test_answers_are_as_old_as_asked_for_and_the_same_as_in_process(home: Path) -> None:
    here = trained(home, "ahead-here", *AHEAD, steps=5)
    there = trained(home, "ahead-there", "cluster.address=auto", "cluster.samplers=2", *AHEAD, steps=5)
    for step, (one, other) in enumerate(zip(answers(here), answers(there), strict=True)):
        assert set(other["policy_version"]) == {max(0, step - 2)}
        assert list(map(tuple, one["token_ids"])) == list(map(tuple, other["token_ids"]))
    assert read_metrics(there)["sampling/staleness/max"].iloc[1:].tolist() == [0, 1, 2, 2, 2]


@pytest.mark.parametrize(("victim", "step"), [("ray::Process", 3), ("ray::Rank", 7)])
def test_a_killed_process_costs_no_answer_and_no_step(home: Path, victim: str, step: int) -> None:
    overrides = ("cluster.address=auto", "cluster.learners=2", "cluster.samplers=2", "train.restarts=1")
    with killing(victim, home / victim[5:] / "rollouts" / f"step-{step:05d}.parquet") as killed:
        run = trained(home, victim[5:], *overrides, steps=10)
    assert len(killed) == 1
    assert read_metrics(run)["step"].tolist() == list(range(11))
    assert [len(table) for table in answers(run)] == [8 * 4] * 10  # smoke: 8 prompts, 4 answers each
    assert all(set(table.groupby("group").size()) == {4} for table in answers(run))
    assert read_metrics(run)["cluster/replaced"].sum() == (1 if victim == "ray::Process" else 0)


@contextmanager
def killing(title: str, when: Path) -> Iterator[list[int]]:
    """Kills one process of this title as soon as there is a file of this name; its number."""
    killed: list[int] = []
    over = threading.Event()

    def wait() -> None:
        while not over.wait(0.02):
            if when.exists():
                killed.append(next(pid for pid in _children(os.getpid()) if _title(pid).startswith(title)))
                os.kill(killed[0], signal.SIGKILL)
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _children(pid: int) -> Iterator[int]:
    """Those of this process, and theirs: other runs have a Ray of their own."""
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _read(listed).split()):
            yield child
            yield from _children(child)


def _title(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has just ended
        return ""
