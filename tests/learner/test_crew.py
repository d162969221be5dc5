"""Two workers do what one does: same answers, same weights up to the order of a sum."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_prompts, tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.errors import EngineDied, EngineError, ModelError
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.learner import Learned, Models
from reasoning_rl.learner.worker import LoadWeights, Open, Prepare, Update, Worker
from reasoning_rl.objectives import build
from reasoning_rl.records import Group, Sample, Verdict
from reasoning_rl.rollout.engine import Sampling

CPU = PolicyConfig(device="cpu", autocast="off")
TEXTS = ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens.", "Ann buys 4 more."]


@dataclass(frozen=True)
class Fail:
    """Work that goes wrong away from home."""

    how: str

    def __call__(self, worker: Worker) -> None:
        if worker.ranks.rank == 0:
            return
        if self.how == "die":
            os._exit(3)
        raise {
            "our error": ModelError("no such layer"),
            "another": KeyError("something else"),
            "memory": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        }[self.how]


@pytest.fixture
def folder(tokenizer_folder: str, tmp_path: Path) -> str:
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    return str(tmp_path / "policy")


@dataclass(frozen=True)
class State:
    """What a checkpoint would hold."""

    def __call__(self, worker: Worker) -> dict[str, Any]:
        return copy.deepcopy(worker.learner.state())


def answered(crew: Crew) -> list[Group]:
    """Four answers to each text, those with an odd number of different tokens right."""
    prompts = make_prompts(crew.local.policy, TEXTS)
    return [
        Group(
            prompt, tuple(row), tuple(Verdict(float(odd), correct=odd) for odd in (len(set(answer.token_ids)) % 2 == 1 for answer in row))
        )
        for prompt, row in zip(prompts, crew.generate(prompts, Sampling(n=4, max_tokens=12, seed=5)), strict=True)
    ]


def trained(processes: int, folder: str, objective: ObjectiveConfig) -> tuple[list[Any], dict[str, torch.Tensor], list[Learned]]:
    """Answers, then the weights after two updates on them, a value model's too, then what the second said by rank."""
    with Crew(processes) as crew:
        crew.everyone(Open(folder, CPU, SamplingConfig()))
        learner = LearnerConfig(learning_rate=1e-3, warmup_steps=0)
        crew.everyone(Prepare(objective, learner, SamplingConfig(), CPU, steps=2, reference=folder))
        groups = answered(crew)
        batch: list[Sample] = build(objective, 12).arrange(groups)
        learned = [crew.everyone(Update([batch], step)) for step in range(2)][-1]
        values, *theirs = [state.get("value", {}) for state in crew.everyone(State())]
        assert all(torch.equal(values[name], tensor) for other in theirs for name, tensor in other.items())
        state = {name: tensor.clone() for name, tensor in crew.local.policy.model.state_dict().items()}
        return [group.completions for group in groups], {**state, **{f"value/{name}": tensor for name, tensor in values.items()}}, learned


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [ObjectiveConfig(kl=0.0), ObjectiveConfig(name="ppo"), ObjectiveConfig(name="reinforce_pp"), ObjectiveConfig(name="dpo")],
    ids=lambda objective: objective.name,
)
def test_two_workers_answer_and_learn_as_one(folder: str, objective: ObjectiveConfig) -> None:
    alone, weights_alone, (one,) = trained(1, folder, objective)
    both, weights_both, (first, second) = trained(2, folder, objective)
    assert [[answer.token_ids for answer in row] for row in both] == [[answer.token_ids for answer in row] for row in alone]
    assert first == second  # both know the same of the whole batch
    padding = {"learner/padding", "learner/attention_padding"}  # each packs its own share
    ours, alones = ({name: value for name, value in learned.metrics.items() if name not in padding} for learned in (first, one))
    assert ours == pytest.approx(alones, rel=1e-3, abs=1e-5)
    assert first.advantages == [[pytest.approx(number, rel=1e-3, abs=1e-4) for number in row] for row in one.advantages]
    assert weights_both.keys() == weights_alone.keys()
    for name, tensor in weights_alone.items():
        torch.testing.assert_close(weights_both[name], tensor, rtol=1e-3, atol=1e-4)


