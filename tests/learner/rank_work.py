"""What each of some ranks does in a process of its own, once for all tests of them, and what the first of them has to say of it."""

import math
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from conftest import magnified, tiny_policy
from test_learner import groups
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig
from reasoning_rl.errors import StorageError
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.learner import Learned, Learner, Models
from reasoning_rl.learner.parallel import ALONE, Ranks, meet
from reasoning_rl.learner.sharding import shard, shard_values
from reasoning_rl.objectives import build
from reasoning_rl.policy.policy import Policy, load_policy
from reasoning_rl.policy.values import ValueModel
from reasoning_rl.records import Sample

PATIENCE = timedelta(seconds=120)
CPU = PolicyConfig(device="cpu", autocast="off")
BROKEN = ((0, 1), (2, 3))
"""Of three groups of four samples."""
STEPS_SAVED = 2


@dataclass(frozen=True)
class Case:
    """A learner on three groups of four, of a reference that is a little off."""

    objective: str
    shard: bool = True
    checkpointing: bool = False
    gather: torch.dtype | None = None
    settings: dict[str, Any] = field(default_factory=dict)


OBJECTIVES = ("grpo", "ppo", "dpo")
KINDS: dict[str, dict[str, Any]] = {"replicated": {"shard": False}, "sharded": {}, "checkpointed": {"checkpointing": True}}


@dataclass(frozen=True)
class Seen:
    """Of an update: what it says, and the gradient of every parameter, whole."""

    learned: Learned
    gradients: list[Tensor]


@dataclass(frozen=True)
class Loaded:
    """What a learner is after it has taken up a checkpoint, tensors whole, and what its next update says."""

    weights: dict[str, Tensor]
    state: dict[str, Any]
    then: dict[str, float]


def whole(tree: Any) -> Any:
    """The same with sharded tensors gathered, and nothing that a later step changes."""
    if isinstance(tree, dict):
        return {name: whole(value) for name, value in tree.items()}
    if isinstance(tree, DTensor):
        return tree.full_tensor().clone()  # of one rank it is the tensor itself
    return tree.clone() if isinstance(tree, Tensor) else tree


def samples(objective: str) -> list[Sample]:
    judged = [replace(group, verdicts=tuple(replace(one, correct=one.reward > 0.5) for one in group.verdicts)) for group in groups()]
    return build(ObjectiveConfig(name=objective), 64).arrange(judged)


def small(tokenizer_folder: str) -> Policy:
    """Its weights as they are drawn, so that gradients are about 0.1 and float32 keeps them to 1e-8."""
    return magnified(tiny_policy(tokenizer_folder), 1 / 6)


def reference_of(policy: Policy) -> Policy:
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.mul_(1.01)
    return policy


def made(case: Case, base: Callable[[], Policy], ranks: Ranks, policy: Policy | None = None) -> Learner:
    """`base` gives a policy of its own each time; `policy`: the one that learns, where that has gone on from there."""
    objective = build(ObjectiveConfig(name=case.objective), 64)
    policy, reference = policy or base(), reference_of(base()) if "reference" in objective.needs else None
    value = ValueModel(base()) if "values" in objective.needs else None
    if case.checkpointing:
        policy.model.gradient_checkpointing_enable()
    if case.shard and ranks.mesh:
        for one in filter(None, [policy, reference]):
            shard(one, ranks, case.gather)
        if value is not None:
            shard_values(value, ranks, case.gather)
    config = {"learning_rate": 1e-3, "warmup_steps": 0, "max_grad_norm": 1e9, "tokens_per_microbatch": 60, **case.settings}
    return Learner(Models(policy, reference, value), objective, LearnerConfig.model_validate(config), steps=8, ranks=ranks)


def seen(learner: Learner, rows: list[Sample], step: int = 0) -> Seen:
    learned = learner.update([rows], step)
    parameters = [*learner.parameters, *learner.value_parameters]
    return Seen(learned, [whole(parameter.grad) for parameter in parameters if parameter.grad is not None])


def loaded(checkpoint: Path, base: Callable[[], Policy], ranks: Ranks, *, sharded: bool) -> Loaded:
    """PPO with a reference that moves, from a checkpoint of whatever ranks."""
    case = Case("ppo", shard=sharded, settings={"reference_every": 1})
    learner = made(case, base, ranks, load_policy(str(checkpoint), CPU))
    assert learner.resume(checkpoint) == STEPS_SAVED
    weights = {name: tensor.clone() for name, tensor in learner.models.policy.weights()}
    state = whole(learner.state())
    return Loaded(weights, state, learner.update([samples("ppo")], STEPS_SAVED).metrics)


