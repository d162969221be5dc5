"""The loop: sample → judge → credit → step → record."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from reasoning_rl.claim import Claim
from reasoning_rl.config import Config
from reasoning_rl.errors import EngineDied, StorageError
from reasoning_rl.eval.evaluate import quick
from reasoning_rl.journal import Journal, metrics_rows, require_rows
from reasoning_rl.learner.checkpoint import checkpoints, step_of
from reasoning_rl.learner.guards import Guards
from reasoning_rl.learner.memory import peak_memory
from reasoning_rl.learner.mismatch import Watch
from reasoning_rl.learner.offenders import Skipped
from reasoning_rl.learner.retention import Retention, is_due
from reasoning_rl.learner.team import Team
from reasoning_rl.objectives import build, reckoned_with
from reasoning_rl.progress import Progress
from reasoning_rl.records import Group, Prompt, Sample
from reasoning_rl.rollout.clock import Clock
from reasoning_rl.rollout.gather import Gathered, Source, draws
from reasoning_rl.rollout.groups import Judges, measured
from reasoning_rl.rollout.steps import with_steps
from reasoning_rl.signals import finishing


@dataclass
class Loop:
    """Everything a step needs. The team samples and learns; it holds the policy."""

    config: Config
    claim: Claim
    team: Team
    judge: Judges
    journal: Journal
    progress: Progress
    source: Source
    held_out: Sequence[Prompt]

    def run(self, start: int) -> None:
        """Steps `start` to the last. What a step does depends on its number and the weights alone; see `ahead.py` for whose they are.

        A first Ctrl-C or SIGTERM is heard between two steps; what is done by then is saved.
        """
        self._look_back(start)
        with finishing(self._say_finishing) as signals:
            for step in range(start, self.config.train.steps):
                try:
                    self._step(step)
                except EngineDied:
                    signals.stop_if_asked()  # it may have had the signal too
                    raise
                if signals.signal is not None:
                    self._save(step + 1)
                signals.stop_if_asked()

    def _look_back(self, start: int) -> None:
        """What the steps before `start` have to say to those that come; what was written after them goes."""
        config = self.config
        if start:
            require_rows(config.folder, start)
        again = max((row["step"] for row in metrics_rows(config.folder)), default=0)
        if again > start:
            self.progress.say(f"Steps {start + 1} to {again} are made again: no checkpoint holds them")
        history = self.journal.truncate(start if start else -1)
        self._objective = build(config.objective, config.sampling.max_tokens)
        limit = None if config.train.rollouts else config.train.warn_mismatch_kl
        said = any(row.get("sampling/mismatch_high") for row in history)
        self._watch = Watch(limit, self.progress.say, reckoned_with(self._objective, config.learner), said)
        self._guards = Guards(config.guards, self.progress.say, history)
        self._retention = Retention(config.folder / "checkpoints", config.train, history)
        self._retention.prune()
        if start == 0:
            self.journal.metrics({"step": 0, **self._held_out(0)})

    def _say_finishing(self) -> None:
        self.progress.say("Stopping when this step is finished and saved; once more stops at once")

    def _step(self, step: int) -> None:
        clock = Clock(self.progress.phase)
        try:
            gathered = self.source.gather(step, self.progress.phase)
        except EngineDied:
            self._rescue(step)
            raise
        with clock.phase("learn"):
            learned, credit = self._learn(gathered, step)
        around = {**spent(gathered, clock), **peak_memory(self.team), **self.team.metrics()}
        metrics = {**measured(gathered.groups), **gathered.metrics, **learned, **around}
        metrics |= self._watch.look(step + 1, metrics)
        self._record(step + 1, gathered.groups, credit, {**metrics, **self._guards.look(step + 1, metrics)})

    def _learn(self, gathered: Gathered, step: int) -> tuple[dict[str, float], list[list[float]]]:
        """The update; what it says of itself, and what each answer was worth to it."""
        by_step = "steps" in self._objective.needs
        kept = with_steps(gathered.kept, self.team.tokenizer) if by_step else gathered.kept
        cut = parts(kept, self.config.learner.minibatches)
        batches = [self._objective.arrange(part) for part in cut]
        learned = self.team.update(batches, step, self.source.settle)
        if learned.skipped:
            self.claim.require()
            rows = {row for skipped in learned.skipped for row in _in_step(skipped, cut)}
            self._guards.skipped(step + 1, learned.skipped, self.journal.faults(step + 1, kept, rows))
        given = [row for credited in zip(cut, batches, learned.advantages, strict=True) for row in advantages(*credited)]
        metrics = {**learned.metrics, **learned_from(gathered.groups, batches)}
        return metrics, [*given, *([0.0] * len(group.completions) for group in gathered.others)]

    def _record(self, done: int, groups: Sequence[Group], credit: Sequence[Sequence[float]], metrics: Mapping[str, float]) -> None:
        """Metrics and rollouts of a finished step, then what is due after it."""
        row = {"step": done, **metrics, **self._held_out(done)}
        self.claim.require()
        self.journal.rollouts(done, groups, credit)
        self.journal.metrics(row)
        self.progress.step(row)
        self._retention.note(row)
        if is_due(done, self.config.train):
            self._save(done)
            if self._retention.unknown(row):
                self.progress.say(
                    f"train.keep_best: step {done} has no {self.config.train.keep_best!r} in its metrics, and can't be the best"
                )
        self._guards.enforce()

    def _save(self, done: int) -> None:
        """Where it is not there already."""
        self.claim.require()
        folder = self.config.folder / "checkpoints"
        if done not in map(step_of, checkpoints(folder)):
            self.team.save(folder, done, self.source.state())
        self._retention.prune()

    def _rescue(self, done: int) -> None:
        """Of a policy that nobody is left to sample from; its learner has finished `done` steps. Its answers, where some wait, are lost."""
        if not done or self.config.train.off_policy_steps:
            return
        try:
            self._save(done)
        except StorageError as failure:  # what ended the engine may have spoilt the GPU for the learner too
            self.progress.say(f"{failure}; the checkpoint before it is used")

    def _held_out(self, done: int) -> dict[str, float]:
        """pass@1 on a slice of the held-out problems, where one is due."""
        train = self.config.train
        if not train.eval_every or (done % train.eval_every and done != train.steps):
            return {}
        self.progress.phase("eval")
        asked = draws(self.config.sampling, self.config.seed, "held-out")
        return quick(self.team, self.held_out[: train.eval_problems], self.judge, replace(asked, n=4))


def parts(groups: Sequence[Group], count: int) -> list[Sequence[Group]]:
    """`count` optimiser batches of about the same number of groups; fewer where there are fewer groups."""
    count = min(count, len(groups))
    bounds = [len(groups) * index // count for index in range(count + 1)] if groups else []
    return [groups[start:end] for start, end in pairwise(bounds)]


def _in_step(skipped: Skipped, cut: Sequence[Sequence[Group]]) -> list[tuple[int, int]]:
    """Group, counted over all batches of the step, and place in it of the answers that an update was left out for."""
    before = sum(len(part) for part in cut[: skipped.batch])
    return [(before + group, row) for group, row in skipped.rows]


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
