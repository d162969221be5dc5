"""Names that a recipe may use, and what they stand for.

A thing gets its name by decorator, by a lazy `module:attribute` row, by an entry point of an installed distribution,
or by standing in a file that the recipe names (`path/to/file.py:name`).
"""

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable
from difflib import get_close_matches
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from reasoning_rl.errors import ConfigError, ReasoningRLError

T = TypeVar("T")

_FILE = "reasoning_rl_file_"
"""How the module name of a file outside the package begins."""
_REGISTERED = "__reasoning_rl_registered__"
"""In the namespace of such a file: what it registered, by registry."""


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
        self._registrants: dict[str, str] = {}
        self._lazy: dict[str, str] = {}
        self._searched = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that gives its subject a name. Two things of one name are refused."""

        def named(thing: T) -> T:
            self.add(name, thing)
            return thing

        return named

    def add(self, name: str, thing: T) -> None:
        """What a file outside the package adds is found under that file only, so that it may be called like something of the package."""
        namespace = _running_module()
        registrant = str(namespace.get("__name__"))
        if registrant.startswith(_FILE):
            self._put(self._of_file(namespace), name, thing)
        else:
            self._put(self._found, name, thing)
            self._registrants[name] = registrant

    def _put(self, shelf: dict[str, T], name: str, thing: T) -> None:
        if name in shelf and shelf[name] is not thing:
            raise self._error(f"{self.kind} {name!r} is defined twice: {_origin(shelf[name])} and {_origin(thing)}")
        shelf[name] = thing

    def _of_file(self, namespace: dict[str, Any]) -> dict[str, T]:
        """What a file registered here; kept in its own namespace, so that a file which fails takes its things along."""
        shelf: dict[str, T] = namespace.setdefault(_REGISTERED, {}).setdefault(self, {})
        return shelf

    def add_lazily(self, name: str, target: str) -> None:
        """`target` is `module:attribute`, imported when the name is first asked for."""
        self._lazy[name] = target

    def names(self) -> list[str]:
        """Every name, sorted; raises if a module of the package can't be imported."""
        if broken := self._search():
            raise self._error("\n".join(broken))
        return sorted({*self._found, *self._lazy})

    def get(self, name: str, where: str = "") -> T:
        """The thing called `name`, which may be `path/to/file.py:name`; `where` names the setting in the message of a miss."""
        if ".py:" in name:
            return self._from_file(name, where)
        broken = self._search() if name not in self._found and name not in self._lazy else []
        if name not in self._found and name in self._lazy:
            self._found[name] = self._load(self._lazy[name], where or name)
        if name not in self._found and broken:  # one of these may have been about to register it
            raise self._error("\n".join(f"{where or name}: {module}" for module in broken))
        if name not in self._found:
            raise self._error(f"{where or name}: no such {self.kind}; {did_you_mean(name, self.names())}")
        return self._found[name]

    def _search(self) -> list[str]:
        """Import the package's modules, which register themselves, and note the entry points. Says which modules can't be imported.

        It is done once if all is well; what is broken is tried, and said, again.
        """
        if self._searched:
            return []
        path = importlib.import_module(self._package).__path__ if self._package else []
        said = [self._import(module.name) for module in pkgutil.iter_modules(path, f"{self._package}.")]
        broken = [reason for reason in said if reason]
        if self._group:
            for point in entry_points(group=self._group):
                if point.name not in self._found:
                    self._lazy[point.name] = point.value
        self._searched = not broken
        return broken

    def _import(self, module: str) -> str | None:
        """Why the module can't be imported; what it registered until then is forgotten."""
        try:
            importlib.import_module(module)
        except Exception as failure:  # noqa: BLE001  # whatever a file dropped into the package raises is reported with its name
            for name in [name for name, registrant in self._registrants.items() if registrant == module]:
                del self._found[name], self._registrants[name]
            return f"{module} can't be loaded: {type(failure).__name__}: {failure}"
        return None

    def _load(self, target: str, where: str) -> T:
        module, _, attribute = target.partition(":")
        try:
            thing: T = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as failure:
            raise self._error(f"{where}: {self.kind} {target!r} can't be loaded: {failure}") from failure
        return thing

    def _from_file(self, name: str, where: str) -> T:
        path, _, attribute = name.rpartition(":")
        namespace = import_file(Path(path), where or name, self._error)
        own = self._of_file(namespace)
        thing: T | None = own.get(attribute, namespace.get(attribute))  # an attribute may be anything; its user checks it
        if thing is None:
            raise self._error(f"{where or name}: {path} defines no {self.kind} {attribute!r}; {did_you_mean(attribute, sorted(own))}")
        return thing


def import_file(path: Path, where: str, error: type[ReasoningRLError]) -> dict[str, Any]:
    """The namespace of a Python file outside the package, executed once however often it is asked for."""
    if not path.is_file():
        raise error(f"{where}: there is no file {path}")
    alias = f"{_FILE}{sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
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


def _running_module() -> dict[str, Any]:
    """Namespace of the module whose body is being executed: of the innermost, where one imports another."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame.f_globals if frame else {}


def _origin(thing: object) -> str:
    return f"{getattr(thing, '__module__', type(thing).__module__)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
