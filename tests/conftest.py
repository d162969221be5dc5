"""A policy small enough to check by hand and quick enough for every test."""

import copy
import signal
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings

from reasoning_rl.config import ArchitectureConfig, PolicyConfig
from reasoning_rl.data.tokenizer import learn_tokenizer, load_tokenizer, save_tokenizer
from reasoning_rl.policy.policy import Policy, build_policy
from reasoning_rl.records import Problem, Prompt

TEXTS = ("Ann has 3 apples and buys 4 more. How many has she now?", "<think>\n3+4=7\n</think><answer>7</answer>", "Bob sells 2 of 9 pens.")

settings.register_profile("repeatable", derandomize=True)  # new examples: pytest --hypothesis-profile=default
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Ctrl-C can be sent to processes that tests start, even where the suite itself runs in a background that ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(learn_tokenizer(TEXTS, 300), folder, 128)
    return str(folder)


def tiny_policy(tokenizer_folder: str, *, autocast: str = "off", context: int = 128) -> Policy:
    """Two layers, grouped-query attention; weights large enough that its answers differ."""
    architecture = ArchitectureConfig(layers=2, width=32, heads=4, kv_heads=2, head_width=8, mlp_width=64, context=context)
    config = PolicyConfig.model_validate({"device": "cpu", "autocast": autocast, "architecture": architecture})
    return magnified(build_policy(architecture, config, load_tokenizer(tokenizer_folder), seed=0), 6)


def magnified(policy: Policy, factor: float) -> Policy:
    """Its matrices times `factor`, in place."""
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(factor)
    return policy


@pytest.fixture
def policy(tokenizer_folder: str) -> Policy:
    return tiny_policy(tokenizer_folder)


def make_prompts(policy: Policy, texts: Sequence[str]) -> list[Prompt]:
    return [
        Prompt(Problem(f"p{index}", "test", "test", text, "7", task="gsm8k"), text, tuple(policy.tokenizer(text)["input_ids"]))
        for index, text in enumerate(texts)
    ]


@pytest.fixture
def prompts(policy: Policy) -> list[Prompt]:
    return make_prompts(policy, ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens. How many has he now?"])


def plain_copy(policy: Policy) -> Any:
    """The same weights under transformers' own attention."""
    config = copy.deepcopy(policy.model.config)
    config._attn_implementation = "eager"
    model = type(policy.model)._from_config(config, attn_implementation="eager")
    model.load_state_dict(policy.model.state_dict())
    return model
