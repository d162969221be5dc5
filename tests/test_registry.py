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
