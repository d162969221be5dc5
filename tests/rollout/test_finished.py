"""Engines tell of completions as they finish: of each once at most, as it is returned later, and of the short ones first."""

from pathlib import Path

import pytest
from conftest import make_prompts, tiny_policy

from reasoning_rl.config import PolicyConfig, SamplingConfig
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.engine import Engine, Sampling
from reasoning_rl.rollout.local import LocalEngine

Place = tuple[int, int]
SAMPLING = Sampling(n=8, max_tokens=60, seed=2)


def told(engine: Engine, prompts: list[Prompt], sampling: Sampling = SAMPLING) -> tuple[dict[Place, Completion], list[list[Completion]]]:
    """What the engine told of, in that order, and what it returned."""
    heard: dict[Place, Completion] = {}

    def hear(index: int, row: int, completion: Completion) -> None:
        assert (index, row) not in heard
        heard[index, row] = completion

    return heard, engine.generate(prompts, sampling, hear)


def places(answers: list[list[Completion]]) -> dict[Place, Completion]:
    return {(index, row): answer for index, made in enumerate(answers) for row, answer in enumerate(made)}


@pytest.mark.parametrize("batch_rows", [1024, 8])
def test_the_local_engine_tells_of_every_completion_once_as_it_returns_it(policy: Policy, prompts: list[Prompt], batch_rows: int) -> None:
    heard, answers = told(LocalEngine(policy, batch_rows), prompts)
    assert heard == places(answers)


def test_who_listens_changes_nothing(policy: Policy, prompts: list[Prompt]) -> None:
    _, answers = told(LocalEngine(policy), prompts)
    assert answers == LocalEngine(policy).generate(prompts, SAMPLING)


def test_within_a_batch_shorter_completions_are_told_of_first(policy: Policy, prompts: list[Prompt]) -> None:
    heard, _ = told(LocalEngine(policy), prompts)
    lengths = [len(answer.token_ids) for answer in heard.values()]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_completions_that_end_at_a_stop_text_or_at_the_limit_are_told_of_too(policy: Policy, prompts: list[Prompt]) -> None:
    free = LocalEngine(policy).generate(prompts, Sampling(n=4, max_tokens=6))[0][0]
    heard, answers = told(LocalEngine(policy), prompts, Sampling(n=4, max_tokens=6, stop=(free.text[1:3],)))
    assert heard == places(answers)
    assert {answer.finish_reason for answer in heard.values()} == {"stop", "length"}


def tokens(answers: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[answer.token_ids for answer in made] for made in answers]


def test_prompts_that_join_on_the_way_are_numbered_on_and_answered_as_alone(policy: Policy, prompts: list[Prompt]) -> None:
    engine, alone = LocalEngine(policy, batch_rows=8), LocalEngine(policy).generate(prompts, SAMPLING)
    heard: dict[Place, Completion] = {}
    late = iter([[], prompts[1:2], [], prompts[2:], []])  # asked before each batch, of one prompt here, and where none is left
    hear = lambda index, row, completion: heard.update({(index, row): completion})  # noqa: E731
    answers = engine.generate(prompts[:1], SAMPLING, hear, lambda: next(late))
    assert tokens(answers) == tokens(alone[:2])
    assert heard == places(answers)
    assert tokens(engine.generate([], SAMPLING, None, lambda: next(late))) == tokens(alone[2:])


@pytest.mark.slow
def test_a_crew_tells_of_what_its_first_process_samples(tokenizer_folder: str, tmp_path: Path) -> None:
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    with Crew(2) as crew:
        crew.everyone(Open(str(tmp_path / "policy"), PolicyConfig(device="cpu", autocast="off"), SamplingConfig()))
        heard, answers = told(crew, make_prompts(crew.local.policy, ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens.", "4"]))
    # by length, every other prompt is the first process's: "4", "How many?", "Ann …", "Bob …"
    assert {index for index, _ in heard} == {3, 0}
    assert heard == {place: answer for place, answer in places(answers).items() if place[0] in {3, 0}}
