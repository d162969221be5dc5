"""What a hop costs in a cluster on this machine: a call, an object, weights on their way, a collective, a judgement, the driver's own work.

Medians. All processes share the machine's cores: between machines the wire's time is to be added, and nothing of it is here.
"""

import pickle
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from reasoning_rl.cluster.weights import Weights, put, take
from reasoning_rl.config import JudgeConfig, ObjectiveConfig, VerifierConfig
from reasoning_rl.learner.worker import Update
from reasoning_rl.objectives import build
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.groups import measured

Line = dict[str, Any]
MIB = 2**20
_TIMEOUT = timedelta(minutes=2)


class Far:
    """A process of Ray's."""

    def nothing(self) -> None:
        """Be called."""

    def see(self, array: np.ndarray) -> float:
        """Read all of it."""
        return float(array.sum())

    def load(self, weights: Weights) -> float:
        """Read them, check their fingerprint, and copy them, as an engine does; seconds."""
        began = time.perf_counter()
        self._held = [tensor.clone() for _, tensor in take(weights)]
        return time.perf_counter() - began

    def meet(self, rank: int, size: int, address: str) -> None:
        """Be a rank."""
        from reasoning_rl.learner.parallel import meet

        torch.set_num_threads(1)
        self._size, self._ranks = size, meet(rank, size, address, torch.device("cpu"), _TIMEOUT)

    def collect(self, kind: str, nbytes: int, rounds: int) -> float:
        """Seconds of a collective on so many bytes of float32 in all, the slowest rank's; the median of rounds."""
        whole = torch.ones(nbytes // 4)
        share = whole[: len(whole) // self._size].clone()

        def once() -> None:
            if kind == "all_reduce":
                torch.distributed.all_reduce(whole)
            else:
                torch.distributed.all_gather_into_tensor(whole[: len(share) * self._size], share)

        return timed(once, rounds, torch.distributed.barrier)

    def leave(self) -> None:
        """Be alone again."""
        self._ranks.leave()


def timed(work: Callable[[], object], rounds: int, before: Callable[[], object] = lambda: None) -> float:
    """Seconds, the median of rounds after one that doesn't count."""
    seconds = []
    for _ in range(rounds + 1):
        before()
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])


def hops(sizes_mib: Sequence[float], rounds: int) -> Iterator[Line]:
    """All of them. Ray has to run."""
    import ray

    far = ray.remote(num_cpus=0)(Far)
    actor = far.remote()
    yield {"hop": "call", "seconds": timed(lambda: ray.get(actor.nothing.remote()), 50 * rounds)}
    for mib in sizes_mib:
        yield from _objects(actor, mib, rounds)
        yield _weights(actor, mib, rounds)
    for answers in (1, 8, 512):
        yield _judging(answers, rounds)
    for ranks in (2, 4):
        yield from _collectives([far.remote() for _ in range(ranks)], sizes_mib, rounds)
    for tokens in (32, 256):
        yield _driver(tokens, rounds)


def _objects(actor: Any, mib: float, rounds: int) -> Iterator[Line]:
    import ray

    array = np.ones(int(mib * MIB) // 4, dtype=np.float32)
    yield {"hop": "put", "mib": mib, "seconds": timed(lambda: ray.put(array), rounds)}
    yield {"hop": "put and seen", "mib": mib, "seconds": timed(lambda: ray.get(actor.see.remote(ray.put(array))), rounds)}


def _weights(actor: Any, mib: float, rounds: int) -> Line:
    """As many tensors as a model of a few layers has."""
    import ray

    tensors = [(f"layer.{index}", torch.randn(int(mib * MIB) // 4 // 32)) for index in range(32)]
    loads = [ray.get(actor.load.remote(put(tensors, 0))) for _ in range(rounds)]
    return {"hop": "weights", "mib": mib, "written_s": timed(lambda: put(tensors, 0), rounds), "loaded_s": median(loads)}


def _judging(answers: int, rounds: int) -> Line:
    """By tasks of Ray, one at a time, which keep their worker."""
    from reasoning_rl.cluster.judging import ClusterJudge

    items = [(answer, group.prompt.problem) for group in _groups(-(-answers // 8), 8, 32) for answer in group.completions][:answers]
    judge = ClusterJudge({"gsm8k": VerifierConfig()}, JudgeConfig(workers=1))
    return {"hop": "judge", "answers": answers, "seconds": timed(lambda: judge.judge(items), rounds)}


def _collectives(actors: Sequence[Any], sizes_mib: Sequence[float], rounds: int) -> Iterator[Line]:
    import ray

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    ray.get([actor.meet.remote(rank, len(actors), address) for rank, actor in enumerate(actors)])
    for kind in ("all_reduce", "all_gather"):
        for mib in (1 / 1024, *sizes_mib):
            seconds = ray.get([actor.collect.remote(kind, int(mib * MIB), rounds) for actor in actors])
            yield {"hop": kind, "ranks": len(actors), "mib": round(mib, 4), "seconds": max(seconds)}
    ray.get([actor.leave.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)


def _driver(tokens: int, rounds: int) -> Line:
    """What it does with 512 answers of so many tokens, once it has them: figures, credit, sending, files."""
    from reasoning_rl.journal import Journal

    groups, objective = _groups(32, 16, tokens), build(ObjectiveConfig(kl=0.0), tokens)
    update = Update([objective.arrange(groups)], 0)
    credit = [[0.0] * 16 for _ in groups]
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        seconds = {
            "figures_s": timed(lambda: measured(groups), rounds),
            "credit_s": timed(lambda: objective.arrange(groups), rounds),
            "packed_s": timed(lambda: pickle.dumps(update, protocol=5), rounds),
            "written_s": timed(lambda: journal.rollouts(1, groups, credit), rounds),
        }
    bytes_of_a_token = len(pickle.dumps(update, protocol=5)) / 512 / tokens
    return {"hop": "driver", "answers": 512, "tokens": tokens, **seconds, "bytes_of_a_token": round(bytes_of_a_token, 1)}


def _groups(prompts: int, answers: int, tokens: int) -> list[Group]:
    """Half of the answers right."""
    draw = random.Random(0)
    return [
        Group(
            Prompt(Problem(f"p{index}", "s", "t", "q" * 100, "7"), "q" * 100, tuple(range(32))),
            tuple(_answer(draw, tokens) for _ in range(answers)),
            tuple(_verdict(right=row % 2 == 0) for row in range(answers)),
        )
        for index in range(prompts)
    ]


def _answer(draw: random.Random, tokens: int) -> Completion:
    return Completion("word " * tokens, tuple(draw.randrange(512) for _ in range(tokens)), tuple(-draw.random() for _ in range(tokens)))


def _verdict(*, right: bool) -> Verdict:
    score = Score(float(right), "correct" if right else "wrong", "reason", "7", "7")
    return Verdict(float(right), {"gsm8k": score}, right, right, score)
