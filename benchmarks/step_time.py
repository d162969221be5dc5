"""How long a step takes, by a model: fitted to runs that were made, and predicted for machines that are not at hand.

    python benchmarks/step_time.py --predict 8,64,512                  Qwen2.5-7B on so many GPUs, from data sheets
    python benchmarks/step_time.py --fit runs/one runs/two …           coefficients, residuals, each run predicted from the others
    python benchmarks/step_time.py --fit runs/one runs/two --then runs/four       … and a run that no fit has seen

One JSON line per prediction. What is put in stands in the last one; the formulas stand in sides/step_model.py and sides/step_fit.py. A
prediction for GPUs is arithmetic on inputs: nothing in it was measured on one. `--set` changes an input: `--set mfu=0.3 answer_s=2e-4`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from sides.machine import facts
from sides.step_fit import compared, fit, measured, unseen
from sides.step_model import Mode, Reached, Step, Work, best, inputs

FIXED = Work()
"""1,024 answers a step, as the recipes have it."""
PROMPTS_PER_GPU = 16
"""Where the step grows with the machine; on 8 GPUs both are the same."""


def main() -> None:
    options = arguments()
    lines = fitted(options.fit, options.then) if options.fit else predicted(options)
    for line in lines:
        print(json.dumps({"benchmark": "step_time", **line}), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predict", type=_counts, default=[8, 64, 512], help="numbers of GPUs, with commas between them")
    parser.add_argument("--fit", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--then", type=Path, nargs="+", default=[], help="folders of runs to predict by the fit on the others")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=NUMBER", help="what is reached, in place of what is assumed")
    options = parser.parse_args()
    options.reached = replace(Reached(), **dict(_setting(parser, text) for text in options.set))
    return options


def _counts(text: str) -> list[int]:
    return [int(count) for count in text.split(",")]


def _setting(parser: argparse.ArgumentParser, text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    known = [field.name for field in fields(Reached)]
    if name not in known or not number:
        parser.error(f"--set: found {text!r}; accepted: a number for one of {', '.join(known)}, as in mfu=0.3")
    return name, float(number)


def predicted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The best split for every number of GPUs and every mode; the step as it is, and growing with the machine."""
    for gpus in options.predict:
        for work in dict.fromkeys((FIXED, replace(FIXED, prompts=PROMPTS_PER_GPU * gpus))):
            yield from (described(best(work, gpus, mode, options.reached)) for mode in get_args(Mode))
    yield {"inputs": inputs(options.reached), "work": vars(FIXED)}


def described(step: Step) -> dict[str, Any]:
    """A prediction in one line."""
    seconds, work, layout = step.seconds(), step.work, step.layout
    return {
        "gpus": layout.gpus, "answers": work.total, "mode": layout.mode, "learners": layout.learners, "engines": layout.engines,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "tokens_per_s": round(work.total * work.answer_tokens / seconds["step"]),
        "longest": max((name for name in seconds if name != "step"), key=seconds.__getitem__),
    }  # fmt: skip


def fitted(folders: Sequence[Path], later: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Coefficients of all, each run by the fit on the others, and runs that were not fitted."""
    runs = [measured(folder) for folder in folders]
    coefficients = fit(runs)
    for run in runs:
        yield {"fit": "with it", **compared(run, coefficients)}
    if len(runs) > 1:
        yield from ({"fit": "without it", **line} for line in unseen(runs))
    yield from ({"fit": "never seen", **compared(measured(folder), coefficients)} for folder in later)
    rounded = {phase: {name: float(f"{value:.3g}") for name, value in terms.items()} for phase, terms in coefficients.items()}
    yield {"coefficients_s": rounded, "runs": [run.name for run in runs], **facts()}


if __name__ == "__main__":
    main()
