"""The driver's folder, in which every process of a cluster works, so that paths mean the same everywhere."""

import os
import socket
from pathlib import Path

from reasoning_rl.errors import EngineError


def go_home(home: Path) -> None:
    """Work there. EngineError where this node doesn't see it."""
    try:
        os.chdir(home)
    except OSError as failure:
        raise EngineError(
            f"cluster.address: node {socket.gethostname()} doesn't see {home}; learners, samplers and judges read and write there, so that "
            "it has to lie on a file system that all nodes share"
        ) from failure
