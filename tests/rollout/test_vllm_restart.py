"""A vLLM that dies leaves nothing that another in the same process would stumble over."""

import importlib.util
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_prompts
from test_engine_contract import fresh

from reasoning_rl.config import PolicyConfig, SamplingConfig
from reasoning_rl.errors import EngineDied
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open
from reasoning_rl.records import Completion
from reasoning_rl.rollout.engine import Sampling

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test ENGINE=vllm"),
]
CPU = PolicyConfig(device="cpu", autocast="off")
VLLM = SamplingConfig.model_validate({"engine": "vllm", "vllm": {"cpu_cache_gib": 0.25}})
SAMPLING = Sampling(n=4, max_tokens=20, seed=7)


@contextmanager
def opened(folder: Path) -> Iterator[Crew]:
    """Two processes, which have a group of their own beside that of vLLM."""
    with Crew(2) as crew:
        crew.everyone(Open(str(folder), CPU, VLLM))
        yield crew


def answers(crew: Crew) -> list[list[Completion]]:
    return crew.generate(make_prompts(crew.local.policy, ["Ann has 3 apples.", "How many?"]), SAMPLING)


def break_down(*_: object, **__: object) -> Any:
    raise IndexError("block 7 of 5")


def test_after_a_death_another_vllm_in_the_same_process_gives_the_same_answers(tokenizer_folder: str, tmp_path: Path) -> None:
    """Its shutdown fails too, so that what it shares with its process is still there."""
    fresh(tokenizer_folder).save(tmp_path)
    with opened(tmp_path) as crew:
        expected = answers(crew)
        engine: Any = crew.local.engine
        engine._llm.apply_model(lambda model: setattr(model, "compute_logits", break_down))
        engine._llm.llm_engine.model_executor.shutdown = break_down
        with pytest.raises(EngineDied, match="vLLM died while it sampled by the weights of version 0: IndexError: block 7 of 5"):
            answers(crew)
    assert not torch.distributed.is_initialized()
    assert not multiprocessing.active_children()
    with opened(tmp_path) as another:
        assert answers(another) == expected
