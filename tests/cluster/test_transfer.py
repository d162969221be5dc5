"""Which way weights take, and the order in which a learner and samplers do what vLLM's transfer wants of them."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from reasoning_rl.cluster.transfer import Fleet, Sender, chosen
from reasoning_rl.errors import ConfigError
from reasoning_rl.rollout.tensor_sums import tensor_sum


@pytest.mark.parametrize(
    ("asked", "on_gpu", "vllm", "placement", "way"),
    [
        ("auto", True, True, "separate", "nccl"),
        ("auto", True, True, "colocated", "ipc"),
        ("auto", True, False, "separate", "object_store"),
        ("auto", False, True, "separate", "object_store"),
        ("object_store", True, True, "separate", "object_store"),
        ("nccl", True, True, "separate", "nccl"),
    ],
)
def test_weights_go_from_gpu_to_gpu_where_they_can(asked: str, on_gpu: bool, vllm: bool, placement: str, way: str) -> None:
    assert chosen(asked, on_gpu=on_gpu, vllm=vllm, placement=placement) == way


@pytest.mark.parametrize(
    ("asked", "on_gpu", "vllm", "placement", "said"),
    [
        ("nccl", False, True, "separate", r"'nccl' is vLLM's way from GPU to GPU, and there is none; auto or object_store"),
        ("ipc", True, False, "colocated", r"'ipc' is vLLM's way from GPU to GPU, and the local engine samples; auto"),
        ("ipc", True, True, "separate", r"'ipc' can't be had with cluster\.placement='separate'; auto or nccl"),
        ("nccl", True, True, "colocated", r"'nccl' can't be had with cluster\.placement='colocated'; auto or ipc"),
    ],
)
def test_a_way_that_cannot_be_had_is_refused(asked: str, on_gpu: bool, vllm: bool, placement: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"cluster\.transfer: {said}"):
        chosen(asked, on_gpu=on_gpu, vllm=vllm, placement=placement)


class Remote:
    """A method of an actor's handle; what it returns is got already."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.remote = method


class Handle:
    """A sampler, which writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.transfer = Remote(lambda step, given: self.told.append((step, given)))
        self.require_transferred = Remote(lambda sums, version: self.told.append(("compare", sums, version)))


class FakeTrainer:
    """Of vLLM's trainer engines what their protocol says: every rank walks through the source, and the first one tells the client."""

    def __init__(self, init_info: Any, client: Any, source: Any) -> None:
        self.rank, self.client, self.source = init_info.rank, client, source
        if self.rank == 0:
            meeting = {name: value for name, value in vars(init_info).items() if name != "rank"}
            client.init_weight_transfer_engine(meeting | ({"rank_offset": 1} if "world_size" in meeting else {}))

    def send_weights(self) -> None:
        declared = [(meta.name, meta.dtype, meta.shape) for meta in self.source.metadata()]
        if self.rank == 0:
            self.client.start_weight_update()
        sent = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self.source]
        assert sent == declared
        if self.rank == 0:
            self.client.update_weights({"names": [name for name, *_ in sent]})
            self.client.finish_weight_update()


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = "vllm.distributed.weight_transfer"
    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.distributed": {},
        transfers: {"WeightTransferTrainerFactory": SimpleNamespace(trainer_init=FakeTrainer)},
        f"{transfers}.base": {"ParamMeta": lambda name, dtype, shape: SimpleNamespace(name=name, dtype=dtype, shape=shape)},
        f"{transfers}.nccl_engine": {"NCCLTrainerInitInfo": SimpleNamespace},
        f"{transfers}.ipc_engine": {"IPCTrainerInitInfo": SimpleNamespace},
        "vllm.utils": {},
        "vllm.utils.network_utils": {"get_ip": lambda: "10.0.0.1", "get_open_port": lambda: 29500},
        "ray": {"get": list},
    }
    for name, attributes in contents.items():
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)


TENSORS = {"embed": torch.full((2, 3), 1 / 3), "norm": torch.ones(3)}


def sender(way: str, rank: int, samplers: list[Handle]) -> tuple[Sender, list[str]]:
    """Of two samplers with two processes each; and the tensors that it asked for."""
    asked: list[str] = []

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in TENSORS.items():
            asked.append(name)
            yield name, tensor

    return Sender(way, rank, Fleet(samplers, 2), 4, tensors, torch.bfloat16), asked


@pytest.mark.parametrize("way", ["nccl", "ipc"])
def test_all_samplers_take_the_weights_and_compare_them_at_last(fake_vllm: None, way: str) -> None:
    samplers = [Handle(), Handle()]
    sending, _ = sender(way, 0, samplers)
    sending.send(7)
    meetings = [sampler.told[0] for sampler in samplers]
    for place, (step, given) in enumerate(meetings):
        assert step == "init_weight_transfer_engine"
        # the sender is process 0 of 5; the first sampler's are 1 and 2, the second's 3 and 4
        met = {"master_address": "10.0.0.1", "master_port": 29500, "world_size": 5, "rank_offset": 1 + 2 * place}
        assert given == {"init_info": met if way == "nccl" else {"packed": True}}
    rounded = {name: tensor_sum(tensor.bfloat16()) for name, tensor in TENSORS.items()}
    for sampler in samplers:
        assert sampler.told[1:] == [
            ("start_weight_update", {}),
            ("update_weights", {"update_info": {"names": ["embed", "norm"]}}),
            ("finish_weight_update", {}),
            ("compare", rounded, 7),
        ]


def test_other_ranks_gather_their_weights_and_tell_nobody(fake_vllm: None) -> None:
    samplers = [Handle()]
    sending, asked = sender("nccl", 1, samplers)
    sending.send(7)
    assert asked == ["embed", "norm"] * 2  # once for their shapes
    assert samplers[0].told == []
