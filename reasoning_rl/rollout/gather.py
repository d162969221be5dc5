"""Where the groups of a step come from: answers of the engine, to as many questions as the step needs. Stored ones: see stored.py."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Event
from typing import Any, Protocol, runtime_checkable

from reasoning_rl.config import SamplingConfig
from reasoning_rl.records import Group, Prompt
from reasoning_rl.rollout.clock import Announce, Clock
from reasoning_rl.rollout.engine import Engine, Sampling
from reasoning_rl.rollout.groups import EarlyJudges, Heard
from reasoning_rl.rollout.randomness import generator


@dataclass(frozen=True)
class Gathered:
    """The groups of a step."""

    kept: Sequence[Group]
    """What the step learns from."""
    others: Sequence[Group] = ()
    """Judged and recorded, but not learned from."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    """That it took to gather them, by phase, whenever that was."""

    @property
    def groups(self) -> list[Group]:
        """All of them: figures of the kept ones alone would be biased."""
        return [*self.kept, *self.others]


class Source(Protocol):
    """Gives each step its groups."""

    def gather(self, step: int, announce: Announce) -> Gathered:
        """Those of `step`, counted from 0: a function of it and of the engine's weights alone."""

    def pinned(self) -> "Source | None":
        """The same by the weights that the engine has now, whichever it gets later, for any thread. None where it keeps no older ones."""
        return None

    def settle(self) -> None:
        """Return when the engine's weights may change: nothing is being sampled behind the learner's back."""
        return

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it: numbers and texts in plain containers."""
        return {}

    def break_off(self) -> None:
        """Nobody waits for groups any more: a `gather` in another thread ends by an EngineError, at the next answer if not before."""
        return


@runtime_checkable
class Pinnable(Protocol):
    """An engine that goes on sampling by older weights where it is asked to, also while it is given new ones."""

    def pinned(self) -> Engine | None:
        """Itself by the weights that it has now, for any thread; None where it turns out not to keep them."""


@runtime_checkable
class Interruptible(Protocol):
    """An engine whose answers may take long, or need what others have yet to give back."""

    def break_off(self) -> None:
        """Have all calls of `generate` end by an EngineError, whichever threads they are in."""


@dataclass(frozen=True)
class Asking(Source):
    """Answers of the engine to the step's prompts, or with `sampling.dynamic` to more of them."""

    prompts: Sequence[Prompt]
    engine: Engine
    judge: EarlyJudges
    sampling: SamplingConfig
    seed: int
    over: Event = field(default_factory=Event, repr=False, compare=False)
    """Set when nobody wants the answers any more, of the pinned ones either."""

    def gather(self, step: int, announce: Announce) -> Gathered:
        """See Source."""
        clock = Clock(announce)
        first = prompts_of_step(self.prompts, step, self.sampling.prompts_per_step, self.seed)
        groups = self._ask(first, step, clock)
        gathered = self._until_enough(groups, step, clock) if self.sampling.dynamic else Gathered(groups)
        return replace(gathered, metrics={**gathered.metrics, **staleness(gathered.groups, step)}, seconds=clock.seconds)

    def pinned(self) -> "Asking | None":
        """See Source."""
        engine = self.engine.pinned() if isinstance(self.engine, Pinnable) else None
        return replace(self, engine=engine) if engine else None

    def break_off(self) -> None:
        """See Source."""
        self.over.set()
        if isinstance(self.engine, Interruptible):
            self.engine.break_off()

    def _until_enough(self, groups: list[Group], step: int, clock: Clock) -> Gathered:
        """Dynamic sampling. DAPO, arXiv:2503.14476, §3.2, eq. 11: 0 < #right < G for every group that is learned from.

        Where `max_rounds` or the prompts run out first, the step makes do with the groups there are. Surplus groups are dropped.
        """
        wanted, rounds = self.sampling.prompts_per_step, 1
        more = further_prompts(self.prompts, [group.prompt for group in groups], step, self.seed)
        while rounds < self.sampling.max_rounds and (asked := list(islice(more, _to_ask(groups, wanted)))):
            groups = groups + self._ask(asked, step, clock)
            rounds += 1
        mixed, rest = [group for group in groups if is_mixed(group)], [group for group in groups if not is_mixed(group)]
        missing = max(wanted - len(mixed), 0)
        metrics = {"dynamic/rounds": rounds, "dynamic/questions": len(groups), "dynamic/missing": missing}
        return Gathered(mixed[:wanted], [*mixed[wanted:], *rest], metrics)

    def _ask(self, prompts: Sequence[Prompt], step: int, clock: Clock) -> list[Group]:
        """Answers are judged as they finish; `judge` times what is left of it when the last has."""
        with self.judge.early() as judging:
            heard = Heard(prompts, judging, self.over)
            with clock.phase("sample"):
                answers = self.engine.generate(prompts, draws(self.sampling, self.seed, f"train/{step}"), heard.hear)
            with clock.phase("judge"):
                return heard.groups(answers)


def staleness(groups: Sequence[Group], step: int) -> dict[str, float]:
    """Steps that the weights have learned since they gave the answers of `step`: mean, maximum, and share of answers by age."""
    ages = Counter(step - answer.policy_version for group in groups for answer in group.completions)
    shares = {f"sampling/staleness/{age}": count / ages.total() for age, count in sorted(ages.items())}
    return {"sampling/staleness": sum(ages.elements()) / ages.total(), "sampling/staleness/max": float(max(ages)), **shares}


def draws(config: SamplingConfig, seed: int, stream: str) -> Sampling:
    """How a group is drawn, as the recipe says."""
    stop = tuple(config.stop)
    return Sampling(config.group_size, config.max_tokens, config.temperature, config.top_p, config.top_k, stop, seed, stream)


def is_mixed(group: Group) -> bool:
    """Whether there are right and wrong answers."""
    return len({verdict.correct for verdict in group.verdicts}) == 2


def prompts_of_step(prompts: Sequence[Prompt], step: int, count: int, seed: int) -> list[Prompt]:
    """`count` different prompts, a function of the step alone. Each pass has its own order, and leaves out what doesn't fill a step."""
    epoch, index = divmod(step, len(prompts) // count)
    order = generator(seed, "order", epoch).permutation(len(prompts))
    return [prompts[int(place)] for place in order[index * count : (index + 1) * count]]


def further_prompts(prompts: Sequence[Prompt], asked: Sequence[Prompt], step: int, seed: int) -> Iterator[Prompt]:
    """All but those that the step has `asked`, in an order of the step's own."""
    known = {prompt.problem.id for prompt in asked}
    order = generator(seed, "further", step).permutation(len(prompts))
    return (prompts[int(place)] for place in order if prompts[int(place)].problem.id not in known)


def _to_ask(groups: Sequence[Group], wanted: int) -> int:
    """What is missing over the share that was kept so far, rounded up; `wanted` at most, and where nothing was kept."""
    kept = sum(map(is_mixed, groups))
    missing = max(wanted - kept, 0)
    return min(-(-missing * len(groups) // kept), wanted) if kept else wanted
