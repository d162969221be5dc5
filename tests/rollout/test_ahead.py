"""Off-policy by some steps: whose answers a step learns from, beside the learner or before it, and after a checkpoint."""

import json
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_prompts, tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, SamplingConfig
from reasoning_rl.errors import ConfigError, EngineError
from reasoning_rl.learner.checkpoint import load_state, save_checkpoint
from reasoning_rl.learner.learner import Learner, Models
from reasoning_rl.objectives import build
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Group, Part, Problem, Prompt, Score, StepReward, StepScore, Verdict
from reasoning_rl.rollout.ahead import Ahead, refuse_uncorrected
from reasoning_rl.rollout.clock import Announce
from reasoning_rl.rollout.gather import Asking, Gathered, Source
from reasoning_rl.rollout.local import LocalEngine

PROMPT = Prompt(Problem("p0", "t", "t", "q", "1"), "q", (1, 2))
VERDICT = Verdict(
    0.1 + 0.2,
    {"math": Score(1.0, "correct", "as it is", "1", "1", "text", 0.0, 0.25, (StepScore(3, 0.5, "half"),))},
    True,
    False,
    Score(1.0, "correct", answer="\ud800"),
    {"math": Part(1.0, 0.1 + 0.2)},
)


class World(Source):
    """Answers say which weights gave them. `update` is what a learner would do."""

    def __init__(self) -> None:
        self.version, self.asked, self.verdict = 0, list[int](), VERDICT

    def gather(self, step: int, announce: Announce) -> Gathered:  # noqa: ARG002
        return self.made(step, self.version)

    def made(self, step: int, version: int) -> Gathered:
        self.asked.append(step)
        answer = Completion(f"of step {step}", (step + 1, 5), (-0.1, -1e-30), "length", version)
        group = Group(PROMPT, (answer,), (self.verdict,), ((StepReward(1, 0.5),),))
        return Gathered([group], (group,), {"dynamic/rounds": 2}, {"sample": 1.5})

    def update(self) -> None:
        self.version += 1


class Keeping(World):
    """Its engine goes on sampling by older weights. Gathers nothing beyond the first step until it is let go."""

    def __init__(self, *, go: bool = True) -> None:
        super().__init__()
        self.go = threading.Event()
        if go:
            self.go.set()

    def pinned(self) -> Source:
        return Pinned(self, self.version)


class Pinned(Source):
    def __init__(self, world: Keeping, version: int) -> None:
        self.world, self.version = world, version

    def gather(self, step: int, announce: Announce) -> Gathered:  # noqa: ARG002
        assert step == 0 or self.world.go.wait(60)
        return self.world.made(step, self.version)


def unheard(phase: str) -> None:
    pass


def ran(world: World, ahead: Ahead, steps: Iterable[int]) -> list[Gathered]:
    """As the loop does."""
    found = []
    for step in steps:
        found.append(ahead.gather(step, unheard))
        ahead.settle()
        world.update()
    return found


def versions(found: Sequence[Gathered]) -> list[int]:
    return [gathered.kept[0].completions[0].policy_version for gathered in found]


KINDS = pytest.mark.parametrize(("world", "apart"), [(World, False), (World, True), (Keeping, True)], ids=["before", "beside", "kept"])
"""An engine that samples before the update, one beside the learner, one that keeps older weights."""


@pytest.mark.parametrize("lag", [1, 2, 3, 8])
@KINDS
def test_a_step_learns_from_answers_as_many_updates_old_as_was_asked_for(world: type[World], apart: bool, lag: int) -> None:
    made = world()
    with Ahead(made, 6, lag, apart=apart) as ahead:
        found = ran(made, ahead, range(6))
    assert [gathered.kept[0].completions[0].text for gathered in found] == [f"of step {step}" for step in range(6)]
    assert versions(found) == [max(0, step - lag) for step in range(6)]
    assert [gathered.seconds["sample"] for gathered in found] == [1.5] * 6
    assert sorted(made.asked) == list(range(6))  # nothing for a step that never comes


def test_an_engine_that_keeps_older_weights_is_not_waited_for_and_samples_by_those_of_when_it_was_asked() -> None:
    world = Keeping(go=False)
    with Ahead(world, 3, lag=2, apart=True) as ahead:
        ahead.gather(0, unheard)
        ahead.settle()  # comes back although nothing of steps 1 and 2 is there
        assert world.asked == [0]
        world.update()
        world.go.set()
        assert versions([ahead.gather(1, unheard), ahead.gather(2, unheard)]) == [0, 0]


class Meeting(Source):
    """Gathers nothing until three steps are being gathered at once."""

    def __init__(self) -> None:
        self.met = threading.Barrier(3)

    def gather(self, step: int, announce: Announce) -> Gathered:  # noqa: ARG002
        self.met.wait(60)
        return Gathered([])

    def pinned(self) -> Source:
        return self


