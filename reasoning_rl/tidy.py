"""What of the runs can go, and its removal.

Nothing is removed that was not listed, and nothing outside the folders that were named, whatever links lead there. Each thing loses its
name first: what a kill leaves half is a leftover like any other.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from reasoning_rl.claim import LOCK, claimed, holder
from reasoning_rl.errors import ReasoningRLError, RunError, StorageError
from reasoning_rl.eval.report import FILE
from reasoning_rl.files import discard, leftovers
from reasoning_rl.journal import rollout_steps
from reasoning_rl.learner.checkpoint import checkpoints, newest_whole, step_of
from reasoning_rl.learner.retention import best_of

ALSO: Mapping[str, str] = {
    "checkpoints": "the run can't go back to it, nor be evaluated there",
    "rollouts": "show, verify and train.rollouts need them, and nothing makes them again but training anew",
}
"""What goes on demand alone, and what is lost with it."""
_CACHE = "cache"
_OF_A_RUN = ("config.yaml", "environment.json", "base.json", "metrics.jsonl", "data", "eval", ".lock")


@dataclass(frozen=True)
class Item:
    """A file or folder that can go."""

    path: Path
    size: int
    """Bytes."""
    why: str


@dataclass(frozen=True)
class Share:
    """What can go of one run, or of the cache."""

    folder: Path
    find: Callable[[], list[Item]]
    items: tuple[Item, ...]
    """As they were listed."""


@dataclass(frozen=True)
class Plan:
    """All that can go, and what is left alone and why."""

    shares: tuple[Share, ...]
    left: tuple[str, ...]

    @property
    def items(self) -> list[Item]:
        return [item for share in self.shares for item in share.items]

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)


def plan(runs: Path, chosen: Sequence[Path] = (), also: Collection[str] = ()) -> Plan:
    """Of the `chosen` runs; or of all in the folder `runs`, and of the cold starts there that none of them began with.

    RunError where that folder is not there.
    """
    if not chosen and not runs.is_dir():
        raise RunError(f"--runs: there is no folder {runs}; give that of the runs, or name them")
    there = _run_folders(runs)
    folders = list(chosen) or there
    left = {folder: said for folder in folders if (said := _untouchable(folder))}
    finds = {folder: partial(_of_run, folder, frozenset(also)) for folder in folders if folder not in left}
    if not chosen and (runs / _CACHE).is_dir():
        if (said := _untouchable_cache(runs, there)) is not None:
            left[runs / _CACHE] = said
        else:
            finds[runs / _CACHE] = partial(_of_cache, runs)
    shares = [Share(folder, find, tuple(find())) for folder, find in finds.items()]
    return Plan(tuple(share for share in shares if share.items), tuple(f"{folder} is left alone: {said}" for folder, said in left.items()))


def _run_folders(runs: Path) -> list[Path]:
    """Those that hold something of a run."""
    return [folder for folder in sorted(runs.iterdir()) if _is_run(folder)] if runs.is_dir() else []


def _is_run(folder: Path) -> bool:
    return folder.name != _CACHE and any((folder / name).exists() for name in _OF_A_RUN)


def _untouchable(folder: Path) -> str | None:
    if not _is_run(folder):
        return "it holds no run"
    if folder.is_symlink():
        return f"it is a link; name {folder.resolve()} itself"
    user = _user(folder)
    return f"in use by {user}" if user else None


def _user(folder: Path) -> str | None:
    """Who writes there, or in a run below it: a comparison holds many."""
    return next(filter(None, (holder(lock.parent) for lock in [folder / LOCK, *sorted(folder.rglob(LOCK))])), None)


def _untouchable_cache(runs: Path, there: Sequence[Path]) -> str | None:
    """A run in use may be about to begin with one of its policies."""
    if (runs / _CACHE).is_symlink():
        return "it is a link"
    used = next((folder for folder in there if _user(folder)), None)
    if used is not None:
        return f"{used} is in use"
    return next((f"{folder / 'base.json'} can't be read" for folder in there if _base(folder) is None), None)


def _base(folder: Path) -> str | None:
    """Name of the folder of the model that a run began with, empty where it has not begun; None where that can't be known."""
    try:
        return Path(json.loads((folder / "base.json").read_text(encoding="utf-8"))["model"]).name
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_cache(runs: Path) -> list[Item]:
    if _untouchable_cache(runs, there := _run_folders(runs)):
        return []
    named, cache = {_base(folder) for folder in there}, runs / _CACHE
    idle = [folder for folder in sorted(cache.glob("cold-start-*")) if folder.name not in named]
    return _items(cache, [*_rest(cache), *((folder, "no run began with this cold start") for folder in idle)])


