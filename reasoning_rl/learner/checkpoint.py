"""Checkpoints: a Hugging Face folder with the training state in it, whole or absent.

checkpoints/step-00050/    config.json, model.safetensors, tokenizer.json … as transformers and vLLM load them
                           adapter/: LoRA's adapters as peft loads them, where there are any; the weights beside them have them merged
                           training.pt: step, optimiser state, and where there are any the value model, the moved reference, the copies in
                           float32 of narrower weights, and answers that wait for their step (rollout/ahead.py)
"""

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.errors import RunError, StorageError

if TYPE_CHECKING:
    from reasoning_rl.policy.policy import Policy

STATE_FILE = "training.pt"


def save_checkpoint(folder: Path, step: int, policy: "Policy", state: Mapping[str, Any], keep: int) -> Path:
    """Write `step-NNNNN` under `folder` at once, then remove all but the newest `keep`. `step` counts finished steps."""
    import torch
    from safetensors import SafetensorError

    target = folder / f"step-{step:05d}"
    temporary = folder / f".{target.name}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        policy.save(temporary)
        torch.save({"step": step, **state}, temporary / STATE_FILE)
        put_in_place(temporary, target)
    except (OSError, RuntimeError, SafetensorError) as failure:  # torch and safetensors have words of their own for a full disk
        raise StorageError(f"{target} can't be written: {failure}") from failure
    finally:  # a signal too may have come in between
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def put_in_place(temporary: Path, target: Path) -> None:
    """Sync every file of a finished folder and give it its name."""
    for path in temporary.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    temporary.replace(target)


def checkpoints(folder: Path) -> list[Path]:
    """Finished ones, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name) and (path / STATE_FILE).is_file()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Finished steps of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step-"))


def load_state(checkpoint: Path) -> dict[str, Any]:
    """`step` and `optimizer`; RunError names a file that can't be read."""
    import torch

    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as failure:
        # torch's own words would advise to load the file unsafely
        raise RunError(
            f"{checkpoint / STATE_FILE} is damaged ({type(failure).__name__}); remove {checkpoint} to go on from the one before"
        ) from failure
    return state
