"""Names that a recipe may use, and what they stand for.

A thing gets its name by decorator, by a lazy `module:attribute` row, by an entry point of an installed distribution,
or by standing in a file that the recipe names (`path/to/file.py:name`).
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from difflib import get_close_matches
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from reasoning_rl.errors import ConfigError, ReasoningRLError

T = TypeVar("T")


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name: what is known, and the nearest of it.

    >>> did_you_mean("symbolc", ["format", "math", "symbolic"])
    "known: format, math, symbolic. Did you mean 'symbolic'?"
    """
    near = get_close_matches(name, known, n=1)
    listed = f"known: {', '.join(sorted(known))}." if known else "none is known."
    return f"{listed} Did you mean {near[0]!r}?" if near else listed


class Registry(Generic[T]):
    """Things of one kind by name; found when first asked for, so that naming one does not import the rest."""

    def __init__(self, kind: str, *, package: str = "", entry_point_group: str = "", error: type[ReasoningRLError] = ConfigError) -> None:
        """`package`: its modules register themselves when imported; `entry_point_group`: where other distributions announce theirs."""
        self.kind = kind
        self._package = package
        self._group = entry_point_group
        self._error = error
        self._found: dict[str, T] = {}
        self._lazy: dict[str, str] = {}
        self._searched = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that gives its subject a name. Two things of one name are refused."""

        def named(thing: T) -> T:
            self.add(name, thing)
            return thing

        return named

    def add(self, name: str, thing: T) -> None:
        if name in self._found and self._found[name] is not thing:
            raise self._error(f"{self.kind} {name!r} is defined twice: {_origin(self._found[name])} and {_origin(thing)}")
        self._found[name] = thing

    def add_lazily(self, name: str, target: str) -> None:
        """`target` is `module:attribute`, imported when the name is first asked for."""
        self._lazy[name] = target

    def names(self) -> list[str]:
        self._search()
        return sorted({*self._found, *self._lazy})

    def get(self, name: str, where: str = "") -> T:
        """The thing called `name`, which may be `path/to/file.py:name`; `where` names the setting in the message of a miss."""
        if ".py:" in name:
            return self._from_file(name, where)
        if name not in self._found and name not in self._lazy:
            self._search()
        if name not in self._found and name in self._lazy:
            self._found[name] = self._load(self._lazy[name], where or name)
        if name not in self._found:
            raise self._error(f"{where or name}: no such {self.kind}; {did_you_mean(name, self.names())}")
        return self._found[name]

    def _search(self) -> None:
        """Import the package's modules, which register themselves, and note the entry points."""
        if self._searched:
            return
        self._searched = True
        if self._package:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
        if self._group:
            for point in entry_points(group=self._group):
                if point.name not in self._found:
                    self._lazy[point.name] = point.value

    def _load(self, target: str, where: str) -> T:
        module, _, attribute = target.partition(":")
        try:
            thing: T = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as failure:
            raise self._error(f"{where}: {self.kind} {target!r} can't be loaded: {failure}") from failure
        return thing

    def _from_file(self, name: str, where: str) -> T:
        path, _, attribute = name.rpartition(":")
        before = set(self._found)
        module = import_file(Path(path), where or name, self._error)
        new = {key: thing for key, thing in self._found.items() if key not in before or key == attribute}
        thing = new.get(attribute, module.get(attribute))
        if thing is None:
            raise self._error(f"{where or name}: {path} defines no {self.kind} {attribute!r}; {did_you_mean(attribute, sorted(new))}")
        found: T = thing  # type: ignore[assignment]  # a module's attribute may be anything; its user checks it
        return found


def import_file(path: Path, where: str, error: type[ReasoningRLError]) -> dict[str, object]:
    """The namespace of a Python file outside the package, executed once however often it is asked for."""
    if not path.is_file():
        raise error(f"{where}: there is no file {path}")
    alias = f"reasoning_rl_file_{sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, path)
        if spec is None or spec.loader is None:
            raise error(f"{where}: {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[alias] = module
        try:
            spec.loader.exec_module(module)
        except Exception as failure:  # whatever a user's file raises is reported with its name
            del sys.modules[alias]
            raise error(f"{where}: {path} can't be loaded: {type(failure).__name__}: {failure}") from failure
    return vars(sys.modules[alias])


def _origin(thing: object) -> str:
    return f"{getattr(thing, '__module__', type(thing).__module__)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
