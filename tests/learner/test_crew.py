"""Two workers do what one does: same answers, same weights up to the order of a sum."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_prompts, tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.errors import EngineError, ModelError
from reasoning_rl.learner.crew import Crew
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
        raise ModelError("no such layer") if self.how == "our error" else KeyError("something else")


@pytest.fixture
def folder(tokenizer_folder: str, tmp_path: Path) -> str:
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    return str(tmp_path / "policy")


def trained(processes: int, folder: str) -> tuple[list[Any], dict[str, torch.Tensor], list[dict[str, float]]]:
    """Answers, then the weights after two updates on them, then the metrics of the second by rank."""
    with Crew(processes) as crew:
        crew.everyone(Open(folder, CPU, SamplingConfig()))
        learner = LearnerConfig(learning_rate=1e-3, warmup_steps=0)
        crew.everyone(Prepare(ObjectiveConfig(kl=0.0), learner, SamplingConfig(), CPU, steps=2, reference=folder))
        prompts = make_prompts(crew.local.policy, TEXTS)
        answers = crew.generate(prompts, Sampling(n=4, max_tokens=12, seed=5))
        groups = [
            Group(prompt, tuple(row), tuple(Verdict(float(len(set(answer.token_ids)) % 2)) for answer in row))
            for prompt, row in zip(prompts, answers, strict=True)
        ]
        batch: list[Sample] = build(ObjectiveConfig(kl=0.0), 12).arrange(groups)
        metrics = [crew.everyone(Update([batch], step)) for step in range(2)][-1]
        state = {name: tensor.clone() for name, tensor in crew.local.policy.model.state_dict().items()}
        return answers, state, metrics


@pytest.mark.slow
def test_two_workers_answer_and_learn_as_one(folder: str) -> None:
    alone, weights_alone, metrics_alone = trained(1, folder)
    both, weights_both, metrics_both = trained(2, folder)
    assert [[answer.token_ids for answer in row] for row in both] == [[answer.token_ids for answer in row] for row in alone]
    assert metrics_both[0] == metrics_both[1]  # both know the same of the whole batch
    assert metrics_both[0]["grad_norm"] == pytest.approx(metrics_alone[0]["grad_norm"], rel=1e-3)
    for name, tensor in weights_alone.items():
        torch.testing.assert_close(weights_both[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("our error", ModelError, "no such layer"),
        ("another", EngineError, "in a worker process: (.|\n)*KeyError: 'something else'"),
        ("die", EngineError, "a worker process has ended without a word; was it killed for memory"),
    ],
)
def test_what_goes_wrong_in_another_process_is_told_here(how: str, error: type[Exception], words: str) -> None:
    with Crew(2) as crew, pytest.raises(error, match=words):
        crew.everyone(Fail(how))


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
