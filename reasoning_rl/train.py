"""The loop: sample → judge → credit → step → record."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from reasoning_rl.config import Config
from reasoning_rl.eval.evaluate import quick
from reasoning_rl.journal import Journal
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.memory import peak_memory
from reasoning_rl.learner.mismatch import Watch
from reasoning_rl.learner.worker import Update
from reasoning_rl.objectives import build, reckoned_with
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.progress import Progress
from reasoning_rl.records import Group, Prompt, Sample
from reasoning_rl.rollout.clock import Clock
from reasoning_rl.rollout.gather import Gathered, Source, draws
from reasoning_rl.rollout.groups import Judges, measured
from reasoning_rl.rollout.steps import with_steps


@dataclass
class Loop:
    """Everything a step needs. The crew samples and learns; it holds the policy."""

    config: Config
    crew: Crew
    judge: Judges
    journal: Journal
    progress: Progress
    source: Source
    held_out: Sequence[Prompt]

    def run(self, start: int) -> None:
        """Steps `start` to the last. What a step does depends on its number and the weights alone; see `ahead.py` for whose they are."""
        objective = build(self.config.objective, self.config.sampling.max_tokens)
        limit = None if self.config.train.rollouts else self.config.train.warn_mismatch_kl
        watch = Watch(limit, self.progress.say, reckoned_with(objective, self.config.learner))
        if start == 0:
            self.journal.metrics({"step": 0, **self._held_out(0)})
        for step in range(start, self.config.train.steps):
            clock = Clock(self.progress.phase)
            gathered = self.source.gather(step, self.progress.phase)
            with clock.phase("learn"):
                learned, credit = self._learn(objective, gathered, step)
            metrics = {**measured(gathered.groups), **gathered.metrics, **learned, **spent(gathered, clock), **peak_memory(self.crew)}
            self._record(step + 1, gathered.groups, credit, {**metrics, **watch.look(step + 1, metrics)})

    def _learn(self, objective: Objective, gathered: Gathered, step: int) -> tuple[dict[str, float], list[list[float]]]:
        """The update; what it says of itself, and what each answer was worth to it."""
        by_step = "steps" in objective.needs
        kept = with_steps(gathered.kept, self.crew.local.policy.tokenizer) if by_step else gathered.kept
        cut = parts(kept, self.config.learner.minibatches)
        batches = [objective.arrange(part) for part in cut]
        update = Update(batches, step)
        learned = self.crew.everyone(update, mine=replace(update, settle=self.source.settle))[0]
        given = [row for credited in zip(cut, batches, learned.advantages, strict=True) for row in advantages(*credited)]
        metrics = {**learned.metrics, **learned_from(gathered.groups, batches)}
        return metrics, [*given, *([0.0] * len(group.completions) for group in gathered.others)]

    def _record(self, done: int, groups: Sequence[Group], credit: Sequence[Sequence[float]], metrics: Mapping[str, float]) -> None:
        """Metrics and rollouts of a finished step, then what is due after it."""
        row = {"step": done, **metrics, **self._held_out(done)}
        self.journal.rollouts(done, groups, credit)
        self.journal.metrics(row)
        self.progress.step(row)
        last = done == self.config.train.steps
        if last or (self.config.train.save_every and done % self.config.train.save_every == 0):
            self._save(done)

    def _save(self, done: int) -> Path:
        worker = self.crew.local
        folder = self.config.folder / "checkpoints"
        state = {**worker.learner.state(), **self.source.state()}
        return save_checkpoint(folder, done, worker.policy, state, self.config.train.keep_checkpoints)

    def _held_out(self, done: int) -> dict[str, float]:
        """pass@1 on a slice of the held-out problems, where one is due."""
        train = self.config.train
        if not train.eval_every or (done % train.eval_every and done != train.steps):
            return {}
        self.progress.phase("eval")
        asked = draws(self.config.sampling, self.config.seed, "held-out")
        return quick(self.crew, self.held_out[: train.eval_problems], self.judge, replace(asked, n=4))


def parts(groups: Sequence[Group], count: int) -> list[Sequence[Group]]:
    """`count` optimiser batches of about the same number of groups; fewer where there are fewer groups."""
    count = min(count, len(groups))
    bounds = [len(groups) * index // count for index in range(count + 1)] if groups else []
    return [groups[start:end] for start, end in pairwise(bounds)]


def advantages(groups: Sequence[Group], samples: Sequence[Sample], values: Sequence[float]) -> list[list[float]]:
    """Of each answer, the mean of the `values` of its samples; 0 where the objective left it out."""
    given: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for sample, value in zip(samples, values, strict=True):
        given[sample.group, sample.row].append(value)
    return [[fmean(given.get((index, row), [0.0])) for row in range(len(group.completions))] for index, group in enumerate(groups)]


def learned_from(groups: Sequence[Group], batches: Sequence[Sequence[Sample]]) -> dict[str, float]:
    """`groups/learned`: those with an answer among the samples; `groups/skipped`: the others that were sampled."""
    learned = sum(len({sample.group for sample in batch}) for batch in batches)
    return {"groups/learned": learned, "groups/skipped": len(groups) - learned}


def spent(gathered: Gathered, clock: Clock) -> dict[str, float]:
    """`step_time` and seconds of its parts, and tokens of its answers. Answers bring the seconds that they took, whenever that was."""
    tokens = sum(len(completion.token_ids) for group in gathered.groups for completion in group.completions)
    seconds, elapsed = {**gathered.seconds, **clock.seconds}, clock.elapsed
    sampled = {"sample/tokens_per_second": tokens / seconds["sample"]} if "sample" in seconds else {}
    return {
        "num_completions": sum(len(group.completions) for group in gathered.groups),
        "num_tokens": tokens,
        "step_time": elapsed,
        **{f"seconds/{name}": value for name, value in seconds.items()},
        "tokens_per_second": tokens / elapsed,
        **sampled,
    }