def _of_run(folder: Path, also: Collection[str]) -> list[Item]:
    """Nothing where a run below it has come into use: this process holds the folder itself by now, or nobody does."""
    if any(holder(lock.parent) for lock in folder.rglob(LOCK) if lock.parent != folder):
        return []
    found = [*_rest(folder), *_set_aside(folder), *_joined(folder)]
    found += _older(folder) if "checkpoints" in also else []
    found += _rollouts(folder) if "rollouts" in also else []
    return _items(folder, found)


_Found = Iterator[tuple[Path, str]]


def _rest(folder: Path) -> _Found:
    return ((path, "an interrupted write left it") for path in leftovers(folder))


def _set_aside(folder: Path) -> _Found:
    return ((path, "a damaged checkpoint, set aside") for path in sorted((folder / "checkpoints").glob("step-*.damaged")))


def _joined(folder: Path) -> _Found:
    """Pieces of an evaluation whose answers are in its samples.parquet; those of another evaluation are still wanted."""
    for pieces in sorted((folder / "eval").rglob(".parts-*")):
        wholes = _circumstances(pieces.parent / "samples.parquet")
        if (pieces.parent / FILE).exists() and all(_circumstances(piece) == wholes for piece in pieces.glob("*.parquet")):
            yield pieces, "its evaluation is finished"


def _circumstances(path: Path) -> Mapping[bytes, bytes]:
    """What a file of answers says of the evaluation that asked for them; nothing where it can't be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known: Mapping[bytes, bytes] | None = pq.read_schema(path).metadata
    except (OSError, pa.ArrowException):
        return {}
    return known or {}


def _older(folder: Path) -> _Found:
    """All but the newest that is whole and the best; none where none is whole, or the best can't be known."""
    try:
        newest, best = newest_whole(folder / "checkpoints", lambda _: None), best_of(folder)
    except (ReasoningRLError, UnicodeDecodeError):
        return
    others = [path for path in checkpoints(folder / "checkpoints") if path != newest and step_of(path) != best]
    yield from ((path, f"not the newest; {ALSO['checkpoints']}") for path in others)


def _rollouts(folder: Path) -> _Found:
    if rollout_steps(folder):
        yield folder / "rollouts", ALSO["rollouts"]


def _items(folder: Path, found: Sequence[tuple[Path, str]]) -> list[Item]:
    """None inside another, and none that a link leads to."""
    paths = {path for path, _ in found}
    alone = [(path, why) for path, why in found if not paths.intersection(path.parents)]
    return [Item(path, _size(path), why) for path, why in alone if path.resolve() == folder.resolve() / path.relative_to(folder)]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def remove(plan: Plan, say: Callable[[str], None]) -> int:
    """What was listed and is still as it was then; the bytes that this freed. StorageError when something can't be removed."""
    return sum(_removed(share, say) for share in plan.shares)


def _removed(share: Share, say: Callable[[str], None]) -> int:
    try:
        with claimed(share.folder):
            still = set(share.find())
            going = [item for item in share.items if item in still]
            for item in going:
                discard(item.path)
            _require_gone(share.folder, going)
    except RunError as failure:
        say(f"{share.folder} is left alone: {failure}")
        return 0
    except OSError as failure:
        raise StorageError(f"{failure.filename} can't be removed: {failure.strerror}") from failure
    for item in set(share.items) - still:
        say(f"{item.path} has changed meanwhile and is left alone")
    return sum(item.size for item in going)


def _require_gone(folder: Path, items: Sequence[Item]) -> None:
    """A file that resists stays under the temporary name that its removal gave it."""
    for rest in leftovers(folder):
        if any(rest.name.startswith(f".{item.path.name}.") for item in items):
            raise StorageError(f"{rest} can't be removed, whole or in part; see to its permissions, and repeat the command")


def listing(plan: Plan, *, going: bool = False) -> Table:
    """`going`: nobody will be asked."""
    goes = "goes" if going else "can go"
    table = Table("what", "size", f"why it {goes}", title=f"{goes}: {decimal(plan.size)}", title_justify="left")
    for item in plan.items:
        table.add_row(Text(str(item.path)), decimal(item.size), Text(item.why))
    return table