def saved(folder: Path, base: Callable[[], Policy], ranks: Ranks, *, sharded: bool) -> Loaded:
    """The same, at the time it is saved and without being stopped."""
    learner = made(Case("ppo", shard=sharded, settings={"reference_every": 1}), base, ranks)
    for step in range(STEPS_SAVED):
        learner.update([samples("ppo")], step)
    save_checkpoint(folder, STEPS_SAVED, learner.models.policy, {**learner.state(), "mine": ranks.rank}, ranks)
    weights, state = {name: tensor.clone() for name, tensor in learner.models.policy.weights()}, whole(learner.state())
    return Loaded(weights, state, learner.update([samples("ppo")], STEPS_SAVED).metrics)


def broken(base: Callable[[], Policy], ranks: Ranks) -> dict[str, Any]:
    """PPO's update on samples of which some count for no number: what it says, whether weights moved, and what the next one says."""
    learner = made(Case("ppo"), base, ranks)
    rows = [replace(one, weight=math.nan) if (one.group, one.row) in BROKEN else one for one in samples("ppo")]
    before = [whole(parameter.detach()) for parameter in learner.parameters]
    skipped = learner.update([rows], 0).skipped
    moved = not all(map(torch.equal, before, (whole(parameter.detach()) for parameter in learner.parameters)))
    return {"skipped": skipped, "moved": moved, "then": seen(learner, samples("ppo"), 1)}


def shares(base: Callable[[], Policy], ranks: Ranks) -> dict[str, float]:
    """Of weights, gradients and moments, the part that this rank holds."""
    learner = made(Case("grpo"), base, ranks)
    learner.update([samples("grpo")], 0)
    weights: list[Tensor | None] = [*learner.parameters]
    moments: list[Tensor | None] = [state["exp_avg_sq"] for state in learner.optimizer.state.values()]
    kinds = {"weights": weights, "gradients": [one.grad for one in learner.parameters], "moments": moments}
    size = sum(one.numel() for one in learner.parameters)
    return {kind: sum(one.to_local().numel() for one in tensors if isinstance(one, DTensor)) / size for kind, tensors in kinds.items()}


def unwritable(folder: Path, base: Callable[[], Policy], ranks: Ranks) -> list[str]:
    """What each rank is told where the first can't put the checkpoint in place, and where none can write its shards."""
    learner, told = made(Case("grpo"), base, ranks), []
    (folder / "taken").touch()
    for state in ({}, {"own": learner.parameters[0].detach()}):
        try:
            save_checkpoint(folder / "taken", 1, learner.models.policy, state, ranks)
        except StorageError as failure:
            told.append(str(failure))
    return [said for by_rank in ranks.merge({ranks.rank: told}).values() for said in by_rank]


def report(tokenizer_folder: str, folder: Path, ranks: Ranks) -> Iterator[tuple[str, Any]]:
    """All there is to say, by name."""

    def base() -> Policy:
        return small(tokenizer_folder)

    for kind, objective in product(KINDS, OBJECTIVES):
        if ranks.size == 2 or kind != "checkpointed":
            yield f"{objective} {kind}", seen(made(Case(objective, **KINDS[kind]), base, ranks), samples(objective))
    if ranks is ALONE:
        yield "saved", saved(folder / "alone", base, ranks, sharded=False)
        yield "broken", broken(base, ranks)
    if ranks.size == 2:
        yield "shares", shares(base, ranks)
        yield "broken", broken(base, ranks)
        yield "bfloat16", seen(made(Case("ppo", gather=torch.bfloat16), base, ranks), samples("ppo"))
        yield "saved sharded", saved(folder / "sharded", base, ranks, sharded=True)
        yield "saved replicated", saved(folder / "replicated", base, ranks, sharded=False)
        yield "unwritable", unwritable(folder, base, ranks)
    for checkpoint in sorted(folder.glob("*/step-*")):
        yield f"loaded {checkpoint.parent.name}", loaded(checkpoint, base, ranks, sharded=ranks.mesh is not None)


def work(process: int, addresses: dict[int, str], tokenizer_folder: str, folder: Path) -> None:
    """Of one process, which is a rank of so many that meet at each of these addresses, one after another."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    for size, address in addresses.items():
        if process < size:
            ranks = meet(process, size, address, torch.device("cpu"), PATIENCE)
            said = dict(report(tokenizer_folder, folder, ranks))
            ranks.leave()
            if process == 0:
                torch.save(said, folder / f"{size}.pt")


@cache
def reports(tokenizer_folder: str, folder: Path) -> dict[int, dict[str, Any]]:
    """By number of ranks, 0 for this process, which meets nobody. Each takes up the checkpoints of those before it too."""
    folder.mkdir()
    alone = dict(report(tokenizer_folder, folder, ALONE))
    addresses = {size: f"tcp://127.0.0.1:{_free_port()}" for size in (2, 1, 4)}
    spawn(work, (addresses, tokenizer_folder, folder), nprocs=4)
    return {0: alone, **{size: torch.load(folder / f"{size}.pt", weights_only=False) for size in addresses}}


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
