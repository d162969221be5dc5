"""A process of the crew that is killed is missed within seconds, and another crew goes on from where it was."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import make_prompts, tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.errors import EngineDied
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open, Prepare, Update, Worker
from reasoning_rl.objectives import build
from reasoning_rl.records import Completion, Group, Sample, Verdict
from reasoning_rl.rollout.engine import Sampling

pytestmark = pytest.mark.slow
CPU = PolicyConfig(device="cpu", autocast="off")
SAMPLING = SamplingConfig(engine="local", max_tokens=12)
OBJECTIVE = ObjectiveConfig(kl=0.0)
SECONDS = 60
"""Starting included, on a busy machine. A collective that nobody ends would wait for 600."""
KILLED = "was killed by SIGKILL during {}; was it killed for memory"


@dataclass(frozen=True)
class Trap:
    """The last worker will be killed when it comes to the collective of the next update; the others wait for it there."""

    def __call__(self, worker: Worker) -> None:
        def die(_parameters: object) -> None:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)

        if worker.ranks.rank == worker.ranks.size - 1:
            vars(worker.ranks)["add_gradients"] = die


@pytest.fixture
def base(tokenizer_folder: str, tmp_path: Path) -> str:
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    return str(tmp_path / "policy")


def kill() -> None:
    (other,) = multiprocessing.active_children()
    other.kill()
    other.join()


@contextmanager
def soon(words: str) -> Iterator[None]:
    """EngineDied is raised with these words, and what it leaves is cleared away, before anybody's patience ends."""
    begun = time.monotonic()
    with pytest.raises(EngineDied, match=words):
        yield
    assert time.monotonic() - begun < SECONDS
    assert not multiprocessing.active_children()


def samples(crew: Crew) -> list[Sample]:
    """Three answers to each of two texts, the first of each right."""
    prompts = make_prompts(crew.local.policy, ["Ann has 3 apples.", "How many?"])
    verdicts = tuple(Verdict(float(row == 0)) for row in range(3))
    answers = crew.generate(prompts, Sampling(n=3, max_tokens=12))
    return build(OBJECTIVE, 12).arrange([Group(prompt, tuple(made), verdicts) for prompt, made in zip(prompts, answers, strict=True)])


def opened(crew: Crew, base: str, checkpoint: Path | None = None) -> None:
    crew.everyone(Open(str(checkpoint or base), CPU, SAMPLING))
    crew.everyone(Prepare(OBJECTIVE, LearnerConfig(learning_rate=0.01, warmup_steps=0), SAMPLING, CPU, 2, base, checkpoint))


def weights(crew: Crew) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in crew.local.learner.parameters]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_one_that_is_killed_while_all_sample_is_missed_at_the_next_answer(base: str) -> None:
    heard: list[Completion] = []

    def hear(_index: int, _row: int, completion: Completion) -> None:
        heard.append(completion)
        kill()

    with soon(f"worker process 1 {KILLED.format('generate')}"), Crew(2) as crew:
        crew.everyone(Open(base, CPU, SAMPLING))
        crew.generate(make_prompts(crew.local.policy, ["Ann has 3 apples.", "How many?"]), Sampling(n=4, max_tokens=12), hear)
    assert len(heard) == 1


def test_one_that_is_killed_between_two_pieces_of_work_is_missed_at_the_second() -> None:
    with soon(f"worker process 1 {KILLED.format('trap')}"), Crew(2) as crew:
        crew.everyone(Trap())
        kill()
        crew.everyone(Trap())


def test_after_a_death_in_a_collective_another_crew_goes_on_from_the_checkpoint_to_the_same_end(base: str, tmp_path: Path) -> None:
    with soon(f"worker process 2 {KILLED.format('update')}"), Crew(3) as crew:
        opened(crew, base)
        batch = samples(crew)
        crew.everyone(Update([batch], 0))
        saved = save_checkpoint(tmp_path, 1, crew.local.policy, crew.local.learner.state())
        before = weights(crew)
        crew.everyone(Update([batch], 1))
        expected = weights(crew)
        opened(crew, base, saved)
        crew.everyone(Trap())
        try:
            crew.everyone(Update([batch], 1))
        finally:
            left = weights(crew)
    assert same(left, before)  # the step that was broken off has changed nothing: what is left can be saved
    with Crew(3) as another:
        opened(another, base, saved)
        another.everyone(Update([batch], 1))
        assert same(weights(another), expected)
        assert not same(expected, before)
