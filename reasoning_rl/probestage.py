"""The contamination probe as the stage eval runs it: after the report, on the same problems, of the policy that is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reasoning_rl.config import Config
from reasoning_rl.data.store import load_prompts
from reasoning_rl.data.template import Template
from reasoning_rl.eval.probe import Asker, probe
from reasoning_rl.eval.probe_report import is_probed
from reasoning_rl.files import digest
from reasoning_rl.progress import Progress
from reasoning_rl.records import Problem
from reasoning_rl.rollout.groups import Judges
from reasoning_rl.stages import sayer

if TYPE_CHECKING:
    from reasoning_rl.learner.team import Team


@dataclass(frozen=True)
class Probing:
    """What is asked of one policy on one set of problems, beside its report in `folder`."""

    config: Config
    folder: Path
    report: str
    """The key of the report."""
    own: bool
    """Whether the policy is of the run, whose training problems it may have met."""

    @property
    def due(self) -> bool:
        """Whether the settings ask for a probe, and it is not there."""
        return self.config.eval.probe is not None and not is_probed(self.folder, self._key)

    @property
    def _key(self) -> str:
        return digest([self.report, self.config.eval.probe, self.config.data.decontaminate_ngram])

    def run(self, team: "Team", judge: Judges, template: Template, problems: Sequence[Problem], max_tokens: int, console: Console) -> None:
        """Where it is due. See `probe` for what it raises."""
        share = self.config.eval.probe
        if share is None or not self.due:
            return
        import pandas as pd

        config, name = self.config, self.folder.name
        train = [prompt.problem for prompt in load_prompts(config.folder / "data", "train")] if self.own else None
        asker = Asker(team, judge, template, team.tokenizer, max_tokens, tuple(config.sampling.stop), config.seed)
        with Progress(console, len(problems)) as progress:
            progress.phase(f"probe {name}")
            probe(
                asker, problems, folder=self.folder, name=name, share=share, train=train, ngram=config.data.decontaminate_ngram,
                evaluated=pd.read_parquet(self.folder / "problems.parquet"), facts={"key": self._key}, on_progress=progress.at,
            )  # fmt: skip
        sayer(console)(f"wrote {self.folder / 'contamination.md'}")
