"""The folder of a run: whose it is, what it started from, what it has reached.

runs/<name>/   config.yaml  environment.json  base.json  data/  metrics.jsonl  rollouts/  checkpoints/  reward.png  eval/{base,trained}/
               resumed.jsonl  faults/: where it went on later, and where numbers were not finite
runs/cache/    cold-start-<hash>/: policies that several runs may start from
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from reasoning_rl.claim import Claim, claimed
from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.files import discard, sweep, write_json, write_text
from reasoning_rl.journal import append_line, now, surroundings, write_environment
from reasoning_rl.learner.checkpoint import checkpoints, newest_whole
from reasoning_rl.recipes import dump_config, load_config

Resume = Literal["auto", "must", "never"]
VLLM_MEMORY = ("memory", "cpu_cache_gib", "sleep", "eager")
_MAY_CHANGE = (
    "name", "runs", "eval", "judge", "guards", "cluster", "train.trackers", "train.save_every", "train.keep_checkpoints", "train.keep_best",
    "train.restarts", "train.warn_mismatch_kl", "sampling.batch_rows", "learner.tokens_per_microbatch",
    "learner.halve_when_out_of_memory", "policy.logits_mib", "policy.gradient_checkpointing",
    *(f"sampling.vllm.{name}" for name in VLLM_MEMORY),
)  # fmt: skip
"""Settings that may change under a run: they decide how much memory is taken and what is kept, not what is learned."""
_MAY_GROW = ("train.steps",)
"""More steps go on from the last one, on the schedule of the new length."""
_RESULTS = (
    "eval", "tensorboard", "resumed.jsonl", "checkpoints", "rollouts", "faults", "metrics.jsonl", "reward.png", "config.yaml", "base.json",
)  # fmt: skip
"""A run without checkpoints begins anew, and truncates its journal: what it would not clear itself goes before them. What says of which
settings all else is goes last."""
_OF_THE_START = frozenset({"started", "seed", "argv"})
"""In environment.json."""


@contextmanager
def alone(config: Config) -> Iterator[Claim]:
    """Be the only process that writes in the run's folder, cleared of what interrupted ones left half. RunError names another."""
    with claimed(config.folder) as claim:
        sweep(config.folder)
        yield claim


def begin(config: Config, resume: Resume) -> None:
    """Note config and environment, or, if a run has results in the folder, check that it has the same settings.

    RunError when it has others, or when `resume` is `must` and there are none. `never` removes what an earlier run left, but its data.
    """
    if resume == "never":
        for name in _RESULTS:
            discard(config.folder / name)
    if has_results(config):
        refuse_other_settings(config)
    elif resume == "must":
        raise RunError(f"--resume: there is no run in {config.folder} to go on with; leave --resume out to begin one")
    elif checkpoints(config.folder / "checkpoints"):
        raise RunError(f"{config.folder} has checkpoints, but no config.yaml to say of which run; put it back, or begin anew by --fresh")
    if not checkpoints(config.folder / "checkpoints"):  # from the first step, whatever a run that did not come to its first one has left
        write_environment(config.folder, config.seed, own_code(config))
        write_text(config.folder / "config.yaml", dump_config(config))


def go_on(config: Config, step: int, say: Callable[[str], None]) -> None:
    """Note in resumed.jsonl that training goes on behind `step`, and what has changed since it began, which is said too."""
    before = _begun_with(config)
    settings, around = changes(before, config, told=_told), _moved(config)
    for line in (*settings, *around):
        say(f"Goes on with another {line}")
    append_line(config.folder / "resumed.jsonl", {"at": now(), "step": step, "argv": sys.argv, "settings": settings, "around": around})
    if before != config:
        write_text(config.folder / "config.yaml", dump_config(config))


def own_code(config: Config) -> list[Path]:
    """Files of the user's that the settings name: verifiers, and an objective."""
    named = (*config.rewards, config.objective.name)
    return [Path(place) for place in sorted({name.rpartition(":")[0] for name in named}) if place.endswith(".py")]


