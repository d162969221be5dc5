"""A run on several nodes of Ray, of which one part or another is killed at random instants: it must come to its end all the same.

    python tests/torture/cluster_kills.py --kills 20 --seed 0

The nodes are Ray's own, several on one machine: a head without cores, and two with room for everything. Victims are in turn a sampler, a
rank of the learners, a whole node, in whose place another joins, and the driver, whose command is given again. At the end of each chain
every step must be there once, with every answer to every prompt once, and the report must be of the same problems and as many answers as
that of an undisturbed run. Otherwise this ends with exit code 1 and keeps the folders.
"""

import os
import shutil
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

import pandas as pd
from processes import descendants
from stages import BrokenPromiseError, Running, finish
from torture_command import commanded, fresh

from reasoning_rl.journal import read_metrics, rollout_steps

VICTIMS = ("sampler", "learner", "node", "driver")
MOST_A_CHAIN = 8
_TITLES = {"sampler": "ray::Process", "learner": "ray::Rank"}
"""That Ray gives the processes of our actors."""
_CORES, _NODES = 4, 2
_BEGINS = "Training by "
_ENDS_WITHIN_S, _SHOWS_WITHIN_S, _LOOK_EVERY_S = 600.0, 120.0, 0.2
_ASKED = ("cluster.learners=2", "cluster.samplers=2", "cluster.wait_s=120", "train.steps=16", "train.save_every=3", "train.restarts=20")


class Nodes:
    """Ray nodes of one machine. A context manager."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_AUTH_MODE"] = "disabled"  # of nodes that only this knows of
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._workers: list[Any] = []
        for _ in range(_NODES):
            self.join()

    def command(self) -> list[str]:
        """What a driver is told."""
        return [f"cluster.address={self._cluster.address}", *_ASKED]

    def join(self) -> None:
        """One more."""
        self._workers.append(self._cluster.add_node(num_cpus=_CORES))

    def pids(self, victim: str) -> list[int]:
        """Of all processes with actors of this kind."""
        started = [process.pid for node in self._workers for process in descendants(_raylet(node))]
        return [pid for pid in started if _title(pid).startswith(_TITLES[victim])]

    def lose_one(self, random: Random) -> None:
        """Any but the head, with all that is on it; another joins."""
        node = self._workers.pop(random.randrange(len(self._workers)))
        for process in descendants(_raylet(node)):
            _kill(process.pid)
        self._cluster.remove_node(node, allow_graceful=False)
        self.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._cluster.shutdown()


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has just ended
        return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Left:
    """What a run has come to, as far as chance has no part in it."""

    steps: tuple[int, ...]
    prompts: tuple[tuple[str, ...], ...]
    """Ids of problems, by step."""
    answers: tuple[int, ...]
    """By step."""
    reported: tuple[tuple[str, str, int], ...]
    """Policy, problem and number of samples."""


def left(run: Path) -> Left:
    """BrokenPromiseError where an answer stands twice, or is missing in its group."""
    rollouts = [pd.read_parquet(path, columns=["problem_id", "group"]) for path in rollout_steps(run).values()]
    for table in rollouts:
        if table.groupby("group").size().nunique() != 1:
            raise BrokenPromiseError(f"{run}: groups of different sizes in a step: {table.groupby('group').size().to_dict()}")
    reported = [
        (folder.name, str(problem), int(count))
        for folder in sorted((run / "eval").iterdir())
        if folder.is_dir()
        for problem, count in pd.read_parquet(folder / "samples.parquet").groupby("problem_id").size().items()
    ]
    return Left(
        tuple(int(step) for step in read_metrics(run)["step"]),
        tuple(tuple(table["problem_id"].unique()) for table in rollouts),
        tuple(map(len, rollouts)),
        tuple(reported),
    )


@dataclass
class Torture:
    """One undisturbed run, and the chains that must come to the same."""

    folder: Path
    recipe: str
    random: Random
    kills: Counter[str] = field(default_factory=Counter)
    chains: int = 0

    def run(self, count: int) -> None:
        """BrokenPromiseError as soon as a chain leaves something else."""
        self._expected = self._undisturbed()
        aims = deque(VICTIMS[number % len(VICTIMS)] for number in range(count))
        while aims:
            self._chain(aims)

    def told(self) -> Iterator[str]:
        """How many, and of what."""
        victims = ", ".join(f"{name} {self.kills[name]}" for name in VICTIMS)
        yield f"{self.kills.total()} kills in {self.chains} chains: {victims}"

    def _undisturbed(self) -> Left:
        folder = fresh(self.folder, "undisturbed")
        with Nodes() as nodes:
            with Running(folder, self.recipe, "train", nodes.command()) as driver:
                driver.reaches(_BEGINS)
                began = time.monotonic()
                driver.ends_within(None)
                self._took = time.monotonic() - began
            finish(folder, self.recipe, "eval", nodes.command())
        print(f"undisturbed: {self._took:.1f} s of training", flush=True)
        return left(folder / "runs" / self.recipe)

    def _chain(self, aims: deque[str]) -> None:
        """A run to its end, with as many of these kills as there is time for."""
        self.chains += 1
        folder, most = fresh(self.folder, f"chain-{self.chains:02d}"), self.kills.total() + MOST_A_CHAIN
        with Nodes() as nodes:
            ended = False
            while not ended:
                with Running(folder, self.recipe, "train", nodes.command()) as driver:
                    ended = self._lives(driver, nodes, aims, most)
            finish(folder, self.recipe, "eval", nodes.command())
        if (found := left(folder / "runs" / self.recipe)) != self._expected:
            raise BrokenPromiseError(f"chain {self.chains} left {found}, and the undisturbed run {self._expected}")
        print(f"chain {self.chains}: all steps, and every answer once; the report of the same problems and samples", flush=True)
        shutil.rmtree(folder)

    def _lives(self, driver: Running, nodes: Nodes, aims: deque[str], most: int) -> bool:
        """Until it has come to its end; False where it was killed itself."""
        driver.reaches(_BEGINS)
        while aims and self.kills.total() < most:
            if driver.ends_within(self.random.uniform(0, self._took / 2)) or not self._struck(aims[0], driver, nodes):
                break
            self.kills[aims[0]] += 1
            print(f"chain {self.chains}: killed a {aims[0]}", flush=True)
            if aims.popleft() == "driver":
                return False
        if not driver.ends_within(_ENDS_WITHIN_S):
            raise BrokenPromiseError(f"chain {self.chains} did not end within {_ENDS_WITHIN_S:g} s")
        return True

    def _struck(self, victim: str, driver: Running, nodes: Nodes) -> bool:
        """Whether there was one left to kill before the driver ended."""
        if victim == "driver":
            return driver.kill()
        if victim == "node":
            nodes.lose_one(self.random)
            return True
        until = time.monotonic() + _SHOWS_WITHIN_S
        while not (pids := nodes.pids(victim)):
            if driver.ends_within(_LOOK_EVERY_S):
                return False
            if time.monotonic() > until:
                raise BrokenPromiseError(f"chain {self.chains}: for {_SHOWS_WITHIN_S:g} s there was no {victim}")
        _kill(self.random.choice(pids))
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    return commanded(arguments, "Kill parts of a run on several nodes of Ray at random instants; it must come to its end.", 20, Torture)


if __name__ == "__main__":
    sys.exit(main())
