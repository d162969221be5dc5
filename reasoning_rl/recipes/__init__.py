"""Recipes: YAML files in this folder, or yours, that become a `Config`.

A recipe is layered, the later winning: the recipe it `extends`, itself, then the dotted overrides of the command line. In each layer its
`preset`, the settings of a paper, comes first. Mappings merge, everything else replaces; `rewards.<name>: null` takes a verifier out, and
`objective.name` begins that section anew.
"""

import re
from collections.abc import Iterable, Sequence
from functools import reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, ReasoningRLError, StorageError
from reasoning_rl.recipes import mistakes, text
from reasoning_rl.registry import did_you_mean

_Tree = dict[str, Any]
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def recipe_names() -> list[str]:
    """Recipes of the package, sorted."""
    return _names(files(__package__))


def preset_names() -> list[str]:
    """Presets of the package, sorted."""
    return _names(files(__package__) / "presets")


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a recipe, named (`cpu`) or given as a file, under overrides like `sampling.temperature=0.7`.

    Raises ConfigError that lists every mistake. The run is called like the recipe unless it says a name.
    """
    layers = [_named_after(recipe), *_layers(recipe, seen=())]
    override_layer, wrong = _override_layer(overrides)
    tree = reduce(_merged, [*layers, override_layer])
    if isinstance(tree.get("rewards"), dict):
        tree["rewards"] = {name: spec for name, spec in tree["rewards"].items() if spec is not None}
    return _validated(tree, f"recipe {str(recipe)!r}", wrong)


def dump_config(config: Config) -> str:
    """YAML that `load_config` reads back to an equal config."""
    return text.write(config.model_dump(mode="json"))


def _validated(tree: _Tree, where: str, wrong: list[str]) -> Config:
    """The config; or a ConfigError with the mistakes of the tree and those found before."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as failure:
        raise _all_mistakes(where, [*wrong, *mistakes.lines(failure)]) from failure
    if wrong:
        raise _all_mistakes(where, wrong)
    return config


def _all_mistakes(where: str, found: list[str]) -> ReasoningRLError:
    if len(found) == 1:
        return ConfigError(f"{where}: {found[0]}")
    return ConfigError("\n".join([f"{where}: {len(found)} mistakes", *(f"  {line}" for line in found)]))


def folder_name(wanted: str) -> str:
    """What a run may be called that would be called this.

    >>> folder_name("mine.py:row"), folder_name("../my recipe"), folder_name("…")
    ('mine.py-row', 'my-recipe', 'run')
    """
    return _NOT_IN_A_NAME.sub("-", wanted).lstrip(".-") or "run"


def model_name(model: str) -> str:
    """What the evaluation of a model folder or hub id is called: never like a policy of a run. A checkpoint bears the name of its run too.

    >>> model_name("Qwen/Qwen2.5-0.5B"), model_name("trained")
    ('Qwen-Qwen2.5-0.5B', 'trained-model')
    """
    name = folder_name(model)
    if Path(model).is_dir():
        place = Path(model).resolve()
        name = folder_name(f"{place.parents[1].name}-{place.name}" if place.parent.name == "checkpoints" else place.name)
    return f"{name}-model" if name.lower() in {"base", "trained", "cache"} else name


def _named_after(recipe: str | Path) -> _Tree:
    return {"name": folder_name(Path(recipe).stem if _is_path(recipe) else str(recipe))}


def _layers(recipe: str | Path, seen: tuple[str, ...], beside: Path | None = None) -> list[_Tree]:
    """What the recipe extends, first, and itself, last."""
    name, content = _read(recipe, beside)
    if name in seen:
        raise ConfigError(f"extends: recipes extend each other in a circle: {' → '.join([*seen, name])}")
    tree = text.parse(content, name)
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: found {type(tree).__name__}; a recipe is a mapping of settings, like `seed: 1`")
    parent = tree.pop("extends", None)
    if parent is None:
        return [_expanded(tree)]
    if not isinstance(parent, str):
        raise ConfigError(f"{name}: extends: found {parent!r}; it should be the name or the path of a recipe")
    folder = Path(name).parent if _is_path(recipe) else None
    return [*_layers(parent, (*seen, name), folder), _expanded(tree)]


