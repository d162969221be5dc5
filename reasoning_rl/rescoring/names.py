"""What the tables call the two sides and the rows: in full once, in a title, and short enough for a cell elsewhere."""

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from reasoning_rl.rescoring.answers import Answer

OWN = "own"
"""The task's own verifier, where the tasks differ."""


@dataclass(frozen=True, slots=True)
class Names:
    """How the two sides are called, and the files."""

    ours: str
    other: str = ""
    judges: bool = True
    """Whether our value says that the answer is right."""
    files: Sequence[str] = ()

    @property
    def places(self) -> str:
        """The file, or how many there are and where."""
        return self.files[0] if len(self.files) == 1 else f"{len(self.files):,} files in {_common(self.files)}"

    def row(self, answer: Answer) -> str:
        """Its number, behind what the file is called where there are several; with its folders only where two are called the same."""
        if len(self.files) == 1:
            return str(answer.row)
        unlike = len({Path(file).name for file in self.files}) == len(self.files)
        return f"{Path(answer.file).name if unlike else os.path.relpath(answer.file, _common(self.files))}:{answer.row}"

    def cells(self) -> tuple[str, str]:
        """Both sides."""
        ours, other = shortened([self.ours, self.other])
        return ours, other


def own(tasks: Set[str]) -> str:
    """The verifier of the tasks, which is called like the task.

    >>> own({"gsm8k"}), own({"gsm8k", "math"})
    ('gsm8k', 'own')
    """
    return next(iter(tasks)) if len(tasks) == 1 else OWN


def shortened(names: Sequence[str]) -> list[str]:
    """Verifiers of files without their folders, unless two would be called the same.

    >>> shortened(["a/b/own.py:last", "math"]), shortened(["a/own.py:last", "b/own.py:last"])
    (['own.py:last', 'math'], ['a/own.py:last', 'b/own.py:last'])
    """
    short = [Path(name).name if ".py:" in name else name for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def _common(files: Sequence[str]) -> str:
    """The folder that holds them all."""
    absolute = [str(Path(file).absolute().parent) for file in files]
    common = os.path.commonpath(absolute) if absolute else "."
    return os.path.relpath(common) if Path(common).is_relative_to(Path.cwd()) else common