def test_several_steps_are_gathered_at_once_and_what_the_learner_waits_is_timed() -> None:
    said: list[str] = []
    with Ahead(Meeting(), 3, lag=2, apart=True) as ahead:
        gathered = ahead.gather(0, said.append)
    assert said == ["wait"]
    assert gathered.seconds["wait"] >= 0


class Blocked(World):
    """Samples for step 1 until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def gather(self, step: int, announce: Announce) -> Gathered:
        if step == 1:
            assert self.go.wait(60)
        return super().gather(step, announce)


def test_an_engine_apart_samples_while_the_learner_has_its_groups() -> None:
    world = Blocked()
    with Ahead(world, 2, apart=True) as ahead:
        ahead.gather(0, unheard)  # comes back although the next step's sampling does not
        assert world.asked == [0]
        world.go.set()
        ahead.settle()
        assert world.asked == [0, 1]


class Endless(World):
    """Goes on sampling for step 1 until nobody wants it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.over = threading.Event(), threading.Event()

    def gather(self, step: int, announce: Announce) -> Gathered:
        if step == 1:
            self.begun.set()
            assert self.over.wait(60), "nobody said that it is over"
        return super().gather(step, announce)

    def break_off(self) -> None:
        self.over.set()


def test_who_leaves_early_ends_the_sampling_and_leaves_nobody_at_the_engine() -> None:
    world = Endless()
    with pytest.raises(KeyboardInterrupt), Ahead(world, 9, lag=2, apart=True) as ahead:
        interrupted(world, ahead)
    assert world.asked == [0, 1]  # the thread has come back, and what it had not begun it doesn't begin


def interrupted(world: Endless, ahead: Ahead) -> None:
    ahead.gather(0, unheard)
    assert world.begun.wait(60)
    raise KeyboardInterrupt


class Broken(World):
    def gather(self, step: int, announce: Announce) -> Gathered:
        if step == 1:
            raise EngineError("the engine died")
        return super().gather(step, announce)


def test_what_the_sampling_raises_beside_the_learner_is_raised_before_the_weights_change() -> None:
    with Ahead(Broken(), 2, apart=True) as ahead:
        ahead.gather(0, unheard)
        with pytest.raises(EngineError, match="died"):
            ahead.settle()


@pytest.mark.parametrize("lag", [1, 2])
@KINDS
def test_a_resumed_run_learns_from_the_answers_that_were_waiting(
    world: type[World], apart: bool, lag: int, policy: Policy, tmp_path: Path
) -> None:
    whole, part, rest = World(), world(), world()
    with Ahead(whole, 6, lag) as ahead:
        expected = ran(whole, ahead, range(6))
    with Ahead(part, 6, lag, apart=apart) as ahead:
        ran(part, ahead, range(2))
        saved = save_checkpoint(tmp_path, 2, policy, ahead.state())
    rest.version = 2
    with Ahead(rest, 6, lag, apart=apart, state=load_state(saved)) as ahead:
        found = ran(rest, ahead, range(2, 6))
    for ours, theirs in zip(found, expected[2:], strict=True):
        assert repr(ours.groups) == repr(theirs.groups)  # of the same types too
        assert (len(ours.kept), ours.metrics, ours.seconds["sample"]) == (len(theirs.kept), theirs.metrics, theirs.seconds["sample"])
    assert sorted(rest.asked) == list(range(2 + lag, 6))  # those that were waiting are not sampled again


def test_a_checkpoint_from_when_one_step_was_all_that_could_wait_is_still_read() -> None:
    world = World()
    (waiting,) = json.loads(of_step_1(world)["ahead"])
    with Ahead(world, 2, state={"ahead": json.dumps(waiting)}) as ahead:
        assert ahead.gather(1, unheard).groups == World().gather(1, unheard).groups


def of_step_1(world: World) -> dict[str, Any]:
    with Ahead(world, 2) as ahead:
        ahead.gather(0, unheard)
        return ahead.state()


def test_numbers_of_numpys_in_a_verdict_do_not_spoil_a_checkpoint(policy: Policy, tmp_path: Path) -> None:
    world = World()
    odd = Score(np.float64(0.1), reason=np.str_("as it is"), seconds=math.nan, strict=np.float32(0.5))  # type: ignore[arg-type]
    verdict = Verdict(np.float64(0.1), {"own": odd}, np.bool_(True))  # type: ignore[arg-type]
    world.verdict = verdict
    with Ahead(world, 2) as ahead:
        ahead.gather(0, unheard)
        saved = save_checkpoint(tmp_path, 1, policy, ahead.state())
    with Ahead(world, 2, state=load_state(saved)) as ahead:
        (found,) = ahead.gather(1, unheard).kept[0].verdicts
    plain = Verdict(0.1, {"own": Score(0.1, reason="as it is", seconds=math.nan, strict=0.5)}, correct=True)
    assert repr(found) == repr(plain)