def _is_path(recipe: str | Path) -> bool:
    return isinstance(recipe, Path) or "/" in recipe or recipe.endswith((".yaml", ".yml"))


def _read(recipe: str | Path, beside: Path | None) -> tuple[str, str]:
    """Name and text of a recipe; a relative path in `extends` starts at the extending file, `beside`."""
    if not _is_path(recipe):
        entry = files(__package__) / f"{recipe}.yaml"
        if not entry.is_file():
            raise ConfigError(
                f"recipe {str(recipe)!r}: no such recipe; {did_you_mean(str(recipe), recipe_names())} A file is given by its path."
            )
        return str(recipe), entry.read_text(encoding="utf-8")
    path = (beside or Path()) / recipe
    if not path.is_file():
        raise ConfigError(f"recipe {str(path)!r}: there is no such file; recipes of the package: {', '.join(recipe_names())}")
    try:
        return str(path), path.read_text(encoding="utf-8")
    except OSError as failure:
        raise StorageError(f"recipe {str(path)!r} can't be read: {failure.strerror}") from failure
    except UnicodeDecodeError as failure:
        raise ConfigError(f"recipe {str(path)!r}: not UTF-8 text, at byte {failure.start}") from failure


def _override_layer(overrides: Iterable[str]) -> tuple[_Tree, list[str]]:
    """The tree that the overrides spell, and what is wrong with those that spell nothing."""
    tree: _Tree = {}
    wrong: list[str] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not all(_path_of(key)):
            wrong.append(f"override {override!r}: found no setting and value; write setting=value, as in sampling.temperature=0.7")
            continue
        try:
            _put(tree, *_in_full(_path_of(key), text.parse(value, f"override {override!r}")))
        except ConfigError as failure:
            wrong.append(str(failure))
    return _expanded(tree), wrong


def _path_of(key: str) -> list[str]:
    """`a.b` as two names; in `rewards.my/file.py:brevity.weight` the file keeps its dot."""
    head, found, tail = key.removeprefix("rewards.").partition(".py:")
    if key.startswith("rewards.") and found:
        name, *rest = tail.split(".")
        return ["rewards", f"{head}.py:{name}", *rest]
    return key.split(".")


def _in_full(path: list[str], value: object) -> tuple[list[str], object]:
    """`objective=dapo` is `objective.name=dapo`, which leaves room for `objective.clip_high=0.3` beside it."""
    return (["objective", "name"] if path == ["objective"] and isinstance(value, str) else path), value


def _put(tree: _Tree, path: Sequence[str], value: object) -> None:
    for name in path[:-1]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[path[-1]] = value


def _expanded(tree: _Tree) -> _Tree:
    """Its preset and short forms written out, so that layers merge: `objective: dapo` names a row, `rewards: {math: 1.0}` a weight.

    `Config` itself knows the full forms only.
    """
    full = dict(tree)
    preset = full.pop("preset", None)
    if isinstance(full.get("objective"), str):
        full["objective"] = {"name": full["objective"]}
    if isinstance(full.get("rewards"), dict):
        full["rewards"] = {
            name: spec if spec is None or isinstance(spec, dict) else {"weight": spec} for name, spec in full["rewards"].items()
        }
    return full if preset is None else _merged(_expanded(_preset(preset)), full)


def _preset(name: object) -> _Tree:
    if name not in preset_names():
        raise ConfigError(f"preset: no such preset {name!r}; {did_you_mean(str(name), preset_names())}")
    tree = text.parse((files(__package__) / "presets" / f"{name}.yaml").read_text(encoding="utf-8"), f"preset {name}")
    assert isinstance(tree, dict), "a preset of the package is a mapping"
    return tree


def _merged(lower: _Tree, upper: _Tree) -> _Tree:
    """`upper` over `lower`. Settings of one objective are changes to its row: with another objective they fall away."""
    named, before = (tree["objective"].get("name") if isinstance(tree.get("objective"), dict) else None for tree in (upper, lower))
    if named is not None and named != before:
        lower = {key: value for key, value in lower.items() if key != "objective"}
    return _deep(lower, upper)


def _deep(lower: _Tree, upper: _Tree) -> _Tree:
    both = dict(lower)
    for key, value in upper.items():
        both[key] = _deep(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both
