"""How vLLM is asked, told and put to sleep, against a fake of it. What it answers: test_engine_contract.py."""

import dataclasses
import os
import random
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_prompts, tiny_policy
from vllm_fake import installed

from reasoning_rl.config import LearnerConfig, ObjectiveConfig, PolicyConfig, SamplingConfig
from reasoning_rl.errors import EngineDied, EngineError
from reasoning_rl.learner.crew import Crew
from reasoning_rl.learner.worker import Open, Prepare, Update
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt, Sample
from reasoning_rl.rollout.engine import Sampling, engine_for
from reasoning_rl.rollout.tensor_sums import tensor_sum
from reasoning_rl.rollout.vllm import VLLMEngine

CPU = PolicyConfig(device="cpu", autocast="off")
TWO = Sampling(n=2, max_tokens=3)


@pytest.fixture
def folder(policy: Policy, tmp_path: Path) -> str:
    policy.save(tmp_path / "policy")
    return str(tmp_path / "policy")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.set_num_threads
    yield
    torch.set_num_threads = before


def opened(policy: Policy, folder: str, **vllm: Any) -> VLLMEngine:
    engine = VLLMEngine(policy, folder, SamplingConfig.model_validate({"vllm": vllm}))
    engine.load_weights(policy.model.state_dict().items(), 3)
    return engine


def test_whoever_lacks_vllm_is_told_how_to_get_it(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineError, match=r"sampling\.engine: vLLM can't be imported here .*`make setup-vllm`.*sampling\.engine=local"):
        VLLMEngine(policy, folder, SamplingConfig())


@pytest.mark.parametrize(
    ("on_cpu", "setting"), [(True, r"sampling\.vllm\.cpu_cache_gib .* \(0\.5\)"), (False, r"sampling\.vllm\.memory .* \(0\.3\)")]
)
def test_a_model_that_does_not_fit_names_the_setting(
    policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch, on_cpu: bool, setting: str
) -> None:
    installed(monkeypatch, on_cpu=on_cpu, unfit="No available memory for the cache blocks.\nTry more.")
    with pytest.raises(EngineError, match=rf"vLLM can't take .*policy here: No available memory .* Try more\..*{setting}"):
        opened(policy, folder, memory=0.3, cpu_cache_gib=0.5)


def test_the_recipe_says_what_memory_it_takes(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {}
    for on_cpu in (True, False):
        fake = installed(monkeypatch, on_cpu=on_cpu)
        opened(policy, folder, memory=0.3, cpu_cache_gib=0.5, eager=True, sleep=False)
        kinds[on_cpu] = fake.calls[0][1]
    names = ("gpu_memory_utilization", "kv_cache_memory_bytes", "enforce_eager", "enable_sleep_mode", "dtype")
    assert [kinds[True].get(name) for name in names] == [None, 2**29, True, None, "float32"]
    assert [kinds[False].get(name) for name in names] == [0.3, None, True, False, "float32"]


def not_vllms() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}


