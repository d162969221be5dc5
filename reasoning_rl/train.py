"""The loop: sample → judge → credit → step → record."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from reasoning_rl.config import Config
from reasoning_rl.eval.evaluate import quick
from reasoning_rl.journal import Journal
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Update
from reasoning_rl.objectives import build
from reasoning_rl.progress import Progress
from reasoning_rl.records import Group, Prompt, Sample
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.groups import Judges, judged, measured
from reasoning_rl.rollout.randomness import generator


@dataclass
class Loop:
    """Everything a step needs. The crew samples and learns; it holds the policy."""

    config: Config
    crew: Crew
    judge: Judges
    journal: Journal
    progress: Progress
    prompts: Sequence[Prompt]
    held_out: Sequence[Prompt]

    def run(self, start: int) -> None:
        """Steps `start` to the last. What a step does depends on its number and the weights alone."""
        objective = build(self.config.objective, self.config.sampling.max_tokens)
        if start == 0:
            self.journal.metrics({"step": 0, **self._held_out(0)})
        for step in range(start, self.config.train.steps):
            clock = Clock(self.progress.phase)
            with clock.phase("sample"):
                prompts = prompts_of_step(self.prompts, step, self.config.sampling.prompts_per_step, self.config.seed)
                answers = self.crew.generate(prompts, self._sampling(f"train/{step}"))
            with clock.phase("judge"):
                groups = judged(prompts, answers, self.judge)
            with clock.phase("learn"):
                cut = parts(groups, self.config.learner.minibatches)
                batches = [objective.arrange(part) for part in cut]
                learned = self.crew.everyone(Update(batches, step))[0]
            credit = [row for part, batch in zip(cut, batches, strict=True) for row in advantages(part, batch)]
            self._record(step + 1, groups, credit, {**measured(groups), **learned, **clock.metrics(groups)})

    def _record(self, done: int, groups: Sequence[Group], credit: Sequence[Sequence[float]], metrics: Mapping[str, float]) -> None:
        """Metrics and rollouts of a finished step, then what is due after it."""
        learned = sum(any(row) for row in credit)
        row = {"step": done, **metrics, "groups/learned": learned, "groups/skipped": len(groups) - learned, **self._held_out(done)}
        self.journal.rollouts(done, groups, credit)
        self.journal.metrics(row)
        self.progress.step(row)
        last = done == self.config.train.steps
        if last or (self.config.train.save_every and done % self.config.train.save_every == 0):
            self._save(done)

    def _save(self, done: int) -> Path:
        worker = self.crew.local
        folder = self.config.folder / "checkpoints"
        return save_checkpoint(folder, done, worker.policy, worker.learner.state(), self.config.train.keep_checkpoints)

    def _held_out(self, done: int) -> dict[str, float]:
        """pass@1 on a slice of the held-out problems, where one is due."""
        train = self.config.train
        if not train.eval_every or (done % train.eval_every and done != train.steps):
            return {}
        self.progress.phase("eval")
        return quick(self.crew, self.held_out[: train.eval_problems], self.judge, replace(self._sampling("held-out"), n=4))

    def _sampling(self, stream: str) -> Sampling:
        asked = self.config.sampling
        return Sampling(
            asked.group_size, asked.max_tokens, asked.temperature, asked.top_p, asked.top_k, tuple(asked.stop), self.config.seed, stream
        )


def prompts_of_step(prompts: Sequence[Prompt], step: int, count: int, seed: int) -> list[Prompt]:
    """`count` different prompts, a function of the step alone. Each pass has its own order, and leaves out what doesn't fill a step."""
    epoch, index = divmod(step, len(prompts) // count)
    order = generator(seed, "order", epoch).permutation(len(prompts))
    return [prompts[int(place)] for place in order[index * count : (index + 1) * count]]


def parts(groups: Sequence[Group], count: int) -> list[Sequence[Group]]:
    """`count` optimiser batches of about the same number of groups."""
    bounds = [len(groups) * index // count for index in range(count + 1)]
    return [groups[start:end] for start, end in pairwise(bounds)]


def advantages(groups: Sequence[Group], samples: Sequence[Sample]) -> list[list[float]]:
    """Of each answer, the mean over its tokens; 0 where the objective left its group out. `samples` are those of `groups`, in order."""
    given: dict[int, list[float]] = {}
    for sample in samples:
        given.setdefault(sample.group, []).append(fmean(sample.advantages))
    return [given.get(index, [0.0] * len(group.completions)) for index, group in enumerate(groups)]


@dataclass
class Clock:
    """Seconds of each phase of a step."""

    announce: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside, and say what it is."""
        self.announce(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """`step_time` and its parts in seconds, and tokens sampled."""
        tokens = sum(len(completion.token_ids) for group in groups for completion in group.completions)
        total = sum(self.seconds.values())
        return {
            "num_tokens": tokens,
            "step_time": total,
            **{f"seconds/{name}": seconds for name, seconds in self.seconds.items()},
            "tokens_per_second": tokens / total,
            "sample/tokens_per_second": tokens / self.seconds["sample"],
        }
