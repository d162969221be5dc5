"""How many of the kernels that are compiled while training runs are kept.

Under bfloat16 on a CPU, oneDNN compiles a kernel for every new shape of a matrix product, in 0.2 ms, and keeps 1,024 of them; so does the
layer of torch above it, in a cache of its own. Each is up to 0.7 MiB, so that a run grows by half a gigabyte over some hundred steps.
"""

import os

KERNELS = 256
"""A step of the recipes on a CPU needs fewer than 200. With as many as these, `smoke` compiles 7 a step and `cpu` 24, and with 1,024 they
compile 5 and 23; 64 would be 13 and 55."""
_CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def keep_few_kernels() -> None:
    """Both caches hold KERNELS at most, unless the environment says otherwise. Without effect once a product has been computed."""
    for capacity in _CAPACITIES:
        os.environ.setdefault(capacity, str(KERNELS))  # neither can be told in another way
