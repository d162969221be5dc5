"""Weights from the learners' GPUs to those of vLLM, by vLLM's own transfer: NCCL between separate GPUs, IPC on shared ones.

    Sender of rank 0 ── steps, through Fleet ──▶ all samplers: VLLMEngine.transfer
                     ── tensors, over NCCL or IPC ──▶ their vLLM
                     ── tensor_sum of each ──▶ VLLMEngine.require_transferred

Without a GPU at hand, NCCL and IPC themselves have not been run: tests put a queue in the place of NCCL, and the rest is vLLM's own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from reasoning_rl.cluster.deaths import cause
from reasoning_rl.errors import ConfigError, EngineDied
from reasoning_rl.learner.failures import Failed
from reasoning_rl.rollout.tensor_sums import tensor_sum

Way = Literal["object_store", "nccl", "ipc"]
NamedTensors = Callable[[], Iterable[tuple[str, Tensor]]]
"""Brings all tensors of the policy, whole and on the GPU, each time in the same order. Of a sharded policy a collective."""


def chosen(transfer: str, *, on_gpu: bool, vllm: bool, placement: str) -> Way:
    """What `cluster.transfer` means. ConfigError where it can't be had."""
    own: Way = "ipc" if placement == "colocated" else "nccl"
    if transfer == "auto":
        return own if on_gpu and vllm else "object_store"
    if transfer == "object_store":
        return "object_store"
    if not (on_gpu and vllm):
        here = "the local engine samples" if on_gpu else "there is none"
        raise ConfigError(f"cluster.transfer: {transfer!r} is vLLM's way from GPU to GPU, and {here}; auto or object_store is accepted")
    if transfer != own:
        raise ConfigError(f"cluster.transfer: {transfer!r} can't be had with cluster.placement={placement!r}; auto or {own} is accepted")
    return own


class Source:
    """The policy's tensors in the type of vLLM's weights, as vLLM's WeightSource: said what they are, and sent again and again."""

    def __init__(self, tensors: NamedTensors, dtype: torch.dtype, *, adding_up: bool) -> None:
        """Looks at all of them once; `adding_up`: for the rank that sends."""
        self._tensors, self._dtype, self._adding_up = tensors, dtype, adding_up
        self._shapes = [(name, tuple(tensor.shape)) for name, tensor in tensors()]
        self.sums: dict[str, int] = {}
        """`tensor_sum` of each as it was sent last."""

    def metadata(self) -> list[Any]:
        """See vLLM's WeightSource."""
        from vllm.distributed.weight_transfer.base import ParamMeta

        return [ParamMeta(name, self._dtype, shape) for name, shape in self._shapes]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self._tensors():
            sent = tensor.detach().to(self._dtype)
            if self._adding_up:
                self.sums[name] = tensor_sum(sent)
            yield name, sent


class Fleet:
    """All samplers as one, in the words of vLLM's VLLMWeightSyncClient. vLLM's own takes all of them for processes of one engine."""

    def __init__(self, samplers: Sequence[Any], processes: int) -> None:
        """Handles of Ray's actors with `transfer(step, given)` and `require_transferred(sums, version)`; each has so many processes."""
        self._samplers, self._processes = samplers, processes

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Meet the sender. NCCL counts the processes of all engines: those of each begin at an offset of its own."""
        meetings = []
        for place, sampler in enumerate(self._samplers):
            own = {**init_info}
            if "rank_offset" in own:
                own["rank_offset"] += place * self._processes
            meetings.append(sampler.transfer.remote("init_weight_transfer_engine", {"init_info": own}))
        _wait(meetings)

    def start_weight_update(self) -> None:
        """Make ready."""
        self._all("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Receive; ends when all have."""
        self._all("update_weights", update_info=update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:  # noqa: ARG002  # versions are told with the sums
        """All has come."""
        self._all("finish_weight_update")

    def require_transferred(self, sums: Mapping[str, int], version: int) -> None:
        """Have each compare what it holds; EngineError of the first that holds something else."""
        _wait([sampler.require_transferred.remote(sums, version) for sampler in self._samplers])

    def _all(self, step: str, **given: Any) -> None:
        _wait([sampler.transfer.remote(step, given) for sampler in self._samplers])


class Sender:
    """A learner rank's end of the transfer. Every rank makes one and calls it, at the same time: the first one sends.

    The samplers that it was made with receive. When one dies or another comes, all ranks make a new one.
    """

    def __init__(self, way: str, rank: int, fleet: Fleet, world: int, tensors: NamedTensors, dtype: torch.dtype) -> None:
        """`world`: processes of all samplers; `dtype` is that of vLLM's weights. Ends when both sides have met."""
        from vllm.distributed.weight_transfer import WeightTransferTrainerFactory

        self._rank, self._fleet = rank, fleet
        self._source = Source(tensors, dtype, adding_up=rank == 0)
        self._engine: Any = WeightTransferTrainerFactory.trainer_init(_init_info(way, rank, world), client=fleet, source=self._source)

    def send(self, version: int) -> None:
        """Ends when all samplers hold this version. EngineError where one holds something else."""
        self._engine.send_weights()
        if self._rank == 0:
            self._fleet.require_transferred(self._source.sums, version)

    def close(self) -> None:
        """Part from the samplers."""
        self._engine.shutdown()


def _init_info(way: str, rank: int, world: int) -> Any:
    """Where to meet. The address counts for rank 0 alone, which is the one at it."""
    if way == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        return IPCTrainerInitInfo(rank=rank, packed=True)  # a buffer is shared, and not a copy of all weights
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo
    from vllm.utils.network_utils import get_ip, get_open_port

    return NCCLTrainerInitInfo(master_address=get_ip(), master_port=get_open_port(), world_size=1 + world, rank=rank)


def _wait(refs: list[Any]) -> None:
    """For all; the error of the first that failed, EngineDied where one is gone."""
    import ray

    try:
        results = ray.get(refs)
    except ray.exceptions.RayError as failure:
        raise EngineDied(f"a sampler died while weights were transferred: {cause(failure)}") from failure
    for result in results:
        if isinstance(result, Failed):
            raise result.told("a sampler")
