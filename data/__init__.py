"""The data stage: problems from a source, cleaned, written as prompts, stored in parquet with a manifest.

    Source ─► rows ─► duplicates ─► contamination ─► gold check ─► template, tokens ─► parquet + manifest.json

Nothing here imports torch, except through transformers when a pretrained tokenizer is asked for.
"""

if __name__ != "reasoning_rl.data":
    raise ImportError("import reasoning_rl.data, not data")

from reasoning_rl.data.manifest import Manifest, load_manifest
from reasoning_rl.data.prepare import prepare
from reasoning_rl.data.source import SOURCES, Loaded, Rejection, Row, RowError, Source, Worked
from reasoning_rl.data.store import load_demonstrations, load_prompts
from reasoning_rl.data.template import Template, find_template
from reasoning_rl.data.tokenizer import load_tokenizer

__all__ = [
    "SOURCES",
    "Loaded",
    "Manifest",
    "Rejection",
    "Row",
    "RowError",
    "Source",
    "Template",
    "Worked",
    "find_template",
    "load_demonstrations",
    "load_manifest",
    "load_prompts",
    "load_tokenizer",
    "prepare",
]
