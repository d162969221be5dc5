"""Every checkpoint of a run is a model folder: plain transformers and plain vLLM answer from it as our own policy does."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_prompts
from test_engine_contract import fresh
from test_pipeline import micro, trained
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasoning_rl.config import PolicyConfig
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.policy.policy import load_policy
from reasoning_rl.rollout.engine import Sampling
from reasoning_rl.rollout.local import LocalEngine
from reasoning_rl.rollout.vllm_process import threaded, undisturbed

VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test ENGINE=vllm"),
]
CPU = PolicyConfig(device="cpu", autocast="off")
TEXTS = ["Ann has 3 apples.", "How many?", "Bob sells 2 of 9 pens. How many has he now?"]
MAX_TOKENS = 24
EVERY_STEP = (
    "train.steps=2", "train.save_every=1", "train.eval_every=0", "learner.learning_rate=0.02", "sampling.engine=local",
    "data.max_prompt_tokens=112",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For a model as small as this, several wait for one another most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Answers:
    """To the texts, greedily: token ids, and the log-probability of each."""

    ids: list[list[int]]
    logprobs: list[list[float]]


def of_ours(folder: Path) -> Answers:
    policy = load_policy(str(folder), CPU)
    made = LocalEngine(policy).generate(make_prompts(policy, TEXTS), Sampling(1, MAX_TOKENS, temperature=0))
    return Answers([list(answer.token_ids) for (answer,) in made], [list(answer.logprobs) for (answer,) in made])


def of_transformers(folder: Path) -> Answers:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = Answers([], [])
    for text in TEXTS:
        asked = tokenizer(text, return_tensors="pt")
        made = model.generate(**asked, max_new_tokens=MAX_TOKENS, do_sample=False, output_logits=True, return_dict_in_generate=True)
        ids = made.sequences[0, asked["input_ids"].shape[1] :]
        logp_TV = torch.log_softmax(torch.cat(made.logits), -1)
        answers.ids.append(ids.tolist())
        answers.logprobs.append(logp_TV.gather(1, ids[:, None])[:, 0].tolist())
    return answers


def of_vllm(folder: Path) -> Answers:
    """As its own documents have it."""
    with threaded(2), undisturbed():
        from vllm import LLM, SamplingParams

        llm = LLM(model=str(folder), dtype="float32", enforce_eager=True, kv_cache_memory_bytes=2**26)
        outputs = llm.generate(TEXTS, SamplingParams(temperature=0, max_tokens=MAX_TOKENS, logprobs=0), use_tqdm=False)
    answers = [output.outputs[0] for output in outputs]
    llm.llm_engine.engine_core.shutdown()
    return Answers(
        [list(answer.token_ids) for answer in answers],
        [[step[token].logprob for step, token in zip(answer.logprobs, answer.token_ids, strict=True)] for answer in answers],
    )


@pytest.mark.parametrize("adapters", [(), ("policy.lora.rank=4",)], ids=["all weights", "adapters"])
@pytest.mark.parametrize("read", [of_transformers, pytest.param(of_vllm, marks=VLLM)])
def test_at_every_save_others_give_the_answers_that_our_policy_gives(
    read: Callable[[Path], Answers], adapters: tuple[str, ...], tokenizer_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if adapters:
        pytest.importorskip("peft")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the quickest start
    fresh(tokenizer_folder).save(tmp_path / "base")
    config = micro(tmp_path, f"policy.model={tmp_path / 'base'}", "cold_start.enabled=false", *EVERY_STEP, *adapters)
    trained(config)
    saved = checkpoints(config.folder / "checkpoints")
    assert [path.name for path in saved] == ["step-00001", "step-00002"]
    seen = [of_ours(tmp_path / "base")]
    for checkpoint in saved:
        ours, theirs = of_ours(checkpoint), read(checkpoint)
        assert theirs.ids == ours.ids
        for found, expected in zip(theirs.logprobs, ours.logprobs, strict=True):
            assert found == pytest.approx(expected, abs=1e-4)
        seen.append(ours)
    assert seen[0].logprobs != seen[1].logprobs != seen[2].logprobs  # weights that had not moved would show nothing
