r"""Verifiers side by side on the same labelled cases: accuracy, judgements per second, latency; then the judge's processes.

    python benchmarks/verifiers.py --cases FOLDER --rounds 3 > figures.jsonl

A case is a row `{completion, gold, task, label}`, a corpus a JSONL file of them; a completion `{"parts": [[text, n], …]}` is repeated text
and makes its corpus a hostile one, of which is counted what was answered in time. Without --cases: the tests' own cases and worked
arithmetic problems. A verifier from another environment: `--python lm-eval=/path/to/python`.

The table goes to the standard error, one JSON line per row to the standard output. Each round starts each verifier anew, in turn on each
corpus, warmed up with other cases, so that machine noise hits all alike and nothing is remembered from an earlier round. Judgements
per second are medians over the rounds, latencies those of all rounds together. Linux.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from graders.serve import GRADERS, SLOW_S, Case, Judgement, hostile

Judged = list[Judgement]

TESTS = Path(__file__).parents[1] / "tests" / "cases"
SERVER = Path(__file__).parent.absolute() / "graders" / "serve.py"
JUDGED_AT_LEAST = 4000
LAYOUT = "{:22} {:20} {:>7} {:>6} {:>6} {:>9} {:>8} {:>8} {:>8} {:>7}"
HEADER = LAYOUT.format("corpus", "verifier", "acc %", "FP/FN", "errors", "per s", "p50 ms", "p99 ms", "max ms", "ratio")


def main() -> None:
    options = arguments()
    corpora = dict(own_cases() if options.cases is None else read_cases(options.cases))
    corpora = {name: cases for name, cases in corpora.items() if not options.corpora or name in options.corpora}
    pythons = {name: str(Path(path).absolute()) for name, path in (pair.split("=", 1) for pair in options.python)}
    versions = {name: version(name, pythons) for name in options.verifiers}
    rows = []
    print(HEADER, file=sys.stderr)
    for corpus, cases in corpora.items():
        rows += compared(corpus, cases, versions, pythons, options.rounds)
    for corpus, cases in corpora.items():
        if not hostile(cases):
            rows += judge_rates(corpus, cases, options.workers, options.rounds)
    for row in rows:
        print(json.dumps({"benchmark": "verifiers", **row}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, help="a folder of JSONL files")
    parser.add_argument("--corpora", nargs="*", default=[], metavar="NAME", help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verifiers", nargs="+", default=list(GRADERS), choices=list(GRADERS), metavar="NAME", help=", ".join(GRADERS))
    parser.add_argument("--python", nargs="*", default=[], metavar="NAME=PATH", help="the interpreter of a verifier's own environment")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of the judge, from 1 to this many")
    return parser.parse_args()


# Cases


def read_cases(folder: Path) -> Iterator[tuple[str, list[Case]]]:
    for path in sorted(folder.glob("*.jsonl")):
        yield path.stem, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def own_cases() -> Iterator[tuple[str, list[Case]]]:
    """What every clone has: the tests' cases, and stories of the source `arithmetic` with right and wrong golds."""
    from reasoning_rl.config import ArithmeticConfig
    from reasoning_rl.data.arithmetic import stream
    from reasoning_rl.data.stories import calculate, solution

    cases = dict(read_cases(TESTS))
    yield "completions", [{**case, "label": case["verdict"] == "correct"} for case in cases["completions"]]
    yield (
        "equivalence",
        [
            {"completion": rf"So the answer is $\boxed{{{case['answer']}}}$.", "gold": case["gold"], "task": "math", "label": case["equal"]}
            for case in cases["equivalence"]
        ],
    )
    stories = []
    for index, story in enumerate(islice(stream(0, "test", ArithmeticConfig()), 1000)):
        value = story.start
        for step in story.steps:
            value = calculate(value, step)
        stories.append({"completion": solution(story), "gold": str(value + index % 2), "task": "gsm8k", "label": index % 2 == 0})
    yield "arithmetic", stories


# Measuring and reporting


class Server:
    """A verifier in a process of its own, in an empty folder; a context manager."""

    def __init__(self, name: str, pythons: dict[str, str]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        command = [pythons.get(name, sys.executable), "-P", str(SERVER), name]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, cwd=self.folder.name, env=environment, **pipes)
        self.version, self.absent = self.reply() or ("", "did not start")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
        self.folder.cleanup()

    def reply(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or "null")

    def judge(self, cases: list[Case]) -> Judged:
        assert self.process.stdin is not None
        print(json.dumps(cases), file=self.process.stdin, flush=True)
        return [tuple(each) for each in self.reply()]


def version(name: str, pythons: dict[str, str]) -> str:
    """Empty where it is not installed; why it can't be had is told."""
    with Server(name, pythons) as server:
        if server.absent:
            print(f"{name:14} not installed ({server.absent})", file=sys.stderr)
        return server.version


