"""A model built like vLLM's on a CPU: fused, padded, packed. Whatever it does not compute with as it was sent is named."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reasoning_rl.rollout.fingerprint import differences, held, unequal_sums
from reasoning_rl.rollout.tensor_sums import tensor_sum

WIDTH, VOCABULARY = 20, 11
SENT = {
    "model.embed_tokens.weight": (VOCABULARY, WIDTH),
    "model.attn.q_proj.weight": (6, WIDTH),
    "model.attn.k_proj.weight": (2, WIDTH),
    "model.attn.v_proj.weight": (2, WIDTH),
    "model.attn.q_proj.bias": (6,),
    "model.attn.k_proj.bias": (2,),
    "model.attn.v_proj.bias": (2,),
    "model.norm.weight": (WIDTH,),
    "lm_head.weight": (VOCABULARY, WIDTH),
}


class Packed(nn.Module):
    """A matrix in a form that only its kernel reads; `kept` leaves a copy of it that the kernel does not."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, kept: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone() if kept else weight.new_empty(0), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.inside = [weight.clone()]
        self.quant_method = Kernel()

    def cpu_linear(self, rows: Tensor) -> Tensor:
        return rows @ self.inside[0].T


class Kernel:
    def apply(self, layer: Packed, rows: Tensor) -> Tensor:
        return layer.cpu_linear(rows)


class Norm(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone(), requires_grad=False)


class Tree(nn.Module):
    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Fused(Tree):
    packed_modules_mapping = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}


@pytest.fixture
def sent() -> dict[str, Tensor]:
    torch.manual_seed(0)
    tensors = {name: torch.randn(shape) for name, shape in SENT.items()}
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}


def loaded(sent: dict[str, Tensor]) -> Any:
    """What vLLM makes of it. Five rows pad the vocabulary."""

    def fused(parameter: str) -> Tensor:
        return torch.cat([sent[f"model.attn.{part}_proj.{parameter}"] for part in "qkv"])

    padded = torch.cat((sent["lm_head.weight"], sent["lm_head.weight"].new_zeros(5, WIDTH)))
    return Fused(
        model=Tree(
            embed_tokens=Packed(padded, kept=True),
            attn=Tree(qkv_proj=Packed(fused("weight"), fused("bias"))),
            norm=Norm(sent["model.norm.weight"]),
        ),
        lm_head=Packed(padded, kept=True),
    )


def said(model: Any, sent: dict[str, Tensor], version: int = 1) -> list[str]:
    return list(differences(model, sent, version))


def test_a_model_that_took_everything_does_not_differ(sent: dict[str, Tensor]) -> None:
    assert said(loaded(sent), sent) == []


def test_a_packed_head_that_went_stale_behind_a_readable_copy_is_named(sent: dict[str, Tensor]) -> None:
    model = loaded(sent)
    model.lm_head.inside[0] += 1e-6
    assert said(model, sent) == ["vLLM computes with another lm_head.weight than it was sent"]


def test_a_part_of_a_fused_matrix_is_named_by_itself(sent: dict[str, Tensor]) -> None:
    model = loaded(sent)
    model.model.attn.qkv_proj.inside[0][6:8] *= 1.001  # behind the six rows of q
    assert said(model, sent) == ["vLLM computes with another model.attn.k_proj.weight than it was sent"]


def test_one_entry_of_what_can_be_read_is_enough(sent: dict[str, Tensor]) -> None:
    model = loaded(sent)
    model.model.norm.weight[3] += 1e-6
    model.model.attn.qkv_proj.bias[9] += 1e-6
    assert said(model, sent) == [
        "vLLM computes with another model.attn.v_proj.bias than it was sent",
        "vLLM computes with another model.norm.weight than it was sent",
    ]


def test_every_column_of_a_packed_matrix_has_its_turn(sent: dict[str, Tensor]) -> None:
    # 8 of 20 columns in a version, so versions 1 to 3 see 8 to 15, 16 to 19 with 0 to 3, and 4 to 11
    seen = []
    for version in (1, 2, 3):
        model = loaded(sent)
        model.model.attn.qkv_proj.inside[0][0, 17] += 1
        seen.append(said(model, sent, version) != [])
    assert seen == [False, True, False]


@pytest.mark.parametrize("name", ["lm_head.weight", "model.attn.v_proj.weight", "model.norm.weight"])
def test_what_was_not_sent_is_named(sent: dict[str, Tensor], name: str) -> None:
    model = loaded(sent)
    del sent[name]
    assert said(model, sent) == [f"{name} is in vLLM's model, but was not sent"]


