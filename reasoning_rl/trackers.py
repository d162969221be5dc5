"""Where metrics go beside metrics.jsonl: TensorBoard, Weights & Biases, trackio. Each is imported only when a recipe asks for it."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reasoning_rl.errors import ConfigError

_PROJECT = "reasoning-rl"


class Tracker(Protocol):
    """Takes the metrics of a step."""

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        """Record the row under its names."""

    def close(self) -> None:
        """Send what is still waiting."""


class TensorBoard:
    """Event files in `<run>/tensorboard`, written without torch."""

    def __init__(self, library: Any, folder: Path, config: Mapping[str, object]) -> None:  # noqa: ARG002  # event files have no place for it
        self._writer = library.Writer(str(folder / "tensorboard"))

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, float(value), step=step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Hosted:
    """W&B, and trackio, which speaks the same words."""

    def __init__(self, library: Any, folder: Path, config: Mapping[str, object]) -> None:
        self._library = library
        self._run = library.init(project=_PROJECT, name=folder.name, config=dict(config))

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        self._library.finish()


_KINDS: dict[str, tuple[str, type[TensorBoard] | type[Hosted]]] = {
    "tensorboard": ("tensorboard.summary", TensorBoard),
    "wandb": ("wandb", Hosted),
    "trackio": ("trackio", Hosted),
}


def open_trackers(names: Sequence[str], folder: Path, config: Mapping[str, object]) -> list[Tracker]:
    """The trackers a recipe asks for; ConfigError as `tracker_libraries` raises it, before any is opened."""
    return [_KINDS[name][1](library, folder, config) for name, library in tracker_libraries(names).items()]


def tracker_libraries(names: Sequence[str]) -> dict[str, Any]:
    """The library of each tracker. ConfigError names every one that can't be had, and how to get it."""
    libraries = {name: _library(name) for name in names}
    missing = [name for name, library in libraries.items() if library is None]
    if missing:
        raise ConfigError("\n".join(f"train.trackers: {_how_to_get(name)}" for name in missing))
    return libraries


def _library(name: str) -> Any | None:
    if name not in _KINDS:
        return None
    try:
        return import_module(_KINDS[name][0])
    except ImportError:
        return None


def _how_to_get(name: str) -> str:
    if name not in _KINDS:
        return f"no such tracker {name!r}; known: {', '.join(_KINDS)}"
    return f"{name} is not installed; get it by pip install 'reasoning-rl[{name}]', or take it out of the list"
