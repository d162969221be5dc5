"""How much memory the processes that hold the policy have taken at most."""

import gc
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning_rl.learner.team import Team
    from reasoning_rl.learner.worker import Worker

MIB = 2**20
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class PeakMemory:
    """The most that a worker's process has held so far: bytes of resident memory, and of the GPU's (0 without one)."""

    def __call__(self, worker: "Worker | None" = None) -> tuple[int, int]:  # noqa: ARG002  # work is given the worker it is done by
        import torch

        return peak_resident_bytes(), torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0


def peak_memory(team: "Team") -> dict[str, float]:
    """`memory/peak_mib`, and `memory/peak_gpu_mib` where a GPU is used: the peaks of all processes of the team, added up.

    Processes need not peak at the same time, and pages they share count in each, so that the sum is an upper bound.
    """
    resident, gpu = (sum(column) / MIB for column in zip(*team.peaks(), strict=True))
    return {"memory/peak_mib": resident} | ({"memory/peak_gpu_mib": gpu} if gpu else {})


def free_memory() -> None:
    """Of what nobody uses any more, cycles of objects too, on a GPU as well."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def peak_resident_bytes() -> int:
    """Of this process.

    From Linux's own status where there is one: there `ru_maxrss` survives exec, so that a process begins with what its parent held.
    """
    if _STATUS.exists():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        kib = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if kib is not None:
            return int(kib) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
