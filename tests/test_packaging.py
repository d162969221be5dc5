import ast
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import reasoning_rl

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS_AT_THE_TOP = ("rewards", "data", "eval")


def packages_on_disk() -> set[str]:
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "reasoning_rl").rglob("__init__.py")}
    at_the_top = {
        f"reasoning_rl.{'.'.join(path.parent.relative_to(ROOT).parts)}"
        for top in FOLDERS_AT_THE_TOP
        for path in (ROOT / top).rglob("__init__.py")
    }
    return inside | at_the_top


def test_the_list_of_packages_holds_every_folder_with_an_init() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_folder_with_code_has_an_init() -> None:
    holding = {path.parent for top in ("reasoning_rl", *FOLDERS_AT_THE_TOP) for path in (ROOT / top).rglob("*.py")}
    assert [str(folder) for folder in holding if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("folder", FOLDERS_AT_THE_TOP)
def test_a_folder_at_the_top_is_linked_into_the_package_and_nowhere_else(folder: str) -> None:
    link = ROOT / "reasoning_rl" / folder
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{folder}"
    assert PROJECT["tool"]["setuptools"]["package-dir"][f"reasoning_rl.{folder}"] == folder


@pytest.mark.parametrize("folder", FOLDERS_AT_THE_TOP)
def test_a_folder_at_the_top_refuses_to_be_a_top_level_module(folder: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"ImportError: import reasoning_rl.{folder}, not {folder}" in done.stderr


def test_the_version_is_said_once() -> None:
    assert reasoning_rl.__version__ == PROJECT["project"]["version"] == version("reasoning-rl")


def test_constraints_name_every_direct_dependency() -> None:
    names = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = {requirement_name(line) for line in PROJECT["project"]["dependencies"]}
    assert wanted - names == set()


def requirement_name(requirement: str) -> str:
    cut = min((requirement.find(mark) for mark in "[<>=" if mark in requirement), default=len(requirement))
    return requirement[:cut].lower()


def test_asking_for_the_config_imports_no_torch() -> None:
    modules = "reasoning_rl.recipes, reasoning_rl.journal, reasoning_rl.cli"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_module_opens_with_what_it_is() -> None:
    files = [path for top in ("reasoning_rl", *FOLDERS_AT_THE_TOP) for path in (ROOT / top).rglob("*.py")]
    bare = [str(path.relative_to(ROOT)) for path in files if not ast.get_docstring(ast.parse(path.read_text()))]
    assert bare == []
