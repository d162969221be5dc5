"""Weights that go through the object store come out as they went in, or not at all."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from reasoning_rl.cluster.weights import Packed, Weights, pack, put, take, unpack
from reasoning_rl.errors import EngineError
from reasoning_rl.rollout.tensor_sums import tensor_sum


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[Packed]]:
    """In Ray's place. Like its own, what it hands out is only for reading."""
    kept: dict[int, list[Packed]] = {}

    def put_in(chunk: list[Packed]) -> int:
        for packed in chunk:
            packed.bits.setflags(write=False)
        kept[len(kept)] = chunk
        return len(kept) - 1

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(put=put_in, get=lambda refs: [kept[ref] for ref in refs]))
    return kept


def tensors(scale: float = 1.0) -> dict[str, Tensor]:
    torch.manual_seed(0)
    square = torch.randn(4, 4) * scale
    return {"embed": square, "norm": torch.randn(3).bfloat16(), "turned": torch.randn(2, 5).T, "head": square, "steps": torch.tensor(7)}


def test_what_is_taken_is_what_was_put() -> None:
    weights = put(tensors().items(), 3)
    taken = dict(take(weights))
    assert weights.version == 3
    assert list(taken) == list(tensors())
    for name, tensor in tensors().items():
        assert (taken[name].dtype, taken[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(taken[name], tensor)


def test_nothing_is_copied_on_the_way_out(store: dict[int, list[Packed]]) -> None:
    (_, norm), *_ = take(put([("norm", torch.ones(3).bfloat16())], 1))
    assert norm.data_ptr() == store[0][0].bits.ctypes.data


def test_chunks_are_full_and_a_tensor_stays_in_one_piece() -> None:
    # 8, 8, 4, 40 and 4 bytes into chunks of 20: the first three fill one, 40 is more than any has room for
    sizes = [2, 2, 1, 10, 1]
    chunks = list(pack(((f"t{index}", torch.zeros(size)) for index, size in enumerate(sizes)), chunk_bytes=20))
    assert [[packed.bits.nbytes for packed in chunk] for chunk in chunks] == [[8, 8, 4], [40], [4]]
    assert [name for name, _ in unpack(chunks)] == ["t0", "t1", "t2", "t3", "t4"]


def spoiled(weights: Weights, store: dict[int, list[Packed]], how: str) -> None:
    chunk = store[weights.chunks[0]]
    first: Any = chunk[0]
    if how == "a bit":
        bits = first.bits.copy()
        bits.view("int32")[0, 0] ^= 1
        chunk[0] = Packed(first.name, first.dtype, bits)
    elif how == "a name":
        chunk[0] = Packed("other", first.dtype, first.bits)
    elif how == "a shape":
        chunk[0] = Packed(first.name, first.dtype, first.bits.reshape(2, 8))
    else:
        del chunk[1]


@pytest.mark.parametrize("how", ["a bit", "a name", "a shape", "a tensor that is missing"])
def test_weights_that_changed_on_the_way_are_refused_before_the_first_of_them(store: dict[int, list[Packed]], how: str) -> None:
    weights = put(tensors().items(), 5)
    spoiled(weights, store, how)
    with pytest.raises(
        EngineError, match=f"weights of version 5: fingerprint {weights.fingerprint} was written, and [0-9a-f]{{16}} was read"
    ):
        next(take(weights))


def test_a_fingerprint_is_the_same_in_any_order_and_another_for_other_weights() -> None:
    written = [put(pairs, 1).fingerprint for pairs in (tensors().items(), reversed(tensors().items()), tensors(1 + 1e-6).items())]
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
def test_a_sum_is_that_of_the_pieces_in_any_order(dtype: torch.dtype) -> None:
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    left, right = whole.chunk(2, 1)
    assert tensor_sum(whole) == (tensor_sum(right) + tensor_sum(left)) % 2**64 != 0


def test_what_one_number_gains_and_another_loses_changes_the_sum() -> None:
    """Their bits, as integers, add up to the same."""
    bits = torch.tensor([1000, 2000], dtype=torch.int32)
    moved = torch.tensor([1001, 1999], dtype=torch.int32)
    assert int(bits.sum()) == int(moved.sum())
    assert tensor_sum(bits.view(torch.float32)) != tensor_sum(moved.view(torch.float32))


def test_zeros_count() -> None:
    assert len({tensor_sum(torch.zeros(length)) for length in range(4)}) == 4
