"""Checkpoints: a Hugging Face folder with the training state in it, whole or absent.

checkpoints/step-00050/    config.json, model.safetensors, tokenizer.json … as transformers and vLLM load them
                           adapter/: LoRA's adapters as peft loads them, where there are any; the weights beside them have them merged
                           training.pt: step, optimiser state, and where there are any the value model, the moved reference, the copies in
                           float32 of narrower weights, and answers that wait for their step (rollout/ahead.py)
                           shards/: what of these was shared out over ranks, as torch.distributed.checkpoint writes it (shards.py)
                           SHA256SUMS: of all these
"""

import pickle
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.checksums import damage, write_sums
from reasoning_rl.errors import RunError, StorageError, first_line, is_out_of_memory
from reasoning_rl.files import discard, temporary_name, whole_folder

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_rl.learner.parallel import Ranks
    from reasoning_rl.policy.policy import Policy

STATE_FILE = "training.pt"
SHARDS = "shards"


def save_checkpoint(folder: Path, step: int, policy: "Policy", state: Mapping[str, Any], ranks: "Ranks | None" = None) -> Path:
    """Write `step-NNNNN` under `folder` at once. `step` counts finished steps.

    `ranks`: those that write it together, each of which has to call; the first one's state counts where it is not sharded.
    """
    from reasoning_rl.learner.parallel import ALONE
    from reasoning_rl.learner.shards import taken_apart

    target, ranks = folder / f"step-{step:05d}", ranks or ALONE
    weights = policy.gathered(keep=ranks.rank == 0)
    plain, sharded = taken_apart({"step": step, **state})
    shards = _written(sharded, target, ranks) if sharded else None
    failure = _finished(target, policy, weights, plain, shards) if ranks.rank == 0 else None
    said = ranks.merge({0: str(failure)} if failure else {})
    if said:
        raise failure or StorageError(said[0])
    return target


def _written(sharded: "Mapping[str, Tensor]", target: Path, ranks: "Ranks") -> Path:
    """A folder beside the checkpoint into which every rank has written its own."""
    from reasoning_rl.learner.shards import save_shards

    beside = temporary_name(target.with_name(f"{target.name}.{SHARDS}"))
    (name,) = ranks.merge({0: beside.name} if ranks.rank == 0 else {}).values()
    with storing(target):
        save_shards(beside.with_name(name), sharded)
    return beside.with_name(name)


def _finished(
    target: Path, policy: "Policy", weights: "dict[str, Tensor] | None", state: Mapping[str, Any], shards: Path | None
) -> StorageError | None:
    """Puts the checkpoint in place; what kept it from that is for all ranks to hear."""
    try:
        with storing(target), whole_folder(target) as temporary:
            _fill(temporary, policy, weights, state)
            if shards:
                shards.replace(temporary / SHARDS)
            write_sums(temporary)
    except StorageError as failure:
        return failure
    return None


def _fill(folder: Path, policy: "Policy", weights: "dict[str, Tensor] | None", state: Mapping[str, Any]) -> None:
    import torch

    policy.save(folder, weights)
    with (folder / STATE_FILE).open("wb") as file:  # of one that it opens itself, torch doesn't say why it can't be written
        torch.save(_named_once(state), file)


@contextmanager
def storing(target: Path) -> Iterator[None]:
    """StorageError when the weights that are written inside can't be: torch and safetensors have words of their own for a full disk."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as failure:
        if is_out_of_memory(failure):
            raise
        reason = failure.__context__ if isinstance(failure.__context__, OSError) else failure
        raise StorageError(f"{target} can't be written: {first_line(reason)}") from failure


def _named_once(tree: Any) -> Any:
    """The same with equal names as one object: pickle writes what it has met before in short, and names that were loaded are new objects.

    So a state has the same bytes whether or not the run was stopped before it.
    """
    if isinstance(tree, dict):
        return {sys.intern(name) if isinstance(name, str) else name: _named_once(value) for name, value in tree.items()}
    return [_named_once(value) for value in tree] if isinstance(tree, list) else tree


def prune(folder: Path, kept: Collection[int]) -> None:
    """Remove the checkpoints of all steps but these."""
    for old in checkpoints(folder):
        if step_of(old) not in kept:
            discard(old)


def checkpoints(folder: Path) -> list[Path]:
    """Finished ones, oldest first, damaged ones too."""
    return sorted((path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)), key=step_of)


def newest_whole(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The last checkpoint that is as it was written; damaged ones after it are told of. None when there is none at all.

    RunError when all are damaged: to begin anew would delete what the run has recorded.
    """
    there = checkpoints(folder)
    for checkpoint in reversed(there):
        found = damage(checkpoint)
        if found is None:
            return checkpoint
        say(f"{checkpoint} is damaged: {found}. The one before it is used")
    if there:
        raise RunError(f"{folder}: every checkpoint is damaged, of {', '.join(path.name for path in there)}; --fresh begins the run anew")
    return None


def set_aside(folder: Path, after: int) -> None:
    """Give the checkpoints of later steps another name: they are damaged, and the run makes them anew."""
    for later in checkpoints(folder):
        if step_of(later) > after:
            damaged = later.with_name(f"{later.name}.damaged")
            discard(damaged)
            later.replace(damaged)


def step_of(checkpoint: Path) -> int:
    """Finished steps of a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step-"))


def load_state(checkpoint: Path) -> dict[str, Any]:
    """`step`, `optimizer` and the rest, where tensors that lie in shards/ are without content: `Learner.resume` reads them.

    RunError names a file that can't be read.
    """
    import torch

    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as failure:
        # torch's own words would advise to load the file unsafely
        raise RunError(
            f"{checkpoint / STATE_FILE} is damaged ({type(failure).__name__}); remove {checkpoint} to go on from the one before"
        ) from failure
    return state
