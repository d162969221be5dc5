"""Judging as tasks of a Ray cluster, on whichever node has time for it; as `Judge` does it in processes of one machine.

    ClusterJudge ─(answers to a prompt)─► task, in a process of Ray's ─► Judge ─► worker that can be killed
                 ◄─(their verdicts)──────

A process of Ray's keeps its Judge, and with it the worker, until another recipe's comes. When it ends, its worker hears of it and ends too.
A task that is lost with its process or its node is done again by Ray.
"""

import contextlib
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reasoning_rl.cluster.home import go_home
from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import EngineDied, ReasoningRLError, first_line
from reasoning_rl.records import Verdict
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.rollout.judge_batch import CHUNK
from reasoning_rl.rollout.judge_messages import Item, pack_items, pack_verdict, unpack_items, unpack_verdict

_WORTHWHILE = 8
"""Items of a task, at least, unless there are no more: sending one takes about as long as judging a few."""
_LOOK_S = 0.2
"""Until a task that nobody waits for notices."""
_RETRIES = 8
"""Of a task that is lost with its process."""


class ClusterJudge:
    """Judges completions with a recipe's verifiers. A context manager; usable from any thread, by a driver that is connected to Ray."""

    def __init__(self, reward_config: Mapping[str, VerifierConfig], config: JudgeConfig) -> None:
        """Raises VerifierError for every verifier that can't be found or called; starts nothing yet.

        `config.workers` is how many tasks there are at a time for each node. They ask for no core, as judges of one machine don't: where
        all cores are set aside for others, answers have to be judged as well.
        """
        Reward(reward_config)
        self._tasks = config.workers
        alone = config.model_copy(update={"workers": 1})
        self._settings = pickle.dumps((dict(reward_config), alone, Path.cwd()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Holds nothing: processes of Ray's end with the driver."""

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order. VerifierError where workers can't be started, EngineDied where a task is lost again and again."""
        with self.early() as judging:
            judging.add(items)
            return judging.verdicts()

    @contextlib.contextmanager
    def early(self) -> "Iterator[EarlyTasks]":
        """Judges items as they come in. What has no verdict when the context is left is given up."""
        import ray

        nodes = sum(node["Alive"] for node in ray.nodes())
        with ThreadPoolExecutor(self._tasks * max(nodes, 1), "judge") as threads:
            judging = EarlyTasks(threads, self._settings)
            try:
                yield judging
            finally:
                judging.give_up()


class EarlyTasks:
    """Items that are judged while others come in. For one thread."""

    def __init__(self, threads: ThreadPoolExecutor, settings: bytes) -> None:
        """A thread waits for each task: so many there are at a time."""
        self._threads, self._settings = threads, settings
        self._task = _task()
        self._unsent: list[Item] = []
        self._parts: list[Future[list[Verdict]]] = []
        self._refs: set[Any] = set()
        """Of tasks on their way."""
        self._over = False
        self._failure: Exception | None = None

    def add(self, items: Iterable[Item]) -> None:
        """Have these judged too; returns at once. A task gets all answers to a prompt, if they come one after another.

        What keeps workers from starting is raised here, as soon as it is known.
        """
        if self._failure:
            raise self._failure
        for item in items:
            if self._unsent and self._is_enough(item):
                self._send()
            self._unsent.append(item)

    def _is_enough(self, following: Item) -> bool:
        of_another = self._unsent[-1][1].id != following[1].id
        return len(self._unsent) >= (_WORTHWHILE if of_another else CHUNK)

    def verdicts(self) -> list[Verdict]:
        """Of all items, in the order they were added: waits for the last. There are no further ones then."""
        if self._unsent:
            self._send()
        return [verdict for part in self._parts for verdict in part.result()]

    def give_up(self) -> None:
        """Nobody waits for the verdicts any more."""
        import ray

        self._over = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for ref in list(self._refs):
            ray.cancel(ref)

    def _send(self) -> None:
        message, self._unsent = pack_items(self._unsent), []
        self._parts.append(self._threads.submit(self._done, message))

    def _done(self, message: bytes) -> list[Verdict]:
        """In a thread of its own."""
        try:
            return self._asked(message)
        except Exception as failure:
            self._failure = failure
            raise

    def _asked(self, message: bytes) -> list[Verdict]:
        import ray

        ref = self._task.remote(self._settings, message)
        self._refs.add(ref)
        if self._over:  # whoever cancels may have looked before
            ray.cancel(ref)
        try:
            said = ray.get(ref)
        except ray.exceptions.RayError as failure:
            raise EngineDied(f"judging on the cluster broke down: {first_line(failure)}") from failure
        finally:
            self._refs.discard(ref)
        if isinstance(said, ReasoningRLError):
            raise said
        return [unpack_verdict(verdict) for verdict in said]


@cache
def _task() -> Any:
    """Made once: Ray would tell the whole cluster of each, and forget none."""
    import ray

    return ray.remote(num_cpus=0, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_judged)


def _judged(settings: bytes, message: bytes) -> list[bytes] | ReasoningRLError:
    """The task, in a process of Ray's. An error of ours comes back as it is: Ray would wrap it up in a traceback."""
    try:
        return [pack_verdict(verdict) for verdict in _judged_unless_cancelled(_kept(settings), unpack_items(message))]
    except ReasoningRLError as failure:
        return failure


def _judged_unless_cancelled(judge: Judge, items: Sequence[Item]) -> list[Verdict]:
    """Ray's cancelling reaches this thread when it wakes, and it must not sleep until a verifier that hangs is at its deadline."""
    with ThreadPoolExecutor(1) as thread, judge.early() as judging:
        judging.add(items)
        verdicts = thread.submit(judging.verdicts)
        while not wait([verdicts], _LOOK_S).done:
            pass
        return verdicts.result()


@lru_cache(maxsize=1)
def _kept(settings: bytes) -> Judge:
    """The judge of this process."""
    rewards, config, home = pickle.loads(settings)
    go_home(home)
    return Judge(rewards, config)
