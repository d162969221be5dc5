"""The suites `seen` and `perturbed`: training problems of a run, and their twins (perturbation.py), problem by problem under the same ids.

Of a run that has been trained they hold problems that it asked, as its rollouts tell: of 20,000 training problems 120 steps ask few.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

from reasoning_rl.config import Config, DataConfig
from reasoning_rl.data import arithmetic
from reasoning_rl.data.perturbation import Pairs, seen_and_twins
from reasoning_rl.data.suite import Suite
from reasoning_rl.errors import DataError
from reasoning_rl.files import digest
from reasoning_rl.journal import rollout_steps
from reasoning_rl.records import Problem

PAIRS = 500


@dataclass(frozen=True, kw_only=True)
class Retold(Suite):
    """One side of the pairs."""

    side: Literal["seen", "twins"]

    def inputs(self, config: Config) -> Mapping[str, str]:
        """See Suite. ConfigError where the run's problems are not the generator's."""
        pairs = _pairs_of(config)
        return {
            arithmetic.NAME: f"generator {arithmetic.VERSION}, seed {config.seed}",
            "problems": digest([asdict(problem) for problem in self._of(pairs)]),
            "training problems without a twin": str(pairs.skipped),
        }

    def read(self, config: Config) -> list[Problem]:
        """The problems of this side. They keep the ids of the training problems, by which the two suites are paired."""
        return self._of(_pairs_of(config))

    def _of(self, pairs: Pairs) -> list[Problem]:
        return pairs.seen if self.side == "seen" else pairs.twins


def asked(run: Path) -> frozenset[str] | None:
    """Ids of the problems in the rollouts of a run; None where there are none. DataError names a file that can't be read."""
    import pyarrow
    import pyarrow.parquet

    files = rollout_steps(run).values()
    try:
        ids = [pyarrow.parquet.read_table(file, columns=["problem_id"])["problem_id"].to_pylist() for file in files]
    except (OSError, pyarrow.ArrowException) as failure:
        raise DataError(f"{run}: the problems that it asked can't be read from its rollouts: {failure}") from failure
    return frozenset(chain(*ids)) or None


def _pairs_of(config: Config) -> Pairs:
    return _pairs(config.data.model_dump_json(), config.seed, asked(config.folder))


@lru_cache(maxsize=1)
def _pairs(data: str, seed: int, among: frozenset[str] | None) -> Pairs:
    """Told once for both suites: it takes seconds."""
    return seen_and_twins(DataConfig.model_validate_json(data), seed, PAIRS, among)


_CITE = "the built-in generator (docs/data.md), after GSM-Symbolic, Mirzadeh et al. 2024, arXiv:2410.05229"
SEEN = Retold(name="seen", side="seen", size=None, verifier="gsm8k", max_tokens=1024, cite=_CITE)
PERTURBED = Retold(name="perturbed", side="twins", size=None, verifier="gsm8k", max_tokens=1024, cite=_CITE)
