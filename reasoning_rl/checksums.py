"""SHA256SUMS: the digests of a finished folder's files, so that a damaged one is known before it is used.

The file is that of coreutils: `cd runs/cpu/checkpoints/step-00120 && sha256sum -c SHA256SUMS` checks it without this package.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from reasoning_rl.files import sha256_of

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> Path:
    """Of every file below a folder that is about to be put in place."""
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = folder / SUMS
    sums.write_text("".join(lines), encoding="utf-8")
    return sums


def damage(folder: Path) -> str | None:
    """What of a finished folder is not as it was written, in words; None where all is. Files that came later are nobody's damage."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{SUMS} is {'unreadable' if (folder / SUMS).exists() else 'missing'}"
    if not lines:
        return f"{SUMS} is empty"
    files = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    return next((f"{name} {found}" for name, found in changed(folder, files)), None)


def changed(folder: Path, files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Of files below a folder, given with their SHA-256, those that are not as they were written, each with what is wrong."""
    return ((name, found) for name, sha256 in files.items() if (found := _change(folder / name, sha256)))


def _change(path: Path, sha256: str) -> str | None:
    try:
        return None if sha256_of(path) == sha256 else "is not as it was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as failure:
        return f"can't be read: {failure.strerror}"
