"""Kill the stages of a recipe at random instants and give the same command again: what is left must be what an undisturbed run leaves.

    python tests/torture/kills.py --kills 50 --seed 0

First data, train and eval undisturbed, in a folder of their own; then chains of the same, each in a fresh folder. On the way a chain is
killed up to ten times, by SIGKILL to the main process alone: some time into a phase, drawn evenly from as long as it took undisturbed, and
every phase as often as the others. A process that ends before its kill counts for none, and the kill is aimed again. At the end of a
chain the digests of all its files must be those of the undisturbed run (see fingerprints.py), or this ends with exit code 1 and keeps the
folders.

Killing one of a judge's workers is another matter: the answer it was at is recorded as lost, as a hostile one would be.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fingerprints import difference, fingerprint, summary
from stages import PHASES, STAGES, BrokenPromiseError, Phase, by_name, finish, killed_in, run_all
from torture_command import commanded, fresh

MOST_A_CHAIN = 10
_SOONER = 0.8
_TRIES = 5
"""Times as many aims as kills, at most: a phase that is always over before its kill would keep this busy for ever."""


@dataclass
class Torture:
    """One undisturbed run, and the chains that must come to the same."""

    folder: Path
    recipe: str
    random: Random
    kills: Counter[Phase] = field(default_factory=Counter)
    missed: int = 0
    chains: int = 0
    reached: set[str] = field(default_factory=set)
    """One digest of all files, of each chain."""

    def run(self, count: int) -> None:
        """BrokenPromiseError as soon as a chain leaves something else."""
        undisturbed = fresh(self.folder, "undisturbed")
        self._took = run_all(undisturbed, self.recipe)
        print("undisturbed: " + ", ".join(f"{phase.name} {seconds:.1f} s" for phase, seconds in self._took.items()), flush=True)
        self.expected = fingerprint(self._run_in(undisturbed))
        aims = [PHASES[number % len(PHASES)] for number in range(count)]
        while aims:
            late = self._chain(aims[:MOST_A_CHAIN])
            aims = aims[MOST_A_CHAIN:] + late
            if self.missed > _TRIES * count:
                raise BrokenPromiseError(
                    f"{self.missed} of the processes ended before they could be killed; the last: {by_name(Counter(late))}"
                )

    def told(self) -> Iterator[str]:
        """How many, and the digests."""
        yield f"{self.kills.total()} kills in {self.chains} chains: {by_name(self.kills)}"
        yield f"undisturbed  {summary(self.expected)}"
        yield f"every chain  {', '.join(self.reached)}"

    def _chain(self, aims: Sequence[Phase]) -> list[Phase]:
        """All stages, with kills in these phases; returns those in which there was no time for one."""
        self.chains += 1
        folder = fresh(self.folder, f"chain-{self.chains:02d}")
        late: list[Phase] = []
        for stage in STAGES:
            late += self._stage(folder, sorted((aim for aim in aims if aim.stage == stage), key=PHASES.index))
            finish(folder, self.recipe, stage)
        self._compare(folder)
        return late

    def _stage(self, folder: Path, aims: Sequence[Phase]) -> Sequence[Phase]:
        """Kills in one stage; returns the aims that are left when it has ended, since in this chain there is nothing more to kill."""
        for number, phase in enumerate(aims):
            if not self._killed(phase, folder):
                return aims[number:]
        return []

    def _compare(self, folder: Path) -> None:
        left = fingerprint(self._run_in(folder))
        self.reached.add(summary(left))
        if found := difference(self.expected, left):
            raise BrokenPromiseError(f"chain {self.chains} left something else than the undisturbed run:\n  " + "\n  ".join(found))
        print(f"chain {self.chains}: {len(left)} files, all as in the undisturbed run", flush=True)
        shutil.rmtree(folder)

    def _killed(self, aim: Phase, folder: Path) -> bool:
        after_s = self.random.uniform(0, self._took[aim])
        hit = killed_in(aim, after_s, folder, self.recipe)
        told = f"killed in {hit.name}" if hit else "had ended"
        print(f"chain {self.chains}: {told}, {after_s:.2f} s after the begin of {aim.name}", flush=True)
        if hit:
            self.kills[hit] += 1
            return True
        self.missed += 1
        self._took[aim] *= _SOONER  # the machine has more time for it than it had at first
        return False

    def _run_in(self, folder: Path) -> Path:
        return folder / "runs" / self.recipe


def main(arguments: Sequence[str] | None = None) -> int:
    return commanded(arguments, "Kill a recipe's stages at random instants; what is left must be as if nobody had.", 50, Torture)


if __name__ == "__main__":
    sys.exit(main())