def test_the_process_is_left_as_it_was(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that start later would be started with vLLM's allocator, and the learner could not set its threads."""
    installed(monkeypatch)
    set_threads, environment, drawn = torch.set_num_threads, not_vllms(), (random.getstate(), torch.get_rng_state())
    opened(policy, folder)
    assert not_vllms() == environment
    assert torch.set_num_threads is set_threads
    assert random.getstate() == drawn[0]
    assert torch.equal(torch.get_rng_state(), drawn[1])


def test_answers_find_their_places_in_whatever_order_they_finish(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    told: list[tuple[int, int]] = []
    answers = opened(policy, folder).generate(prompts, TWO, lambda index, row, _: told.append((index, row)))
    expected = Completion(str(policy.tokenizer.decode([5, 5, 5])), (5, 5, 5), (-1.0, -1.0, -1.0), "length", 3)
    assert answers == [[expected] * 2] * 3
    assert told == [(2, 1), (2, 0), (1, 1), (1, 0), (0, 1), (0, 0)]  # the latest request first


def test_prompts_that_come_meanwhile_are_answered_in_the_same_call(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch)
    coming = [prompts[1:2], [], prompts[2:]]
    told: list[tuple[int, int]] = []

    def more() -> list[Prompt]:
        return coming.pop(0) if coming else []

    answers = opened(policy, folder).generate(prompts[:1], TWO, lambda index, row, _: told.append((index, row)), more)
    assert [len(row) for row in answers] == [2, 2, 2]
    # asked before each step: the second prompt comes before the first step, the third before the third; the latest is answered first
    assert told == [(1, 1), (1, 0), (2, 1), (2, 0), (0, 1), (0, 0)]
    assert [call[0] for call in fake.calls if call[0] == "step"] == ["step"] * 6


def test_a_prompt_that_comes_last_of_all_is_answered(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all others are, or where there were none."""
    installed(monkeypatch)
    engine, coming = opened(policy, folder), [[], prompts[1:2]]
    one = Sampling(n=1, max_tokens=1)
    assert len(engine.generate(prompts[:1], one, more=lambda: coming.pop(0) if coming else [])) == 2
    coming = [prompts[:2]]
    assert len(engine.generate([], one, more=lambda: coming.pop(0) if coming else [])) == 2


def test_a_prompt_that_comes_meanwhile_and_does_not_fit_ends_the_call_and_leaves_nothing_over(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    engine = opened(policy, folder)
    long = dataclasses.replace(prompts[0], token_ids=prompts[0].token_ids * 40)
    with pytest.raises(EngineError, match="don't fit into the context of 100"):
        engine.generate(prompts, TWO, more=lambda: [long])
    assert len(engine.generate(prompts, TWO)) == 3


@pytest.mark.parametrize("on_cpu", [True, False])
def test_tensor_parallelism_is_by_processes_of_this_machine(
    policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch, on_cpu: bool
) -> None:
    """On a CPU they have the threads together; the environment is that of their start alone."""
    threads: list[str | None] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    fake = installed(monkeypatch, on_cpu=on_cpu, begun=lambda: threads.append(os.environ.get("OMP_NUM_THREADS")))
    VLLMEngine(policy, folder, SamplingConfig(), threads=8, tensor_parallel=2, transfer="nccl")
    told = fake.calls[0][1]
    names = ("tensor_parallel_size", "distributed_executor_backend", "weight_transfer_config")
    assert [told[name] for name in names] == [2, "mp", {"backend": "nccl"}]
    assert threads == ["4" if on_cpu else "7"]  # 8 threads of 2 processes
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_it_samples_with_the_threads_it_was_given_and_leaves_the_learner_its_own(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch)
    engine = VLLMEngine(policy, folder, SamplingConfig(), threads=3)
    engine.load_weights(policy.model.state_dict().items(), 1)
    before = torch.get_num_threads()
    engine.generate(prompts[:1], Sampling(n=1, max_tokens=1))
    assert ("step", 3) in fake.calls
    assert torch.get_num_threads() == before


def test_on_a_gpu_it_sleeps_until_it_has_new_weights(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch, on_cpu=False)
    engine = opened(policy, folder)
    fake.calls.clear()
    engine.sleep()
    with pytest.raises(EngineError, match="no weights since it gave up those of version 3; load_weights comes first"):
        engine.generate(prompts, TWO)
    engine.load_weights(policy.model.state_dict().items(), 4)
    assert fake.calls == [("sleep", 2), ("wake", "weights"), "reload_weights", "compare", ("wake", "kv_cache"), "reset"]
    assert engine.generate(prompts, TWO)[0][0].policy_version == 4


def test_a_gpu_that_is_too_full_to_wake_on_names_the_setting(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA Error: out of memory")

    fake = installed(monkeypatch, on_cpu=False)
    engine = opened(policy, folder, memory=0.6)
    engine.sleep()
    monkeypatch.setattr(fake, "wake_up", full)
    with pytest.raises(EngineError, match=r"can't have the GPU's memory back for its weights: CUDA Error.*sampling\.vllm\.memory \(0\.6\)"):
        engine.load_weights(policy.model.state_dict().items(), 4)


def test_weights_that_vllm_transfers_wake_it_and_are_compared_before_it_samples(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch, on_cpu=False)
    engine = opened(policy, folder)
    fake.calls.clear()
    engine.sleep()
    moved = {name: tensor * 1.1 for name, tensor in policy.model.state_dict().items()}
    engine.transfer("start_weight_update")
    engine.transfer("update_weights", update_info=moved)
    engine.transfer("finish_weight_update")
    with pytest.raises(EngineError, match="load_weights comes first"):
        engine.generate(prompts, TWO)
    engine.require_transferred({name: tensor_sum(tensor) for name, tensor in moved.items()}, 4)
    steps = ["start_weight_update", "update_weights", "finish_weight_update"]
    assert fake.calls == [("sleep", 2), ("wake", "weights"), *steps, "compare", ("wake", "kv_cache"), "reset"]
    assert engine.generate(prompts, TWO)[0][0].policy_version == 4


def test_weights_that_were_lost_in_the_transfer_are_named(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    engine = opened(policy, folder)
    moved = {name: tensor * 1.1 for name, tensor in policy.model.state_dict().items()}
    engine.transfer("start_weight_update")
    engine.transfer("update_weights", update_info={name: tensor for name, tensor in moved.items() if name != "model.norm.weight"})
    with pytest.raises(
        EngineError, match=r"weights of version 4: vLLM computes with another model\.norm\.weight than it was sent; cluster"
    ):
        engine.require_transferred({name: tensor_sum(tensor) for name, tensor in moved.items()}, 4)
    with pytest.raises(EngineError, match="load_weights comes first"):
        engine.generate(prompts, TWO)


@pytest.mark.parametrize(("gone", "kind"), [(True, EngineDied), (False, EngineError)])
def test_a_process_that_is_gone_when_weights_come_is_a_death(
    policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch, gone: bool, kind: type[EngineError]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("cancelled")

    fake = installed(monkeypatch)
    engine: Any = opened(policy, folder)
    engine._llm.model_executor.is_failed = gone
    monkeypatch.setattr(fake, "collective_rpc", fail)
    with pytest.raises(EngineError, match=r"cluster\.transfer: vLLM fails at start_weight_update: cancelled") as raised:
        engine.transfer("start_weight_update")
    assert type(raised.value) is kind


@pytest.mark.parametrize(("on_cpu", "sleep"), [(True, True), (False, False)])
def test_where_nothing_is_gained_by_sleep_it_stays_awake(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, on_cpu: bool, sleep: bool
) -> None:
    fake = installed(monkeypatch, on_cpu=on_cpu)
    engine = opened(policy, folder, sleep=sleep)
    engine.sleep()
    assert len(engine.generate(prompts, TWO)) == 3
    assert ("sleep", 2) not in fake.calls
    assert engine.apart == (not on_cpu)


def test_an_attention_cache_of_older_weights_is_an_error(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, reset_prefix_cache=lambda _: False)
    with pytest.raises(EngineError, match="weights of version 3: vLLM is still at work with older ones"):
        opened(policy, folder)


def test_a_loader_that_fails_leaves_an_engine_without_weights(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("no room for embed_tokens")

    fake = installed(monkeypatch)
    engine = opened(policy, folder)
    monkeypatch.setattr(fake, "collective_rpc", full)
    with pytest.raises(EngineError, match=r"weights of version 4: vLLM can't take them: no room for embed_tokens"):
        engine.load_weights(policy.model.state_dict().items(), 4)
    with pytest.raises(EngineError, match="no weights since it gave up those of version 3"):
        engine.generate(prompts, TWO)


def test_what_vllm_refuses_or_breaks_off_is_an_error(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch)
    engine = opened(policy, folder)
    with pytest.raises(EngineError, match=r"vLLM refuses a request: temperature must be in \[0, 2\]"):
        engine.generate(prompts, Sampling(n=1, max_tokens=1, temperature=2.5))
    monkeypatch.setattr(fake, "finish_reason", "abort")
    with pytest.raises(EngineError, match="vLLM ended an answer for the reason 'abort'"):
        engine.generate(prompts, TWO)
    monkeypatch.setattr(fake, "finish_reason", "stop")
    assert len(engine.generate(prompts, TWO)) == 3  # nothing was left over


def test_a_death_in_the_middle_of_sampling_is_told_and_cleared_away_for_another(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shutdown fails too."""
    fake = installed(monkeypatch, death=IndexError("block 7 of 5"))
    engine = opened(policy, folder)
    with pytest.raises(EngineDied, match="vLLM died while it sampled by the weights of version 3: IndexError: block 7 of 5"):
        engine.generate(prompts, TWO)
    with pytest.raises(EngineDied, match="this vLLM has died before; close it and start another"):
        engine.generate(prompts, TWO)
    engine.close()
    assert fake.calls[-2:] == ["shutdown", "cleanup"]
    engine.close()
    assert fake.calls[-2:] == ["shutdown", "cleanup"]
    monkeypatch.setattr(fake, "death", None)
    assert len(opened(policy, folder).generate(prompts, TWO)) == 3


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_running_out_of_memory_stays_what_it_is(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Another engine would run out of it as well."""
    installed(monkeypatch, death=failure)
    engine = opened(policy, folder)
    with pytest.raises(RuntimeError) as raised:
        engine.generate(prompts, TWO)
    assert raised.value is failure
    engine.close()


def test_a_dead_engine_holds_no_memory_that_another_needs(
    policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while its error is known: a traceback keeps what its functions held."""
    installed(monkeypatch, death=IndexError("block 7 of 5"))
    engine = opened(policy, folder)
    assert engine._llm is not None
    weights = weakref.ref(engine._llm.model)
    with pytest.raises(EngineDied) as raised:
        engine.generate(prompts, TWO)
    engine.close()
    assert weights() is None
    assert isinstance(raised.value.__cause__, IndexError)


def test_the_context_is_what_vllm_has_room_for(policy: Policy, folder: str, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    with pytest.raises(EngineError, match="don't fit into the context of 100"):  # the policy's is 128
        opened(policy, folder).require_fit(prompts, 99)


def test_a_closed_engine_says_so(policy: Policy, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = installed(monkeypatch)
    engine = opened(policy, folder)
    engine.close()
    engine.close()
    assert fake.calls.count("shutdown") == 1
    with pytest.raises(EngineError, match="this vLLM engine is closed"):
        engine.load_weights(policy.model.state_dict().items(), 4)


def test_auto_takes_vllm_where_there_are_a_gpu_and_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    for present, on_gpu, expected in [(True, True, "vllm"), (True, False, "local"), (False, True, "local")]:
        monkeypatch.setattr("reasoning_rl.rollout.engine.find_spec", lambda _, found=present: found or None)
        assert engine_for("auto", on_gpu=on_gpu) == expected
        assert engine_for("vllm", on_gpu=on_gpu) == "vllm"


def learned_from(crew: Crew, folder: str) -> list[int]:
    """A crew that has opened a policy, sampled, and learned once from what it sampled."""
    config = SamplingConfig.model_validate({"engine": "vllm", "max_tokens": 3})
    crew.everyone(Open(folder, CPU, config))
    crew.everyone(Prepare(ObjectiveConfig(kl=0.0), LearnerConfig(warmup_steps=0), config, CPU, steps=2, reference=folder))
    prompts = make_prompts(crew.local.policy, ["Ann has 3 apples.", "How many?"])
    answers = crew.generate(prompts, TWO)
    batch = [
        Sample(prompt.token_ids, answer.token_ids, ((-1.0) ** row,) * 3, 1 / 12, answer.logprobs, group, row, float(row))
        for group, (prompt, made) in enumerate(zip(prompts, answers, strict=True))
        for row, answer in enumerate(made)
    ]
    crew.everyone(Update([batch], 0))
    return [answer.policy_version for made in crew.generate(prompts, TWO) for answer in made]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_vllm_samples_for_all_workers_and_takes_what_they_learned(
    tokenizer_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """The other worker's process has no vLLM at all."""
    fake = installed(monkeypatch)
    tiny_policy(tokenizer_folder).save(tmp_path / "policy")
    with Crew(processes) as crew:
        assert learned_from(crew, str(tmp_path / "policy")) == [1] * 4
        started = [call for call in fake.calls if call[0] == "LLM"]
        assert len(started) == 1
        before, after = tiny_policy(tokenizer_folder).model.state_dict(), crew.local.policy.model.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before)
    assert fake.calls[-1] == "shutdown"
