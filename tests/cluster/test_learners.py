"""Ranks of a cluster's learners as the driver sees them: all or none, and what they had is there for others afterwards."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from reasoning_rl.cluster.learners import Learners
from reasoning_rl.cluster.ray_session import connected
from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import EngineError, StorageError
from reasoning_rl.learner.worker import Worker
from reasoning_rl.signals import Terminated, unwinding

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CORES = 4


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with connected(ClusterConfig(address="local", learners=CORES - 2)):  # and a sampler, and one more
        yield


def test_an_error_of_one_rank_is_told_while_another_waits_for_it_and_the_room_of_both_is_given_back() -> None:
    def stumble(worker: Worker) -> None:
        if worker.ranks.rank:
            raise StorageError("the disk is full")
        worker.ranks.add_numbers({"one": 1})

    with closing(Learners(ClusterConfig(address="auto", learners=2, cpus_per_learner=CORES // 2), gpus=False)) as learners:
        learners.meet()
        with pytest.raises(StorageError, match="the disk is full"):
            learners.everyone(stumble)
    with closing(Learners(ClusterConfig(address="auto", cpus_per_learner=CORES, wait_s=60), gpus=False)) as alone:
        assert len(alone.nodes()) == 1


def test_a_sigterm_while_ranks_work_is_heard_at_once_and_for_what_it_is() -> None:
    def sleep(_: Worker) -> None:
        time.sleep(600)

    with closing(Learners(ClusterConfig(address="auto"), gpus=False)) as learners, unwinding():
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        with pytest.raises(Terminated) as stop:
            learners.everyone(sleep)
        timer.join()
    assert stop.value.code == 128 + signal.SIGTERM


def test_ranks_that_find_no_room_say_what_there_is_and_keep_none() -> None:
    heard: list[str] = []
    lacking = rf"there is no room for 2 learners of {CORES} CPU each; the nodes have {CORES} CPUs and 0 GPUs"
    with pytest.raises(EngineError, match=rf"cluster.learners: {lacking}; cluster.wait_s \(0.5 s\) is over"):
        Learners(ClusterConfig(address="auto", learners=2, cpus_per_learner=CORES, wait_s=0.5), gpus=False, say=heard.append)
    assert heard == [f"Waiting, up to 0.5 s: {lacking}"]
    with closing(Learners(ClusterConfig(address="auto", cpus_per_learner=CORES, wait_s=60), gpus=False)) as learners:
        assert len(learners.nodes()) == 1
