"""How often 95 % intervals of pass@k hold the truth, and how often a paired test raises a false alarm, in simulated evaluations.

    python benchmarks/coverage.py                       # 2,000 evaluations a cell; some minutes on two cores
    python benchmarks/coverage.py --markdown            # the tables of docs/evaluation.md, after the JSON lines

The chance that a problem is solved is drawn from a Beta distribution, answers from that chance: so problems and samples are both luck, and
the truth, pass@k = 1 − B(a, b+k)/B(a, b), is known. `score` is the interval of reports, `bootstrap` that over problems. Of two policies the
second solves each problem with the same chance, which is where alarms are false, or with chance p^0.8. One JSON line a cell.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import betaln
from scipy.stats import beta

from reasoning_rl.eval.passk import pass_at_k
from reasoning_rl.eval.statistics import Interval, bootstrap_intervals, mcnemar, rate_difference, rate_interval, sign_flips

POPULATIONS = {
    "all kinds": (1.0, 1.0),
    "easy or hard": (0.5, 0.5),
    "mostly solved": (4.0, 1.0),
    "mostly unsolved": (0.4, 1.2),
    "hard": (0.15, 1.5),
    "nearly all solved": (8.0, 0.5),
}
"""Of problems: the two parameters of the chance that a sample solves one."""
KS, PROBLEMS = (1, 4, 16), (50, 300, 1319)
BETTER = 0.8
"""Exponent of the chances of the better policy."""
GRID = 100_000
"""Quantiles of a population over which the truth of a difference is averaged."""
AT_ONCE = 250
"""Simulated evaluations whose intervals are computed together."""

Rates = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Intervals under one setting. `below` and `above`: how often the truth lies there, of the score interval."""

    population: str
    samples: int
    problems: int
    k: int
    truth: float
    score: float
    below: float
    above: float
    bootstrap: float
    width: float


@dataclass(frozen=True)
class Alarms:
    """Shares of p ≤ 5 % where there is no difference. `test` says which p-value."""

    test: str
    population: str
    samples: int
    problems: int
    k: int
    alarms: float
    problems_that_moved: float
    """Mean number of problems that the two runs solve differently: with a handful no test can reach 5 %."""


@dataclass(frozen=True)
class Gap:
    """Intervals of a paired difference: how often they hold it where it is 0, and where the second policy is better."""

    population: str
    samples: int
    problems: int
    k: int
    truth: float
    none: float
    score: float
    bootstrap: float


Line = Cell | Alarms | Gap
Kind = TypeVar("Kind", Cell, Gap)


def main() -> None:
    asked = _arguments()
    lines: list[Line] = []
    for name, shape in POPULATIONS.items():
        for problems in PROBLEMS:
            for line in _lines(name, shape, problems, asked):
                lines.append(line)
                kind = type(line).__name__.lower()
                print(json.dumps({"benchmark": f"coverage: {kind}", "evaluations": asked.evaluations, **asdict(line)}), flush=True)
    if asked.markdown:
        cells, alarms, gaps = ([line for line in lines if isinstance(line, kind)] for kind in (Cell, Alarms, Gap))
        print("\n".join(["", *_table_of_intervals(cells), "", *_table_of_gaps(gaps), "", *_table_of_alarms(alarms)]))