def test_before_the_first_step_and_after_the_last_a_checkpoint_has_nothing_to_hold() -> None:
    world = World()
    with Ahead(world, 1) as ahead:
        assert ahead.state() == {}
        ran(world, ahead, range(1))
        assert ahead.state() == {}


class Even:
    """Half of the tokens even, half a point."""

    def judge(self, items: Iterable[tuple[Completion, Problem]]) -> list[Verdict]:
        return [Verdict(sum(token % 2 == 0 for token in answer.token_ids) / len(answer.token_ids)) for answer, _ in items]

    @contextmanager
    def early(self) -> "Iterator[Pile]":
        yield Pile()


class Pile(Even):
    def __init__(self) -> None:
        self.items: list[tuple[Completion, Problem]] = []

    def add(self, items: Iterable[tuple[Completion, Problem]]) -> None:
        self.items += items

    def verdicts(self) -> list[Verdict]:
        return self.judge(self.items)


class Copying(LocalEngine):
    """Keeps older weights by giving out copies."""

    def pinned(self) -> LocalEngine:
        copy = LocalEngine(deepcopy(self.policy))
        copy.version = self.version
        return copy


def trained(tokenizer_folder: str, kind: type[LocalEngine], lag: int, *, apart: bool) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Metrics of four steps and the weights after them, of an engine with weights of its own."""
    policy, copy = tiny_policy(tokenizer_folder), tiny_policy(tokenizer_folder)
    prompts = make_prompts(policy, ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens.", "Ann buys 4 more."])
    engine, objective = kind(copy), build(ObjectiveConfig(kl=0.0), 10)
    config = LearnerConfig(learning_rate=0.01, warmup_steps=0, old_logprobs="engine")
    learner = Learner(Models(policy), objective, config, steps=4)
    sampling = SamplingConfig(prompts_per_step=2, group_size=4, max_tokens=10)
    metrics = []
    with Ahead(Asking(prompts, engine, Even(), sampling, seed=1), 4, lag, apart=apart) as ahead:
        for step in range(4):
            gathered = ahead.gather(step, unheard)
            learned = learner.update([objective.arrange(gathered.kept)], step)
            ahead.settle()
            engine.load_weights(policy.model.state_dict().items(), step + 1)
            metrics.append({**learned.metrics, **gathered.metrics})
    return metrics, deepcopy(policy.model.state_dict())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums over threads have no fixed order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("lag", "ages"), [(1, [0, 1, 1, 1]), (2, [0, 1, 2, 2])])
def test_whenever_the_answers_are_sampled_they_lead_to_the_same_weights(tokenizer_folder: str, lag: int, ages: list[int]) -> None:
    before, weights = trained(tokenizer_folder, LocalEngine, lag, apart=False)
    for kind in (LocalEngine, Copying):
        beside, others = trained(tokenizer_folder, kind, lag, apart=True)
        assert before == beside
        assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert [figures["sampling/staleness"] for figures in before] == ages
    # the ratio to the sampler's probabilities is what tells the learner that the answers are old
    assert before[0]["sampling/mismatch_kl"] < 1e-9
    assert before[1]["sampling/mismatch_kl"] > 1e-4
    assert before[1]["policy_kl"] == pytest.approx(before[1]["sampling/mismatch_kl"], rel=1e-3)


CORRECTED = (
    (ObjectiveConfig(name="grpo"), "engine"),
    (ObjectiveConfig(name="gspo"), "engine"),
    (ObjectiveConfig(name="ppo"), "engine"),
    (ObjectiveConfig(name="grpo", correction="token"), "learner"),
    (ObjectiveConfig(name="rloo", correction="sequence"), "learner"),
    (ObjectiveConfig(name="dpo"), "learner"),
    (ObjectiveConfig(name="simpo"), "learner"),
    (ObjectiveConfig(name="raft"), "learner"),
)
UNCORRECTED = (
    (ObjectiveConfig(name="grpo"), "learner"),
    (ObjectiveConfig(name="ppo"), "learner"),
    (ObjectiveConfig(name="rloo"), "learner"),
    (ObjectiveConfig(name="rloo"), "engine"),  # its loss has no ratio
)


@pytest.mark.parametrize(("objective", "old"), CORRECTED, ids=lambda value: getattr(value, "name", value))
def test_objectives_that_correct_for_older_answers_are_accepted(objective: ObjectiveConfig, old: str) -> None:
    refuse_uncorrected(build(objective, 8), LearnerConfig.model_validate({"old_logprobs": old}))


@pytest.mark.parametrize(("objective", "old"), UNCORRECTED, ids=lambda value: getattr(value, "name", value))
def test_objectives_that_do_not_are_told_what_would(objective: ObjectiveConfig, old: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.off_policy_steps: 3 (.|\n)* objective\.correction should be 'token' or 'sequence'"):
        refuse_uncorrected(build(objective, 8), LearnerConfig.model_validate({"old_logprobs": old}), 3)