@pytest.mark.parametrize("name", ["model.experts.0.weight", "model.norm.bias"])
def test_what_the_model_has_no_place_for_is_named(sent: dict[str, Tensor], name: str) -> None:
    model = loaded(sent)
    assert said(model, {**sent, name: torch.zeros(2)}) == [f"{name} was sent, but vLLM's model has no such tensor"]


def test_another_shape_is_a_difference(sent: dict[str, Tensor]) -> None:
    model = loaded(sent)
    sent["model.norm.weight"] = torch.zeros(WIDTH + 1)
    assert said(model, sent) == ["vLLM computes with another model.norm.weight than it was sent"]


def test_what_was_sent_is_compared_in_the_type_of_the_model(sent: dict[str, Tensor]) -> None:
    rounded = {name: tensor.bfloat16() for name, tensor in sent.items()}
    assert said(loaded(rounded), sent) == said(loaded(rounded), rounded) == []


# Cut up over processes


def cut(sent: dict[str, Tensor], rank: int, size: int) -> Any:
    """What one of `size` processes makes of it, as vLLM cuts: rows of q, whole heads of k and v, columns of o, rows of the vocabulary."""
    rows = 16 // size
    alike = max(1, size // 2)  # two heads of keys and values, of a row each
    shares = {part: size // (alike if part in "kv" else 1) for part in "qkv"}

    def fused(parameter: str) -> Tensor:
        return torch.cat([sent[f"model.attn.{part}_proj.{parameter}"].chunk(n)[rank * n // size] for part, n in shares.items()])

    def words(name: str) -> Tensor:
        return torch.cat((sent[name], sent[name].new_zeros(5, WIDTH)))[rank * rows : (rank + 1) * rows]

    embed, head = Norm(words("model.embed_tokens.weight")), Packed(words("lm_head.weight"))
    qkv, out = Packed(fused("weight"), fused("bias")), Packed(sent["model.attn.o_proj.weight"].chunk(size, 1)[rank])
    first, last = min(rank * rows, VOCABULARY), min((rank + 1) * rows, VOCABULARY)
    for module in (embed, head):
        vars(module).update(shard_indices=SimpleNamespace(org_vocab_start_index=first, org_vocab_end_index=last), tp_size=size)
    vars(qkv).update(tp_rank=rank, tp_size=size, gather_output=False, num_kv_head_replicas=alike)
    vars(out).update(tp_rank=rank, tp_size=size, input_is_parallel=True)
    attention = Tree(qkv_proj=qkv, o_proj=out)
    return Fused(model=Tree(embed_tokens=embed, attn=attention, norm=Norm(sent["model.norm.weight"])), lm_head=head)


@pytest.fixture
def wide(sent: dict[str, Tensor]) -> dict[str, Tensor]:
    """Eight rows of q, so that four processes can share them, and an output matrix."""
    q = {f"model.attn.q_proj.{name}": torch.randn(8, *rest) for name, rest in (("weight", (WIDTH,)), ("bias", ()))}
    return {**sent, **q, "model.attn.o_proj.weight": torch.randn(WIDTH, 8)}


def sums(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {name: tensor_sum(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("size", [2, 4])
def test_each_process_is_compared_with_its_shard(wide: dict[str, Tensor], size: int) -> None:
    """With four, two hold the same head of keys and values, and the last rows of the vocabulary are padding alone."""
    models = [cut(wide, rank, size) for rank in range(size)]
    assert [said(model, wide) for model in models] == [[]] * size
    shapes = {name: tensor.shape for name, tensor in wide.items()}
    assert list(unequal_sums([held(model, shapes) for model in models], sums(wide))) == []


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ["q_proj.weight", "v_proj.weight", "k_proj.bias", "o_proj.weight", "lm_head.weight", "norm.weight"])
def test_one_process_that_kept_an_old_tensor_is_enough(wide: dict[str, Tensor], size: int, name: str) -> None:
    """Its sum tells of it even where another process holds the same piece."""
    (full,) = (key for key in wide if key.endswith(name))
    stale = {**wide, full: wide[full] * (1 + 1e-5)}
    models = [cut(stale if rank == 1 else wide, rank, size) for rank in range(size)]
    expected = f"vLLM computes with another {full} than it was sent"
    assert [said(model, wide) for model in models] == [[], [expected], *[[]] * (size - 2)]
    shapes = {name: tensor.shape for name, tensor in wide.items()}
    assert list(unequal_sums([held(model, shapes) for model in models], sums(wide))) == [expected]


def test_a_tensor_that_no_process_has_a_place_for_is_another(sent: dict[str, Tensor]) -> None:
    sent = {**sent, "model.extra.weight": torch.ones(2)}
    found = [held(loaded(sent), {name: tensor.shape for name, tensor in sent.items()})]
    assert list(unequal_sums(found, sums(sent))) == ["vLLM computes with another model.extra.weight than it was sent"]
