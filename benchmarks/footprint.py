"""Seconds and peak memory of a command with all the processes it starts, as one JSON line. Linux.

    python benchmarks/footprint.py -- make data train eval

Without a command: the recipe `smoke` in a folder of its own. Memory is the proportional set size, so that shared pages count once;
it is sampled.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLED_EVERY_S = 0.5


def main() -> None:
    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    with tempfile.TemporaryDirectory() as runs:
        command = command or [sys.executable, "-m", "reasoning_rl", "train", "--recipe", "smoke", f"runs={runs}"]
        start, peak = time.perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, sum(map(proportional_kib, family(process.pid))))
                time.sleep(SAMPLED_EVERY_S)
        seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"benchmark": "footprint", "exit": process.returncode, "seconds": seconds, "peak_gib": round(peak / 2**20, 2)}))
    sys.exit(process.returncode)


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended since
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended since
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
