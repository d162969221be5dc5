"""`manifest.json`: what was prepared from what, with the digest of every file. Written last: a folder with a manifest is whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasoning_rl.checksums import changed
from reasoning_rl.errors import DataError
from reasoning_rl.files import write_json

NAME = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of a prepared folder."""

    source: str
    inputs: Mapping[str, str]
    """File, or data set on the hub, with its SHA-256 or revision."""
    counts: Mapping[str, Any]
    """Per split `read`, `kept` and `set_aside` by stage; and the number of `demonstrations`."""
    files: Mapping[str, str]
    """SHA-256 of each file beside the manifest."""
    template: str
    template_sha256: str
    tokenizer: str
    """`tokenizer` for the folder of that name beside the manifest, else the policy's folder or hub id."""
    seed: int
    settings: Mapping[str, Any]
    """The section `data` of the config."""
    identity: str
    """Digest of all that decides the outcome: settings, inputs, policy, seed, package version."""
    version: str
    schema: int = SCHEMA
    fresh: bool = True
    """Whether the call that returned it did the work; False where it was found done."""

    @property
    def eval_sha256(self) -> str:
        """Of the held-out problems' file: two runs with equal digests were measured on the same problems and prompts."""
        return self.files["eval.parquet"]


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    return write_json(folder / NAME, {key: value for key, value in asdict(manifest).items() if key != "fresh"})


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder. DataError when it is absent, damaged or of another schema."""
    path = folder / NAME
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")), fresh=False)
    except FileNotFoundError as failure:
        raise DataError(f"{path}: there is none; prepare the data first (reasoning-rl data, or make data)") from failure
    except (OSError, ValueError, TypeError) as failure:
        raise DataError(f"{path} is damaged ({failure}); delete the folder and prepare the data again") from failure
    if manifest.schema != SCHEMA:
        raise DataError(f"{path}: schema {manifest.schema}; this version reads schema {SCHEMA}. Prepare the data again")
    return manifest


def up_to_date(folder: Path, identity: str) -> Manifest | None:
    """The manifest, if it stands for the same outcome and every file is still as it was written."""
    try:
        manifest = load_manifest(folder)
    except DataError:  # absent, damaged or old: all reasons to prepare again
        return None
    return manifest if manifest.identity == identity and not any(changed(folder, manifest.files)) else None