def _lines(name: str, shape: tuple[float, float], problems: int, asked: argparse.Namespace) -> Iterator[Line]:
    for samples in asked.samples:
        yield from coverage(name, shape, problems, samples, asked)
        yield from gaps(name, shape, problems, samples, asked)
    yield from false_alarms(name, shape, problems, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--samples", type=lambda text: [int(each) for each in text.split(",")], default=[16, 64])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


def coverage(name: str, shape: tuple[float, float], problems: int, samples: int, asked: argparse.Namespace) -> Iterator[Cell]:
    """A cell for each k."""
    rng = np.random.default_rng([asked.seed, problems, samples])
    counts = rng.binomial(samples, rng.beta(*shape, size=(asked.evaluations, problems)))
    for k in KS:
        values_EQ = np.asarray(pass_at_k(samples, counts, k))
        truth = float(-np.expm1(betaln(shape[0], shape[1] + k) - betaln(*shape)))
        score = [rate_interval(values) for values in values_EQ]
        bootstrap = [
            each for start in range(0, len(values_EQ), AT_ONCE) for each in bootstrap_intervals(values_EQ[start : start + AT_ONCE].T)
        ]
        below, above = _missed(score, truth)
        width = float(np.mean([each.high - each.low for each in score]))
        yield Cell(name, samples, problems, k, truth, 1 - below - above, below, above, 1 - sum(_missed(bootstrap, truth)), width)


def _missed(intervals: Sequence[Interval], truth: float) -> tuple[float, float]:
    """How often the truth lies below and above."""
    below = np.mean([truth < each.low - 1e-12 for each in intervals])
    return float(below), float(np.mean([truth > each.high + 1e-12 for each in intervals]))


def gaps(name: str, shape: tuple[float, float], problems: int, samples: int, asked: argparse.Namespace) -> Iterator[Gap]:
    """A cell for each k."""
    rng = np.random.default_rng([asked.seed, problems, samples, 1])
    chances = rng.beta(*shape, size=(asked.evaluations, problems))
    base, same, better = (rng.binomial(samples, each) for each in (chances, chances, chances**BETTER))
    grid = beta.ppf((np.arange(GRID) + 0.5) / GRID, *shape)
    for k in KS:
        base_EQ, same_EQ, better_EQ = (np.asarray(pass_at_k(samples, counts, k)) for counts in (base, same, better))
        truth = float(((1 - grid) ** k - (1 - grid**BETTER) ** k).mean())
        none, score = ([rate_difference(*sides) for sides in zip(other, base_EQ, strict=True)] for other in (same_EQ, better_EQ))
        moved_EQ = better_EQ - base_EQ
        bootstrap = [
            each for start in range(0, len(moved_EQ), AT_ONCE) for each in bootstrap_intervals(moved_EQ[start : start + AT_ONCE].T)
        ]
        held = [1 - sum(_missed(*each)) for each in ((none, 0.0), (score, truth), (bootstrap, truth))]
        yield Gap(name, samples, problems, k, truth, *held)


def false_alarms(name: str, shape: tuple[float, float], problems: int, asked: argparse.Namespace) -> Iterator[Alarms]:
    """Sixteen samples with the sign-flip test for each k, and one with McNemar's."""
    rng = np.random.default_rng([asked.seed, problems])
    chances = rng.beta(*shape, size=(asked.evaluations, problems))
    for samples, ks in ((16, KS), (1, (1,))):
        counts = rng.binomial(samples, chances, size=(2, *chances.shape))
        for k in ks:
            ours, theirs = (np.asarray(pass_at_k(samples, side, k)) for side in counts)
            yes_or_no = k == samples
            p_values = _p_values(ours, theirs, yes_or_no)
            moved = float((ours != theirs).sum(axis=1).mean())
            test = "McNemar, mid-p" if yes_or_no else "sign flips"
            yield Alarms(test, name, samples, problems, k, float(np.mean(np.array(p_values) <= 0.05)), moved)


def _p_values(ours_EQ: Rates, theirs_EQ: Rates, yes_or_no: bool) -> list[float]:
    if yes_or_no:
        return [mcnemar(one, other) for one, other in zip(ours_EQ, theirs_EQ, strict=True)]
    moved_EQ = ours_EQ - theirs_EQ
    return [p for start in range(0, len(moved_EQ), AT_ONCE) for p in sign_flips(moved_EQ[start : start + AT_ONCE].T)]


def _table_of_intervals(cells: Sequence[Cell]) -> Iterator[str]:
    """In each column score / bootstrap, in percent."""
    return _table(cells, lambda cell: f"{100 * cell.score:.1f} / {100 * cell.bootstrap:.1f}")


def _table_of_gaps(gaps: Sequence[Gap]) -> Iterator[str]:
    """Of differences: where there is none, where there is one, and then by bootstrap."""
    return _table(gaps, lambda gap: f"{100 * gap.none:.1f} / {100 * gap.score:.1f} / {100 * gap.bootstrap:.1f}")


def _table(lines: Sequence[Kind], shown: Callable[[Kind], str]) -> Iterator[str]:
    """A row for each population and number of samples."""
    columns = [(problems, k) for problems in PROBLEMS for k in KS]
    yield "| problems are | samples | " + " | ".join(f"{problems}: pass@{k}" for problems, k in columns) + " |"
    yield "|---|--:|" + "--:|" * len(columns)
    for name, samples in dict.fromkeys((line.population, line.samples) for line in lines):
        of = {(line.problems, line.k): line for line in lines if (line.population, line.samples) == (name, samples)}
        yield f"| {name} | {samples} | {' | '.join(shown(of[column]) for column in columns)} |"


def _table_of_alarms(alarms: Sequence[Alarms]) -> Iterator[str]:
    """A row for each population; in each column the share of false alarms in percent, with the number of problems that moved."""
    columns = list(dict.fromkeys((each.problems, each.k, each.samples) for each in alarms))
    yield "| problems are | " + " | ".join(f"{problems}: pass@{k}, n = {samples}" for problems, k, samples in columns) + " |"
    yield "|---|" + "--:|" * len(columns)
    for name in dict.fromkeys(each.population for each in alarms):
        of = {(each.problems, each.k, each.samples): each for each in alarms if each.population == name}
        cells = [f"{100 * of[column].alarms:.1f} ({of[column].problems_that_moved:.0f})" for column in columns]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
