"""Ray: joined where it runs already, started on this machine where it doesn't, and asked what there is."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import EngineError, first_line

RAY_HELP = "pip install 'reasoning-rl[ray]'"
_ANSWERS_WITHIN_S = 10.0
_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Of all processes in the cluster. The last hides a node's GPUs from those that were given none."""


def require_ray(config: ClusterConfig) -> None:
    """EngineError where the settings ask for a cluster and Ray is not installed."""
    if config.address is not None and not find_spec("ray"):
        raise EngineError(f"cluster.address: {config.address!r} needs Ray, which is not installed; {RAY_HELP}, or take null")


@contextmanager
def connected(config: ClusterConfig) -> Iterator[None]:
    """Be the driver of a Ray cluster, if one is asked for; one that was started here ends with the context.

    A process that is a driver already stays one, of the same cluster. EngineError where there is none at the address.
    """
    require_ray(config)
    if config.address is None or _is_driver():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    _join(config)
    try:
        yield
    finally:
        with _heard_by_us():
            ray.shutdown()


def _is_driver() -> bool:
    import ray

    return bool(ray.is_initialized())


def _join(config: ClusterConfig) -> None:
    address = os.environ.get("RAY_ADDRESS", config.address) if config.address == "auto" else config.address
    with _heard_by_us():
        if address == "local":
            _init({"address": "local", **_size(config)})
        elif address == "auto":
            _join_or_start(config)
        else:
            _require_answer(str(address))
            _init({"address": address})


def _join_or_start(config: ClusterConfig) -> None:
    """What `ray start` has started on this machine, if anything; not the private cluster of another run."""
    try:
        _init(_size(config))
    except ValueError:  # there is one: its size is not ours to say
        _init({})


def _require_answer(address: str) -> None:
    """EngineError where nobody listens: Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWERS_WITHIN_S).close()
    except (OSError, ValueError) as failure:
        raise EngineError(
            f"cluster.address: no Ray cluster answers at {address!r} ({first_line(failure)}); accepted are host:port of its head, as `ray "
            "start --head` prints it, 'auto' for one that runs here, and 'local' for one of our own"
        ) from failure


def _init(where: dict[str, Any]) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # a run has lines of its own
    ray.init(**where, log_to_driver=False, logging_level="ERROR", configure_logging=False, runtime_env={"env_vars": _ENVIRONMENT})


def _size(config: ClusterConfig) -> dict[str, Any]:
    """Of a cluster of our own: as many cores as are asked for, if need be more than there are, since learners and samplers take turns."""
    asked = config.learners * config.cpus_per_learner + config.samplers * config.cpus_per_sampler
    return {"num_cpus": max(os.cpu_count() or 1, asked + 1), "include_dashboard": False}


@contextmanager
def _heard_by_us() -> Iterator[None]:
    """Ray takes SIGTERM for itself, in the main thread alone; whoever heard signals before shall hear them after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_gpus() -> bool:
    """Whether any node of the cluster has one."""
    import ray

    return bool(ray.cluster_resources().get("GPU"))


def room() -> str:
    """What the nodes have, in words."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes) or "nothing"
