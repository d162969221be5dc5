import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reasoning_rl.errors import ConfigError, VerifierError
from reasoning_rl.registry import Registry, import_file

Thing = Callable[..., object]
"""What the tests register."""


def registry() -> Registry[Thing]:
    return Registry("thing")


def test_a_decorated_thing_is_found_by_its_name() -> None:
    things = registry()

    @things.register("one")
    def one() -> int:
        return 1

    assert things.get("one") is one
    assert things.names() == ["one"]


def test_a_miss_names_the_setting_what_is_known_and_the_nearest() -> None:
    things = registry()
    things.add("symbolic", int)
    with pytest.raises(ConfigError, match=r"rewards\.symbolc: no such thing; known: symbolic\. Did you mean 'symbolic'\?"):
        things.get("symbolc", "rewards.symbolc")


def test_an_empty_registry_says_that_nothing_is_known() -> None:
    with pytest.raises(ConfigError, match="none is known"):
        registry().get("x")


def test_two_things_of_one_name_are_refused_and_the_same_one_twice_is_not() -> None:
    things = registry()
    things.add("one", int)
    things.add("one", int)
    with pytest.raises(ConfigError, match=r"'one' is defined twice: builtins\.int and builtins\.float"):
        things.add("one", float)


def test_a_lazy_row_is_imported_when_it_is_asked_for() -> None:
    things = registry()
    things.add_lazily("digest", "reasoning_rl.files:digest")
    things.add_lazily("broken", "no.such.module:thing")
    assert things.names() == ["broken", "digest"]
    assert things.get("digest")({}) == things.get("digest")({})
    with pytest.raises(ConfigError, match=r"here: thing 'no\.such\.module:thing' can't be loaded: No module named 'no'"):
        things.get("broken", "here")


def test_a_file_may_register_its_thing_or_just_define_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def plain():\n    return 'plain'\n")
    assert registry().get(f"{path}:plain")() == "plain"


def test_a_file_is_executed_once(tmp_path: Path) -> None:
    path = tmp_path / "once.py"
    path.write_text("value = object()\n")
    assert import_file(path, "here", ConfigError)["value"] is import_file(path, "here", ConfigError)["value"]


TWO_KINDS = Registry[Thing]("kind")
"""For files that register into a registry which isn't the one that asks for them first."""
REGISTERING = """
from test_registry import TWO_KINDS

@TWO_KINDS.register("own")
def another_name():
    return "the file's"
"""


def test_what_a_file_defines_wins_over_a_thing_of_the_same_name_and_does_so_again(tmp_path: Path) -> None:
    path = tmp_path / "same_name.py"
    path.write_text("def taken():\n    return 'the file\\'s'\n")
    things = registry()
    things.add("taken", lambda: "built in")
    assert [things.get(f"{path}:taken")(), things.get(f"{path}:taken")(), things.get("taken")()] == ["the file's", "the file's", "built in"]


def test_what_a_file_registers_is_its_own_whoever_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "TWO_KINDS", things := Registry[Thing]("kind"))
    things.add("own", lambda: "built in")
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(REGISTERING)
    second.write_text(REGISTERING)
    assert registry().get(f"{first}:another_name")() == "the file's"  # a registry of another kind executes it
    assert things.get(f"{first}:own")() == "the file's"
    assert things.get(f"{second}:own") is not things.get(f"{first}:own")
    assert things.get("own")() == "built in"
    with pytest.raises(ConfigError, match=r"defines no kind 'owm'; known: own\. Did you mean 'own'\?"):
        things.get(f"{first}:owm")


def test_what_a_file_imports_registers_for_everyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "TWO_KINDS", things := Registry[Thing]("kind"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_by_a_file.py").write_text(REGISTERING)
    path = tmp_path / "importing.py"
    path.write_text("import imported_by_a_file\ndef plain():\n    return 1\n")
    assert things.get(f"{path}:plain")() == 1
    assert things.names() == ["own"]


def test_a_file_that_fails_after_it_registered_says_the_same_when_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    path = tmp_path / "fails_late.py"
    path.write_text(REGISTERING + "1 / 0\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"fails_late\.py can't be loaded: ZeroDivisionError"):
            TWO_KINDS.get(f"{path}:own")
    assert TWO_KINDS.names() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [("1 / 0", "ZeroDivisionError"), ("def (", "SyntaxError"), ("other = 1", "defines no thing 'wanted'")],
)
def test_a_file_without_the_thing_is_reported_with_its_reason(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"file_{len(said)}.py"
    path.write_text(content)
    with pytest.raises(VerifierError, match=said):
        Registry[Thing]("thing", error=VerifierError).get(f"{path}:wanted", "rewards.x")


def test_a_file_that_is_not_there_or_no_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rewards\.x: there is no file .*absent\.py"):
        registry().get(f"{tmp_path}/absent.py:thing", "rewards.x")
    (tmp_path / "text.txt").write_text("")
    with pytest.raises(ConfigError, match="is not a Python file"):
        import_file(tmp_path / "text.txt", "here", ConfigError)


def test_modules_of_the_package_and_entry_points_are_found_when_names_are_asked_for(tmp_path: Path) -> None:
    """In a process of its own: the search imports a package and reads distributions from the path."""
    package = tmp_path / "shelf"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from reasoning_rl.registry import Registry\nTHINGS = Registry('thing', package='shelf', entry_point_group='shelf.things')\n"
    )
    (package / "inside.py").write_text("from shelf import THINGS\n@THINGS.register('inside')\ndef inside(): return 1\n")
    (tmp_path / "elsewhere.py").write_text("def outside(): return 2\n")
    announced = tmp_path / "elsewhere-1.0.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (announced / "entry_points.txt").write_text("[shelf.things]\noutside = elsewhere:outside\n")
    program = "from shelf import THINGS; print(THINGS.names(), THINGS.get('inside')(), THINGS.get('outside')())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['inside', 'outside'] 1 2"


def test_a_broken_module_is_named_each_time_and_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken one, first in the alphabet, registers `late` and imports a good one before it fails."""
    package = tmp_path / "shelf_with_a_broken_board"
    package.mkdir()
    (package / "__init__.py").write_text("from reasoning_rl.registry import Registry\nTHINGS = Registry('thing', package=__name__)\n")
    register = "from .. import THINGS\n@THINGS.register('{name}')\ndef thing(): return '{name}'\n".replace("..", package.name)
    (package / "broken.py").write_text(register.format(name="late") + f"import {package.name}.good\n1 / 0\n")
    (package / "good.py").write_text(register.format(name="good"))
    monkeypatch.syspath_prepend(tmp_path)
    things: Registry[Thing] = importlib.import_module(package.name).THINGS
    broken = f"{package.name}.broken can't be loaded: ZeroDivisionError: division by zero"
    for _ in range(2):
        assert refusal(lambda: things.get("late", "here")) == f"here: {broken}"
        assert refusal(things.names) == broken
        assert things.get("good")() == "good"


def refusal(asking: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        asking()
    return str(caught.value)
