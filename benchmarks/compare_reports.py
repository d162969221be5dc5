"""Seconds and peak memory of comparing evaluations with many answers, and of writing one. One JSON line each.

    python benchmarks/compare_reports.py                          # 3 runs x 1,319 problems x 256 answers: 1,012,992 rows
    python benchmarks/compare_reports.py --samples 8 --keep out   # smaller; the reports stay in out/

The answers are made up, an engine and a judge being replaced; all else is the eval stage's own. Each measurement has a process of its own.
Linux.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reasoning_rl.records import Completion, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.engine import Sampling


class MadeUp:
    """Solves each problem with a chance of its own, and else gives one of a dozen wrong answers."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: object = None) -> list[list[Completion]]:  # noqa: ARG002
        return [self._answers(int(prompt.problem.gold), sampling.n) for prompt in prompts]

    def _answers(self, gold: int, n: int) -> list[Completion]:
        right = self._rng.random(n) < self._rng.beta(1, 1)
        said = np.where(right, gold, gold + self._rng.geometric(0.3, n).clip(max=12))
        lengths = self._rng.integers(20, 400, n)
        return [Completion(f"<think>…</think><answer>{number}</answer>", (1,) * int(length)) for number, length in zip(said, lengths)]

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [self._verdict(completion.text.split(">")[-2].removesuffix("</answer"), problem.gold) for completion, problem in items]

    def _verdict(self, answer: str, gold: str) -> Verdict:
        right = answer == gold
        score = Score(float(right), "correct" if right else "wrong", f"{answer} against {gold}", answer=answer)
        return Verdict(float(right), {"exact": score}, right, right, answer=score)


def main() -> None:
    asked = _arguments()
    if asked.write:
        print(json.dumps(_written(asked, Path(asked.write))))
    elif asked.compare:
        print(json.dumps(_compared(asked, asked.compare.split(","))))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folders = [f"{asked.keep or temporary}/run-{number}" for number in range(asked.runs)]
            for folder in folders:
                _itself("--write", folder)
            _itself("--compare", ",".join(folders))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--keep", help="a folder for the reports")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--compare", help=argparse.SUPPRESS)
    return parser.parse_args()


def _itself(*more: str) -> None:
    subprocess.run([sys.executable, __file__, *sys.argv[1:], *more], check=True)


def _written(asked: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Of one evaluation, its answers included."""
    from reasoning_rl.config import EvalConfig
    from reasoning_rl.eval.evaluate import evaluate

    problems = [Problem(f"made-up/test/{number}", "made-up", "test", f"What is {number}?", str(number)) for number in range(asked.problems)]
    prompts = [Prompt(problem, problem.question, (1,)) for problem in problems]
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256) if k <= asked.samples]
    config = EvalConfig(samples=asked.samples, k=ks, greedy=False)
    made_up = MadeUp(int(folder.name.removeprefix("run-")))
    start = time.perf_counter()
    evaluate(made_up, prompts, made_up, config, folder=folder, name=folder.name, max_tokens=400, seed=0)  # type: ignore[arg-type]
    return {"benchmark": "evaluate", "rows": asked.problems * asked.samples, "seconds": _since(start), "peak_mib": _peak_mib()}


def _compared(asked: argparse.Namespace, folders: Sequence[str]) -> dict[str, object]:
    start = time.perf_counter()
    from reasoning_rl.eval import compare

    imported = time.perf_counter()
    frame = compare(*folders)
    rows = asked.problems * asked.samples * len(folders)
    seconds = {"seconds": _since(imported), "seconds_with_imports": _since(start)}
    return {"benchmark": "compare", "rows": rows, "lines": len(frame), **seconds, "peak_mib": _peak_mib()}


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
