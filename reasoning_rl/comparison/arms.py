"""Arms of a comparison: objectives by name, each with the settings in which its runs differ from the recipe.

An arms file is YAML, a mapping of names to settings, `ppo: {objective.name: ppo, learner.epochs: 2}`, or to overrides as the command line
has them, `ppo: [objective.name=ppo, learner.epochs=2]`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import inf
from pathlib import Path

from reasoning_rl import names
from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, ReasoningRLError, RunError, StorageError
from reasoning_rl.files import write_json
from reasoning_rl.recipes import folder_name, load_config, text

PLAN = "comparison.json"
_WORD = re.compile(r"[A-Za-z_][\w./-]*")


@dataclass(frozen=True)
class Arm:
    """What is compared."""

    name: str
    overrides: tuple[str, ...]

    @property
    def folder(self) -> str:
        """What the folders of its runs begin with: the name, which may be a path like `mine.py:row`, as far as a folder can have it."""
        return folder_name(self.name)


@dataclass(frozen=True)
class Plan:
    """A comparison: every arm with every seed."""

    out: Path
    recipe: str
    overrides: tuple[str, ...]
    """That all arms share; an arm's own win over them."""
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> Path:
        return self.out / "runs"

    def settings(self, arm: Arm, seed: int) -> list[str]:
        """Overrides that make the recipe this run."""
        return [
            *self.overrides,
            *arm.overrides,
            "eval.suites=[]",  # held-out problems are what is compared
            f"runs={json.dumps(str(self.runs))}",
            f"name={arm.folder}-seed{seed}",
            f"train.seed={seed}",
        ]

    def config(self, arm: Arm, seed: int) -> Config:
        return _config(self.recipe, tuple(self.settings(arm, seed)))

    def check(self) -> None:
        """Raise what any of the arms would end with, before the first begins. ConfigError where two would share a folder."""
        _refuse_shared_folders(self.arms)
        for arm in self.arms:
            try:
                names.refuse_unknown(self.config(arm, self.seeds[0]), names.TRAINING)
            except ReasoningRLError as failure:
                raise type(failure)(f"arm {arm.name}: {failure}") from failure

    def save(self) -> None:
        """So that the report can be made again from the folder alone."""
        arms = {arm.name: list(arm.overrides) for arm in self.arms}
        write_json(self.out / PLAN, {"recipe": self.recipe, "overrides": list(self.overrides), "arms": arms, "seeds": list(self.seeds)})


def _refuse_shared_folders(arms: Sequence[Arm]) -> None:
    taken: dict[str, str] = {}
    for arm in arms:
        if arm.folder in taken:
            found = f"{taken[arm.folder]!r} and {arm.name!r}, whose runs would both be in {arm.folder}-seed…"
            raise ConfigError(f"compare-objectives: found the arms {found}; each should stand once, under a name of its own")
        taken[arm.folder] = arm.name


@cache
def _config(recipe: str, overrides: tuple[str, ...]) -> Config:
    return load_config(recipe, overrides)


def saved_plan(out: Path) -> Plan:
    """RunError where no comparison was begun."""
    try:
        plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
        arms = tuple(Arm(name, tuple(overrides)) for name, overrides in plan["arms"].items())
        return Plan(out, plan["recipe"], tuple(plan["overrides"]), arms, tuple(plan["seeds"]))
    except (OSError, ValueError, KeyError) as failure:
        raise RunError(f"{out}: there is no comparison here to report on; leave --report-only out to begin one") from failure


def chosen_arms(recipe: str, objectives: Sequence[str] = (), file: Path | None = None) -> tuple[Arm, ...]:
    """The arms of the file, or those the package has for the recipe; of them the `objectives` named, if any are.

    A name that the file lacks stands for `objective.name=<name>`. ConfigError where there is nothing to compare.
    """
    known = _packaged(recipe) if file is None else _read(file)
    if not objectives and not known:
        found = f"{file} is empty" if file else f"the package has no list of arms for the recipe {recipe!r}"
        raise ConfigError(f"compare-objectives: {found}; name some, as in --objectives grpo,ppo")
    return tuple(known.get(name, Arm(name, (f"objective.name={name}",))) for name in objectives or known)


def _packaged(recipe: str) -> dict[str, Arm]:
    entry = files("reasoning_rl.recipes") / "arms" / f"{recipe}.yaml"
    return _parsed(entry.read_text(encoding="utf-8"), f"arms of {recipe}") if entry.is_file() else {}


def _read(file: Path) -> dict[str, Arm]:
    try:
        return _parsed(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as failure:
        raise ConfigError(f"{file}: not UTF-8 text, at byte {failure.start}") from failure
    except OSError as failure:
        raise StorageError(f"{file} can't be read: {failure.strerror}") from failure


def _parsed(content: str, where: str) -> dict[str, Arm]:
    tree = text.parse(content, where)
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where}: found {type(tree).__name__}; it should map names to settings, like `ppo: {{objective.name: ppo}}`")
    return {str(name): Arm(str(name), _overrides(spec, f"{where}: {name}")) for name, spec in tree.items()}


def _overrides(spec: object, where: str) -> tuple[str, ...]:
    if isinstance(spec, Mapping):
        return tuple(f"{setting}={_written(value)}" for setting, value in spec.items())
    if isinstance(spec, list) and all(isinstance(override, str) for override in spec):
        return tuple(spec)
    raise ConfigError(f"{where}: found {spec!r}; an arm is a mapping of settings, or a list of overrides like objective.name=ppo")


def _written(value: object) -> str:
    """As YAML on one line: bare words bare, else JSON, which has no infinity."""
    if isinstance(value, str) and _WORD.fullmatch(value) and text.parse(value, value) == value:
        return value
    return ".inf" if value == inf else json.dumps(value, default=str)


def parsed_seeds(listed: str) -> tuple[int, ...]:
    """Of `0,1,2`. ConfigError for anything else, or a seed that stands twice."""
    seeds = [part.strip() for part in listed.split(",")]
    if not all(part.isdecimal() for part in seeds) or len(set(map(int, seeds))) < len(seeds):
        raise ConfigError(f"--seeds: found {listed!r}; it should be different whole numbers from 0 on, like 0,1,2")
    return tuple(map(int, seeds))
