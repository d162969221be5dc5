"""Ray: joined where it runs already, started on this machine where it doesn't, and asked what there is."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import EngineError, first_line

RAY_HELP = "pip install 'reasoning-rl[ray]'"
_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Of all processes in the cluster."""


def require_ray(config: ClusterConfig) -> None:
    """EngineError where the settings ask for a cluster and Ray is not installed."""
    if config.address is not None and not find_spec("ray"):
        raise EngineError(f"cluster.address: {config.address!r} needs Ray, which is not installed; {RAY_HELP}, or take null")


@contextmanager
def connected(config: ClusterConfig) -> Iterator[None]:
    """Be the driver of a Ray cluster, if one is asked for; one that was started here ends with the context.

    EngineError where there is none at the address.
    """
    if config.address is None:
        yield
        return
    require_ray(config)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    _join(config)
    try:
        yield
    finally:
        with _heard_by_us():
            ray.shutdown()


def _join(config: ClusterConfig) -> None:
    with _heard_by_us():
        if config.address == "local":
            _init(_start_here(config))
            return
        try:
            _init({"address": config.address})
        except (ConnectionError, RuntimeError, ValueError) as failure:
            if config.address == "auto" and isinstance(failure, ConnectionError):
                _init(_start_here(config))
                return
            raise EngineError(
                f"cluster.address: no Ray cluster answers at {config.address!r} ({first_line(failure)}); `ray start --head` starts one, "
                "and 'local' one of our own on this machine"
            ) from failure


def _init(where: dict[str, Any]) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # a run has lines of its own
    ray.init(**where, log_to_driver=False, logging_level="ERROR", configure_logging=False, runtime_env={"env_vars": _ENVIRONMENT})


def _start_here(config: ClusterConfig) -> dict[str, Any]:
    """As many cores as are asked for, if need be more than there are: learners and samplers take turns."""
    asked = config.learners * config.cpus_per_learner + config.samplers * config.cpus_per_sampler
    return {"address": "local", "num_cpus": max(os.cpu_count() or 1, asked + 1), "include_dashboard": False}


@contextmanager
def _heard_by_us() -> Iterator[None]:
    """Ray takes SIGTERM for itself; whoever heard signals before shall hear them after."""
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