def compared(corpus: str, cases: list[Case], versions: dict[str, str], pythons: dict[str, str], rounds: int) -> list[dict[str, Any]]:
    """One row per verifier."""
    results: dict[str, list[Judged]] = {name: [] for name in versions}
    for _ in range(1 if hostile(cases) else rounds):
        for name in [name for name in versions if versions[name]]:
            with Server(name, pythons) as server:
                results[name].append(server.judge(cases))
    rows = []
    for name, found in results.items():
        row: dict[str, Any] = {"verifier": name, "version": versions[name] or "not installed", "corpus": corpus, "cases": len(cases)}
        rows.append({**row, **(figures(cases, found) if found else {})})
    for row in rows:
        if not hostile(cases):
            row["times_math_verify"] = ratio(results[row["verifier"]], results.get("math-verify", []))
        tell(row)
    return rows


def ratio(found: list[Judged], base: list[Judged]) -> float | None:
    """How many times as fast as the base, the median of the rounds."""
    ratios = [sum(each[1] for each in theirs) / sum(each[1] for each in ours) for ours, theirs in zip(found, base)]
    return round(statistics.median(ratios), 2) if ratios else None


def figures(cases: list[Case], rounds: list[Judged]) -> dict[str, Any]:
    taken, labels = [each[0] for each in rounds[0]], [bool(case["label"]) for case in cases]
    seconds = sorted(1000 * each[1] for judged in rounds for each in judged)
    false_positives = sum(said and not label for said, label in zip(taken, labels))
    false_negatives = sum(label and not said for said, label in zip(taken, labels))
    row: dict[str, Any] = {
        "accuracy": round(100 * (1 - (false_positives + false_negatives) / len(cases)), 2),
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "errors": sum(bool(each[2]) for each in rounds[0]),
    }
    if hostile(cases):
        return {**row, "in_time": sum(not each[2] and each[1] < SLOW_S for each in rounds[0]), "max_ms": round(seconds[-1], 1)}
    rates = [len(cases) / sum(each[1] for each in judged) for judged in rounds]
    row["per_second"] = round(statistics.median(rates), 1)
    row["p50_ms"], row["p99_ms"] = (round(seconds[int(q * len(seconds))], 3) for q in (0.5, 0.99))
    return {**row, "max_ms": round(seconds[-1], 1)}


def tell(row: dict[str, Any]) -> None:
    """A line of the table; of a hostile corpus, how many were answered in time takes the place of the rate."""
    if "accuracy" not in row:
        return
    rate = f"{row['in_time']}/{row['cases']}" if "in_time" in row else f"{row['per_second']:.0f}"
    times = [f"{row[name]:.2f}" if row.get(name) else "" for name in ("p50_ms", "p99_ms", "max_ms", "times_math_verify")]
    wrong = f"{row['false_positives']}/{row['false_negatives']}"
    cells = [row["corpus"], f"{row['verifier']} {row['version']}", f"{row['accuracy']:.2f}", wrong, row["errors"], rate, *times]
    print(LAYOUT.format(*cells), file=sys.stderr, flush=True)


def judge_rates(corpus: str, cases: list[Case], workers: int, rounds: int) -> list[dict[str, Any]]:
    """Completions per second of the judge with one worker and with more, in turn, on a corpus repeated until it is long enough to share."""
    from reasoning_rl.config import JudgeConfig, VerifierConfig
    from reasoning_rl.records import Completion, Problem
    from reasoning_rl.rollout.judge import Judge

    cases = cases * -(-JUDGED_AT_LEAST // len(cases))
    items = [
        (Completion(case["completion"], ()), Problem(str(n), "", "", "", case["gold"], task=case["task"])) for n, case in enumerate(cases)
    ]
    rates: dict[int, list[float]] = {count: [] for count in range(1, workers + 1)}
    with ExitStack() as open_judges:
        judges = {count: open_judges.enter_context(Judge({"math": VerifierConfig()}, JudgeConfig(workers=count))) for count in rates}
        for _ in range(2 * rounds + 1):  # the first starts the workers
            for count, judge in judges.items():
                start = time.perf_counter()
                judge.judge(items)
                rates[count].append(len(items) / (time.perf_counter() - start))
    return [judge_row(corpus, count, len(items), statistics.median(measured[1:])) for count, measured in rates.items()]


def judge_row(corpus: str, workers: int, items: int, rate: float) -> dict[str, Any]:
    cores = os.cpu_count()
    print(f"{corpus:22} judge with {workers} of {cores} cores: {rate:.0f} completions a second", file=sys.stderr)
    return {"verifier": "judge", "corpus": corpus, "workers": workers, "cores": cores, "cases": items, "per_second": round(rate)}


if __name__ == "__main__":
    main()
