"""The folder of a run: whose it is, what it started from, what it has reached.

runs/<name>/   config.yaml  environment.json  base.json  data/  metrics.jsonl  rollouts/  checkpoints/  reward.png  eval/{base,trained}/
runs/cache/    cold-start-<hash>/: policies that several runs may start from
"""

import json
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from reasoning_rl.config import Config
from reasoning_rl.errors import RunError
from reasoning_rl.files import write_json, write_text
from reasoning_rl.journal import write_environment
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.recipes import dump_config, load_config

Resume = Literal["auto", "must", "never"]
VLLM_MEMORY = ("memory", "cpu_cache_gib", "sleep", "eager")
_MAY_CHANGE = (
    "name", "runs", "eval", "judge", "train.trackers", "train.save_every", "train.keep_checkpoints", "train.warn_mismatch_kl",
    "sampling.batch_rows", "learner.tokens_per_microbatch", "policy.logits_mib", "policy.gradient_checkpointing",
    *(f"sampling.vllm.{name}" for name in VLLM_MEMORY),
)  # fmt: skip
"""Settings that may change under a run: they decide how much memory is taken and what is kept, not what is learned."""
_RESULTS = ("config.yaml", "base.json", "metrics.jsonl", "reward.png", "checkpoints", "rollouts", "eval", "tensorboard")


def begin(config: Config, resume: Resume) -> None:
    """Claim the folder: note config and environment, or, if a run has results there, check that it has the same settings.

    RunError when it has others, or when `resume` is `must` and there are none. `never` removes what an earlier run left, but its data.
    """
    if resume == "never":
        _remove_results(config)
    if has_results(config):
        refuse_other_settings(config)
    elif resume == "must":
        raise RunError(f"--resume: there is no run in {config.folder} to go on with; leave --resume out to begin one")
    else:
        write_environment(config.folder, config.seed)
        write_text(config.folder / "config.yaml", dump_config(config))


def _remove_results(config: Config) -> None:
    for path in (config.folder / name for name in _RESULTS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def has_results(config: Config) -> bool:
    """Whether something was learned here that other settings would contradict."""
    return (config.folder / "config.yaml").exists() and (config.folder / "base.json").exists()


def refuse_other_settings(config: Config) -> None:
    """RunError with the differences, when the run in the folder has results under settings that are not these."""
    changed = differences(load_config(config.folder / "config.yaml"), config) if has_results(config) else []
    if changed:
        raise RunError(
            "\n  ".join([f"{config.folder} was begun with other settings:", *changed])
            + "\nGive this run a name=… of its own, or start it over with --fresh"
        )


def differences(before: Config, now: Config) -> list[str]:
    """Settings that decide what is learned and are not the same, one line each."""
    old, new = (_flat(config.model_dump(mode="json")) for config in (before, now))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    allowed = tuple(f"{name}." for name in _MAY_CHANGE)
    return [f"{key}: {old.get(key)!r} there, {new.get(key)!r} here" for key in changed if not f"{key}.".startswith(allowed)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def note_base(config: Config, model: str) -> None:
    """Write down what training starts from."""
    write_json(config.folder / "base.json", {"model": model, "cold_started": config.cold_start.enabled})


def policies(config: Config) -> dict[str, str]:
    """What a run has to evaluate: `base`, which training started from, and `trained`, its last checkpoint. RunError if there is none."""
    try:
        base = json.loads((config.folder / "base.json").read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError) as failure:
        raise RunError(
            f"{config.folder}: there is no policy here to evaluate; run `reasoning-rl train` with this recipe first, or give --model"
        ) from failure
    done = checkpoints(config.folder / "checkpoints")
    if config.train.steps and not done:
        raise RunError(f"{config.folder}: training has not reached its first checkpoint; run `reasoning-rl train` with this recipe again")
    return {"base": base, **({"trained": str(done[-1])} if done else {})}


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
