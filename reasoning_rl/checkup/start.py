"""What a run was begun with: its settings, its surroundings, its data and the policy it started from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reasoning_rl.checksums import changed, damage
from reasoning_rl.checkup.finding import Finding, Run, counted
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import NAME, load_manifest
from reasoning_rl.errors import DataError, ReasoningRLError
from reasoning_rl.eval.report import FILE
from reasoning_rl.journal import surroundings
from reasoning_rl.recipes import load_config


def config(run: Run) -> Finding:
    """config.yaml."""
    part, path = "config.yaml", run.folder / "config.yaml"
    again = f"write it again with the settings of the run, reasoning-rl train --recipe … --print-config > {path}; nothing else is lost"
    if not path.exists():
        begun = [name for name in ("metrics.jsonl", "checkpoints") if (run.folder / name).exists()]
        if begun:
            return Finding(part, "damaged", f"it isn't there, but {begun[0]} is: under which settings is not known", again)
        return Finding(part, "not yet", "training writes it when it begins")
    try:
        there = load_config(path)
    except (ReasoningRLError, UnicodeDecodeError) as failure:
        return Finding(part, "damaged", f"can't be loaded: {failure}", again)
    if unknown := _unknown(there):
        return Finding(part, "damaged", unknown, _NAMED)
    return Finding(part, "ok", f"{there.objective.name}, {there.train.steps} steps, seed {there.seed}")


_NAMED = "put the file back, or the name as it was; paths begin where the command is called"


def _unknown(config: Config) -> str:
    """The objective and the verifiers that can't be found, with the settings that name them; empty where all can."""
    from reasoning_rl.objectives import build
    from reasoning_rl.rewards.reward import Reward

    told = []
    for look_up in (lambda: build(config.objective, config.sampling.max_tokens), lambda: Reward(config.rewards)):
        try:
            look_up()
        except ReasoningRLError as failure:
            told.append(str(failure))
    return "; ".join(told)


def environment(run: Run) -> Finding:
    """environment.json."""
    part, path = "environment.json", run.folder / "environment.json"
    if not path.exists():
        begun = (run.folder / "config.yaml").exists()
        return Finding(part, "missing" if begun else "not yet", "says what the run ran on; nothing reads it but people")
    there = _read(path)
    if there is None:
        lost = "remove it; nothing makes it again, and on what the run began is lost"
        return Finding(part, "damaged", "no JSON object", lost)
    differing = [f"{name} {old or 'none'} there, {new or 'none'} here" for name, old, new in _changed(there)]
    return Finding(part, "ok", f"other here: {'; '.join(differing)}" if differing else "versions and threads are those here")


def _changed(there: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What is known of then, and is not the same now."""
    here = surroundings()
    old = {**(there.get("versions") or {}), **{name: there[name] for name in ("python", "cores", "threads") if name in there}}
    new = {**here["versions"], **here}
    return ((name, value, new.get(name)) for name, value in old.items() if value != new.get(name))


def data(run: Run) -> Finding:
    """data/, file by file."""
    folder = run.folder / "data"
    if not (folder / NAME).exists() and (run.checkpoints or any((run.folder / "eval").rglob(FILE))):
        return Finding("data", "missing", f"no {NAME}; {_DATA.format(run.command('data'))}")
    if not (folder / NAME).exists():
        return Finding("data", "not yet", f"no {NAME}, which comes last; {run.command('data')} prepares it")
    try:
        files = load_manifest(folder).files
    except DataError as failure:
        return Finding("data", "damaged", str(failure), _DATA.format(run.command("data")))
    broken = [f"{Path(name).name} {said}" for name, said in changed(folder, files)]
    if broken:
        return Finding("data", "damaged", "; ".join(broken), _DATA.format(run.command("data")))
    return Finding("data", "ok", f"{counted(len(files), 'file')} as written")


_DATA = "{} makes the same again; nothing is lost"


def base(run: Run) -> Finding:
    """base.json, and the model that it names."""
    part, path = "base.json", run.folder / "base.json"
    if not path.exists():
        if run.checkpoints:
            return Finding(part, "damaged", "it isn't there, but checkpoints are: what they began with is not known", _BASE)
        return Finding(part, "not yet", "written when the policy to start from is there")
    there = _read(path)
    if there is None or not isinstance(there.get("model"), str):
        return Finding(part, "damaged", 'no JSON object with a "model"', _BASE)
    if there.get("cold_started"):
        return _cold_start(run, there["model"])
    return _model(there["model"])


_BASE = 'write {"model": <folder or hub id of the policy before training>, "cold_started": true or false} there; nothing else is lost'


def _cold_start(run: Run, model: str) -> Finding:
    place = next((place for place in (Path(model), run.folder.parent / "cache" / Path(model).name) if place.is_dir()), None)
    if place is None:
        return Finding("base.json", "missing", f"{model} was removed; the stage that needs it makes it again")
    found = damage(place)
    if found:
        again = run.command("eval" if run.checkpoints else "train")
        return Finding("base.json", "damaged", f"{place}: {found}", f"{again} makes it again; nothing is lost")
    return Finding("base.json", "ok", f"{place} is as it was written")


def _model(model: str) -> Finding:
    """One from outside: a folder, or a hub id, which has one slash at most."""
    if (Path(model) / "config.json").is_file():
        return Finding("base.json", "ok", f"{model} is there")
    if Path(model).is_dir() or Path(model).is_absolute() or len(Path(model).parts) > 2:
        return Finding("base.json", "damaged", f"{model} holds no model", "put the model back; without it the base can't be evaluated")
    return Finding("base.json", "ok", f"{model} on the hub")


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
