"""Random numbers that depend on what they are for, not on when they are drawn.

Every draw is keyed by (seed, stream, problem, sample): batch order, batch size, number of processes and resuming change nothing.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def generator(*key: object) -> np.random.Generator:
    """A counter-based generator (Philox) that is a function of the key alone.

    >>> generator(0, "train/3", "p1", 5).random() == generator(0, "train/3", "p1", 5).random()
    True
    """
    text = "\x1f".join(map(str, key)).encode()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(blake2b(text, digest_size=16).digest())))


def uniforms(seed: int, stream: str, problem_id: str, sample: int, count: int) -> NDArray[np.float32]:
    """`count` numbers in [0, 1): one for each token of one sample."""
    return generator(seed, stream, problem_id, sample).random(count, dtype=np.float32)
