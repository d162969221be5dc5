"""Ray: joined where it runs already, started on this machine where it doesn't, and asked what there is."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import EngineError, first_line

RAY_HELP = "pip install 'reasoning-rl[ray]'"
_ACCEPTED = "host:port of its head, as `ray start --head` prints it, 'auto' for one that runs here, or 'local' for one of our own"
_ANSWERS_WITHIN_S = 10.0
_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Of all processes in the cluster. The last hides a node's GPUs from those that were given none."""


def require_cluster(config: ClusterConfig) -> None:
    """EngineError where the settings ask for one, and Ray is not installed, or nobody listens at the address."""
    address = _address(config)
    if address is None:
        return
    if not find_spec("ray"):
        raise EngineError(f"cluster.address: {config.address!r} needs Ray, which is not installed; {RAY_HELP}, or take null")
    if address not in {"local", "auto"}:
        _require_answer(address)


def _address(config: ClusterConfig) -> str | None:
    return os.environ.get("RAY_ADDRESS") or config.address if config.address == "auto" else config.address


@contextmanager
def connected(config: ClusterConfig, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Be the driver of a Ray cluster, if one is asked for; one that was started here ends with the context.

    A process that is a driver already stays one, of the same cluster. EngineError where there is none at the address.
    """
    require_cluster(config)
    if config.address is None or _is_driver():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _show_token(config)
    import ray

    _join(config, say)
    try:
        yield
    finally:
        with _heard_by_us():
            ray.shutdown()


def _is_driver() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _show_token(config: ClusterConfig) -> None:
    """Where there is one, `ray start` asks for it. Ray looks when it is imported; of a cluster of our own it sees to it by itself."""
    if _address(config) != "local" and "ray" not in sys.modules and (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _join(config: ClusterConfig, say: Callable[[str], None]) -> None:
    address = _address(config)
    say("Cluster: starting Ray on this machine" if address == "local" else f"Cluster: joining Ray at {address}")
    with _heard_by_us():
        if address == "local":
            _init({"address": "local", **_size(config)})
        elif address == "auto":
            _join_or_start(config)
        else:
            _let_in(str(address))


def _let_in(address: str) -> None:
    try:
        _init({"address": address})
    except (ConnectionError, RuntimeError) as failure:
        raise EngineError(
            f"cluster.address: {address!r} listens, but lets no driver in ({first_line(failure)}); it should be the port of `ray start "
            "--head`, 6379 unless told otherwise, and where that asks for a token, RAY_AUTH_MODE=token and ~/.ray/auth_token as there"
        ) from failure


def _join_or_start(config: ClusterConfig) -> None:
    """What `ray start` has started on this machine, if anything; not the private cluster of another run."""
    try:
        _init(_size(config))
    except ValueError:  # there is one: its size is not ours to say
        _init({})


def _require_answer(address: str) -> None:
    """EngineError where nobody listens: Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise EngineError(f"cluster.address: {address!r} has no port; accepted are {_ACCEPTED}")
    try:
        socket.create_connection((host, int(port)), _ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as failure:
        raise EngineError(
            f"cluster.address: no Ray cluster answers at {address!r} ({first_line(failure)}); accepted are {_ACCEPTED}"
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
