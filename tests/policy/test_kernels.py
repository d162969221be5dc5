import os
import subprocess
import sys

import pytest

from reasoning_rl.policy.kernels import KERNELS, keep_few_kernels
from reasoning_rl.policy.policy import _cpu_multiplies_bfloat16

CAPACITIES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
SHAPES = 900
GROWTH = f"""
import sys, torch
from reasoning_rl.policy.kernels import keep_few_kernels
from reasoning_rl.learner.memory import peak_resident_bytes
torch.set_num_threads(1)
if sys.argv[1] == "few":
    keep_few_kernels()
weight = torch.zeros(128, 384, dtype=torch.bfloat16)
held = []
for rows in range(64, 64 + {SHAPES}):
    torch.zeros(rows, 128, dtype=torch.bfloat16) @ weight
    held.append(peak_resident_bytes())
print(held[-1] - held[-300])
"""


def growth(kept: str) -> int:
    """Bytes that a fresh process takes for products of ever new shapes, after those of the first 600."""
    environment = {name: value for name, value in os.environ.items() if name not in CAPACITIES}
    command = [sys.executable, "-c", GROWTH, kept]
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not _cpu_multiplies_bfloat16(), reason="products in bfloat16 go another way on this processor")
def test_products_of_ever_new_shapes_take_no_more_memory_than_a_few() -> None:
    assert growth("few") < 0.1 * growth("all")


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    keep_few_kernels()
    assert [os.environ[name] for name in CAPACITIES] == ["7", str(KERNELS)]
