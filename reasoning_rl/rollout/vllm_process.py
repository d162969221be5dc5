"""vLLM makes itself the only user of its process. Here that is undone: for the learner, for judges that start later, for another vLLM."""

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
"""Unless the user has it otherwise: a run has lines of its own, and reports to nobody."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Where it is imported and started: environment, generators and threads are put back.

    Nor does it speak: of its warnings on the way, none is for a user to heed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())  # it warns before it has read that itself
    environment, set_threads = dict(os.environ), torch.set_num_threads
    drawn, drawn_numpy = random.getstate(), np.random.get_state()  # vLLM seeds the old ones
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads = set_threads
        random.setstate(drawn)
        np.random.set_state(drawn_numpy)
        for name in [name for name in os.environ if name not in environment and not name.startswith("VLLM_")]:
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def threaded(count: int) -> Iterator[None]:
    """So many for a while. The first process of a crew learns with one, and samples with those of the others, which wait meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clear_away() -> None:
    """What vLLM keeps outside of its engine, and its own shutdown has not come to: the next one would find groups of processes there."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()