def _moved(config: Config) -> list[str]:
    """What surrounds the run and is not as environment.json has it: the results may differ by rounding, or by the user's own code."""
    try:
        there = json.loads((config.folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ["environment: environment.json is missing or damaged"]
    before = {name: value for name, value in there.items() if name not in _OF_THE_START}
    here = surroundings(own_code(config))
    read, reads = before.pop("files", {}), here.pop("files")
    return [*(f"text of {path}" for path in sorted(reads) if read.get(path) != reads[path]), *_lines(_flat(before), _flat(here))]


def has_results(config: Config) -> bool:
    """Whether something was learned here that other settings would contradict."""
    return (config.folder / "config.yaml").exists() and (has_base(config) or bool(checkpoints(config.folder / "checkpoints")))


def has_base(config: Config) -> bool:
    return base_of(config) is not None


def base_of(config: Config) -> str | None:
    """The model that training started from; None where base.json is not there, or damaged."""
    return _noted(config.folder / "base.json").get("model")


def _noted(path: Path) -> dict[str, str]:
    """A JSON object; empty where it is none."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def refuse_other_settings(config: Config) -> None:
    """RunError with the differences, when the run in the folder has results under settings that are not these."""
    changed = differences(_begun_with(config), config) if has_results(config) else []
    if changed:
        raise RunError(
            "\n  ".join([f"{config.folder} was begun with other settings:", *changed])
            + "\nGive this run a name=… of its own, or start it over with --fresh"
        )


def _begun_with(config: Config) -> Config:
    """RunError when config.yaml can't be read back."""
    path = config.folder / "config.yaml"
    try:
        return load_config(path)
    except ConfigError as failure:
        raise RunError(
            f"{path} is damaged, or of another version; write it again by `reasoning-rl train --print-config` with the settings that the "
            f"run was begun with, or begin anew with --fresh:\n  {failure}"
        ) from failure


def differences(before: Config, now: Config) -> list[str]:
    """Settings that decide what is learned and are not the same, one line each."""
    return changes(before, now, told=_decides)


def changes(before: Config, now: Config, *, told: Callable[[str, Any, Any], bool]) -> list[str]:
    """Settings that are not the same, one line each; those that `told` accepts by name and both values."""
    old, new = (_flat(config.model_dump(mode="json")) for config in (before, now))
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and told(key, old.get(key), new.get(key))}
    lines = _lines({key: old.get(key) for key in changed}, {key: new.get(key) for key in changed})
    return [f"{line}; it may only grow" if told is _decides and line.startswith(_MAY_GROW) else line for line in lines]


def _decides(name: str, old: Any, new: Any) -> bool:
    if name in _MAY_GROW:
        return bool(new < old)
    return not f"{name}.".startswith(tuple(f"{allowed}." for allowed in _MAY_CHANGE))


def _told(name: str, _old: Any, _new: Any) -> bool:
    """Whether training has to do with it."""
    return not f"{name}.".startswith(("name.", "runs.", "eval."))


def _lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [f"{key}: {old.get(key)!r} there, {new.get(key)!r} here" for key in changed]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def note_base(config: Config, model: str, weights: str) -> None:
    """Write down what training starts from; `weights` is their digest. RunError when a run that has begun started from others."""
    path = config.folder / "base.json"
    before = _noted(path).get("weights", weights) if checkpoints(config.folder / "checkpoints") else weights
    if before != weights:
        raise RunError(
            f"{model}: its weights are not those that {config.folder} began with; put them back, or give the run a name=… of its own"
        )
    write_json(path, {"model": model, "cold_started": config.cold_start.enabled, "weights": weights})


def require_base(config: Config) -> str:
    """RunError where training has not begun."""
    if (base := base_of(config)) is None:
        raise RunError(
            f"{config.folder}: there is no policy here to evaluate; run `reasoning-rl train` with this recipe first, or give --model"
        )
    return base


def policies(config: Config, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """What a run has to evaluate: `base`, which training started from, and `trained`, its last whole checkpoint.

    RunError if there is none. Damaged checkpoints are told of.
    """
    base = require_base(config)
    done = newest_whole(config.folder / "checkpoints", say)
    if config.train.steps and not done:
        raise RunError(f"{config.folder}: training has not reached its first checkpoint; run `reasoning-rl train` with this recipe again")
    return {"base": base, **({"trained": str(done)} if done else {})}


def note(config: Config) -> str:
    """What a reader of this recipe's figures must know beforehand; empty where there is nothing."""
    made = config.data.arithmetic
    if config.data.source != "arithmetic" or config.policy.model is not None or not (made.direct_fraction or made.slip_rate):
        return ""
    return (
        f"Head-room by construction: {made.direct_fraction:.0%} of the cold start's demonstrations answer at once, and each worked step of "
        f"the others slips with probability {made.slip_rate:g}. The gain shows that RL makes a reliable reasoner of a flawed one, not that "
        "it teaches arithmetic: the same model on clean demonstrations needs no RL."
    )