def prepared(crew: Crew, folder: str, objective: ObjectiveConfig, checkpoint: Path | None = None, **settings: object) -> Models:
    crew.everyone(Open(str(checkpoint or folder), CPU, SamplingConfig()))
    learner = LearnerConfig.model_validate({"warmup_steps": 0, **settings})
    crew.everyone(Prepare(objective, learner, SamplingConfig(), CPU, steps=8, reference=folder, checkpoint=checkpoint))
    return crew.local.learner.models


@pytest.mark.parametrize(
    ("objective", "reference", "value"),
    [
        (ObjectiveConfig(name="grpo", kl=0.0), False, False),
        (ObjectiveConfig(name="grpo"), True, False),
        (ObjectiveConfig(name="ppo", kl=0.0), False, True),
        (ObjectiveConfig(name="ppo"), True, True),
    ],
)
def test_a_worker_loads_the_models_that_the_objective_needs(folder: str, objective: ObjectiveConfig, reference: bool, value: bool) -> None:
    with Crew() as crew:
        models = prepared(crew, folder, objective)
        assert (models.reference is not None, models.value is not None) == (reference, value)
        modules = [models.policy.model, models.reference and models.reference.model, models.value]
        places = [{tensor.data_ptr() for tensor in module.parameters()} for module in modules if module]
        assert sum(map(len, places)) == len(set().union(*places))  # no weight is shared
        for module in (models.reference and models.reference.model.base_model, models.value and models.value.body):
            first = module.state_dict() if module else {}
            assert all(torch.equal(first[name], tensor) for name, tensor in models.policy.model.base_model.state_dict().items() if first)


def test_value_model_and_renewed_reference_come_back_from_a_checkpoint(folder: str, tmp_path: Path) -> None:
    with Crew() as crew:
        objective = ObjectiveConfig(name="ppo")
        models = prepared(crew, folder, objective, reference_every=1)
        batch = build(objective, 12).arrange(answered(crew))
        for step in range(3):
            crew.everyone(Update([batch], step))
        saved = save_checkpoint(tmp_path / "checkpoints", 3, models.policy, crew.local.learner.state())
        (expected,) = crew.everyone(Update([batch], 3))
        prepared(crew, folder, objective, saved, reference_every=1)
        assert crew.local.engine.version == 3
        (found,) = crew.everyone(Update([batch], 3))
        assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("our error", ModelError, "no such layer"),
        ("another", EngineError, "in a worker process: (.|\n)*KeyError: 'something else'"),
        ("memory", MemoryError, "can't allocate memory: you tried to allocate 4 bytes"),
        ("die", EngineDied, "worker process 1 ended with exit code 3 during fail$"),
    ],
)
def test_what_goes_wrong_in_another_process_is_told_here(how: str, error: type[Exception], words: str) -> None:
    with Crew(2) as crew:
        with pytest.raises(error, match=words) as caught:
            crew.everyone(Fail(how))
        assert isinstance(caught.value, EngineDied) == (how == "die")
        with pytest.raises(EngineError, match=r"work of this crew was broken off.*; close it and make another"):
            crew.everyone(Fail("our error"))


def test_an_error_at_home_stays_what_it_is() -> None:
    def break_down(worker: Worker) -> None:
        raise RuntimeError("out of memory")

    work: Callable[[Worker], None] = break_down
    with Crew() as crew, pytest.raises(RuntimeError, match="out of memory"):
        crew.everyone(work)


def test_other_weights_reach_the_engine(folder: str) -> None:
    with Crew() as crew:
        crew.everyone(Open(folder, CPU, SamplingConfig()))
        state = {name: torch.zeros_like(tensor) for name, tensor in crew.local.policy.model.state_dict().items()}
        crew.everyone(LoadWeights(state, 3))
        (answer,) = crew.generate(make_prompts(crew.local.policy, TEXTS[:1]), Sampling(1, 2, temperature=0))[0]
        assert answer.policy_version == 3
        assert crew.local.policy.model.get_output_embeddings().weight.abs().sum() == 0
