"""A learner that goes on from a checkpoint ends where one that was never interrupted ends, with adapters and with copies in float32 too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_policy

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.learner.checkpoint import save_checkpoint
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open, Prepare, Update
from reasoning_rl.objectives import build
from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Verdict

SAMPLING = SamplingConfig(engine="local", max_tokens=12)
LORA = {"lora": {"rank": 4}}
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "adapters": (LORA, {}, {"name": "grpo", "kl": 0.04}),
    "adapters of both models": (LORA, {}, {"name": "ppo"}),
    "copies": ({"dtype": "bfloat16"}, {"master_weights": True}, {"name": "grpo", "kl": 0.0}),
}


def samples(objective: ObjectiveConfig) -> list[Sample]:
    """Two groups of three answers, one of each right."""
    groups = []
    for index in range(2):
        prompt = Prompt(Problem(f"p{index}", "t", "t", "q", "1"), "q", (5, 6 + index, 7))
        answers = tuple(Completion("", tuple(range(20 + 2 * row, 26 + 3 * row)), (-1.0,) * (6 + row)) for row in range(3))
        groups.append(Group(prompt, answers, tuple(Verdict(float(row == index)) for row in range(3))))
    return build(objective, 12).arrange(groups)


class Run:
    """Of one process, in a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        policy, learner, objective = SETTINGS[kind]
        self.folder = folder
        self.policy = PolicyConfig.model_validate({"device": "cpu", "autocast": "off", **policy})
        self.learner = LearnerConfig.model_validate({"learning_rate": 0.01, "warmup_steps": 0, **learner})
        self.objective = ObjectiveConfig.model_validate(objective)

    def steps(self, crew: Crew, first: int, last: int, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
        """The weights after these steps, from the beginning or a checkpoint; one is written after the first."""
        base = str(self.folder / "base")
        crew.everyone(Open(base if self.policy.lora else str(checkpoint or base), self.policy, SAMPLING))
        crew.everyone(Prepare(self.objective, self.learner, SAMPLING, self.policy, 3, base, checkpoint))
        worker = crew.local
        for step in range(first, last):
            crew.everyone(Update([samples(self.objective)], step))
            if step == 0:
                save_checkpoint(self.folder, step + 1, worker.policy, worker.learner.state())
        assert worker.engine.version == last
        return {str(index): parameter.detach().clone() for index, parameter in enumerate(worker.learner.parameters)}


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_interrupted_run_goes_on_to_the_same_end(kind: str, tokenizer_folder: str, tmp_path: Path) -> None:
    if "adapters" in kind:
        pytest.importorskip("peft")
    tiny_policy(tokenizer_folder).save(tmp_path / "base")
    run = Run(tmp_path, kind)
    with Crew() as crew:
        whole = run.steps(crew, 0, 3)
    with Crew() as crew:
        resumed = run.steps(crew, 1, 3, tmp_path / "step-00001")
    assert len(whole) > 20
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


def test_with_adapters_no_second_model_is_loaded_for_the_reference(tokenizer_folder: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    tiny_policy(tokenizer_folder).save(tmp_path / "base")
    with Crew() as crew:
        Run(tmp_path, "adapters").steps(crew, 0, 1)
        models = crew.local.learner.models
        assert models.reference is not None
        assert models.reference.model is models.policy.model
