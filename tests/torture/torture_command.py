"""The command line of those who kill: how often, at which instants and where; the folders stay if a promise was broken."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Protocol

from stages import BrokenPromiseError


class Torturer(Protocol):
    """What `commanded` makes and runs."""

    def run(self, count: int) -> None:
        """So many kills. BrokenPromiseError as soon as something else is left than undisturbed."""

    def told(self) -> Iterator[str]:
        """Lines for when no promise was broken."""


def commanded(arguments: Sequence[str] | None, description: str, kills: int, torturer: Callable[[Path, str, Random], Torturer]) -> int:
    """Exit code of the command. `kills` unless told otherwise; `torturer` is made of a folder of its own, a recipe and the instants."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--recipe", default="smoke")
    parser.add_argument("--folder", type=Path, help="to work in; a temporary one if not given")
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(dir=asked.folder, prefix="torture-"))
    torture = torturer(folder, asked.recipe, Random(asked.seed))
    try:
        torture.run(asked.kills)
    except BrokenPromiseError as broken:
        print(f"BROKEN: {broken}\nAll is kept in {folder}", file=sys.stderr)
        return 1
    for line in torture.told():
        print(line)
    shutil.rmtree(folder)
    return 0


def fresh(folder: Path, name: str) -> Path:
    """A folder inside that was not there."""
    made = folder / name
    made.mkdir(parents=True)
    return made
