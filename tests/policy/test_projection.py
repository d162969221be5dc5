"""The projection in chunks is the plain computation: same numbers, same gradients, and memory that the number of tokens doesn't move."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reasoning_rl.policy.projection import BYTES_PER_LOGIT, chunk_within, project

M, D, V = 11, 6, 13
Result = tuple[Tensor, Tensor]
TIGHT: dict[str, Any] = {"atol": 1e-6, "rtol": 1e-6}


def plainly(head: nn.Module, hidden: Tensor, tokens: Tensor, temperature: float = 1.0) -> Result:
    """All logits at once, by autograd."""
    logp = torch.log_softmax(head(hidden).to(torch.promote_types(hidden.dtype, torch.float32)) / temperature, -1)
    return logp.gather(1, tokens[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


class Case:
    """A head, hidden states, tokens, and a loss that weighs every output differently."""

    def __init__(self, dtype: torch.dtype = torch.float32, *, bias: bool = False) -> None:
        torch.manual_seed(0)
        self.head: nn.Module = nn.Linear(D, V, bias=bias, dtype=dtype)
        self.hidden = torch.randn(M, D, dtype=dtype)
        self.tokens = torch.randint(V, (M,))
        self.weights = torch.randn(2, M, dtype=dtype)

    def gradients(self, compute: Callable[..., Result], **options: Any) -> list[Tensor]:
        """log π and entropy, then the gradients of the hidden states and of every parameter that has one."""
        self.head.zero_grad()
        hidden = self.hidden.clone().requires_grad_()
        logp, entropy = compute(self.head, hidden, self.tokens, **options)
        loss = (self.weights[0] * logp).sum()
        if entropy.requires_grad and options.get("entropy_gradient", True):
            loss = loss + (self.weights[1] * entropy).sum()
        loss.backward()
        assert hidden.grad is not None
        return [logp.detach(), entropy.detach(), hidden.grad, *(one.grad.clone() for one in self.head.parameters() if one.grad is not None)]


def without_entropy(head: nn.Module, hidden: Tensor, tokens: Tensor, temperature: float = 1.0) -> Result:
    logp, entropy = plainly(head, hidden, tokens, temperature)
    return logp, entropy.detach()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("chunk", [1, 4, M, 100])
def test_chunks_give_the_loss_and_gradient_of_all_logits_at_once(chunk: int, temperature: float, bias: bool) -> None:
    case = Case(torch.float64, bias=bias)
    ours = case.gradients(project, chunk=chunk, temperature=temperature, entropy_gradient=True)
    theirs = case.gradients(plainly, temperature=temperature)
    assert len(ours) == (5 if bias else 4)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("entropy_gradient", [False, True])
def test_in_float32_they_agree_to_a_millionth(entropy_gradient: bool) -> None:
    case = Case()
    ours = case.gradients(project, chunk=3, entropy_gradient=entropy_gradient)
    for mine, other in zip(ours, case.gradients(plainly if entropy_gradient else without_entropy), strict=True):
        torch.testing.assert_close(mine, other, **TIGHT)


def test_an_entropy_without_gradient_says_so() -> None:
    case = Case()
    _, entropy = project(case.head, case.hidden.requires_grad_(), case.tokens, chunk=4)
    assert not entropy.requires_grad


def test_large_logits_overflow_nothing() -> None:
    case = Case()
    with torch.no_grad():
        case.head.weight.mul_(1e4)  # type: ignore[operator]
    for mine, other in zip(case.gradients(project, chunk=4), case.gradients(without_entropy), strict=True):
        assert torch.isfinite(mine).all()
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-2)


def test_the_embedding_that_is_also_the_head_gets_both_gradients() -> None:
    case = Case()
    table = nn.Embedding(V, D, _weight=case.head.weight.detach().clone())  # type: ignore[operator]

    def tied(compute: Callable[..., Result], **options: Any) -> Tensor:
        head = nn.Linear(D, V, bias=False)
        head.weight = table.weight
        table.zero_grad()
        for _ in range(2):  # the second adds to what the first has left
            logp, _ = compute(head, table(case.tokens).tanh(), case.tokens, **options)
            (logp * case.weights[0]).sum().backward()
        assert table.weight.grad is not None
        return table.weight.grad.clone()

    torch.testing.assert_close(tied(project, chunk=4), tied(without_entropy), **TIGHT)


def test_a_frozen_head_passes_the_gradient_on_and_has_none() -> None:
    case = Case()
    case.head.requires_grad_(requires_grad=False)
    ours, theirs = case.gradients(project, chunk=4), case.gradients(without_entropy)
    assert len(ours) == 3
    torch.testing.assert_close(ours[2], theirs[2], **TIGHT)


class Adapted(nn.Module):
    """As peft wraps a linear layer: the frozen weight, and beside it a product of two thin ones."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(requires_grad=False)
        self.a, self.b = nn.Linear(D, 2, bias=False), nn.Linear(2, V, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        total: Tensor = self.base_layer(hidden) + self.b(self.a(hidden)) * 0.5
        return total


def test_a_wrapped_head_is_gone_through_by_autograd() -> None:
    case = Case()
    case.head = Adapted(case.head)
    ours = case.gradients(project, chunk=4, entropy_gradient=True)
    assert len(ours) == 5  # hidden states and the two thin matrices
    for mine, other in zip(ours, case.gradients(plainly), strict=True):
        torch.testing.assert_close(mine, other, **TIGHT)


def test_hooks_of_a_head_are_run() -> None:
    case = Case()
    case.head.register_forward_hook(lambda _module, _given, logits: logits * 2)
    for mine, other in zip(case.gradients(project, chunk=4), case.gradients(without_entropy), strict=True):
        torch.testing.assert_close(mine, other, **TIGHT)


@pytest.mark.parametrize("wrapped", [False, True])
def test_under_autocast_products_are_in_bfloat16_and_sums_in_float32(wrapped: bool) -> None:
    case = Case()
    case.head = Adapted(case.head) if wrapped else case.head

    def cast(compute: Callable[..., Result]) -> Callable[..., Result]:
        def under(*arguments: Any, **options: Any) -> Result:
            with torch.autocast("cpu", torch.bfloat16):
                return compute(*arguments, **options)

        return under

    ours, theirs = case.gradients(cast(project), chunk=4), case.gradients(cast(without_entropy))
    assert {mine.dtype for mine in ours} == {torch.float32}
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-6, rtol=1e-6)  # the same products, rounded alike
    for mine, other in zip(ours[2:], theirs[2:], strict=True):
        torch.testing.assert_close(mine, other, atol=0.02, rtol=0.02)


def test_chunks_of_a_bfloat16_head_add_up_in_float32() -> None:
    """300 chunks that say 1 each: in bfloat16, whose steps above 256 are 2, the sum would stand still at 256."""
    head = nn.Linear(1, 2, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        head.weight.zero_()  # p = 1/2 for both tokens: ∂ log π(0) / ∂w = hidden · (1 − 1/2, −1/2)
    hidden = torch.full((300, 1), 2.0, dtype=torch.bfloat16)
    logp, _ = project(head, hidden, torch.zeros(300, dtype=torch.long), chunk=1)
    logp.sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.dtype is torch.bfloat16
    assert head.weight.grad.tolist() == [[300.0], [-300.0]]


def test_a_head_changed_before_the_backward_is_noticed() -> None:
    case = Case()
    logp, _ = project(case.head, case.hidden, case.tokens, chunk=4)
    with torch.no_grad():
        case.head.weight.add_(1)  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logp.sum().backward()


def test_a_budget_is_kept_for_every_vocabulary() -> None:
    for vocabulary in (512, 32_000, 151_936, 256_000):
        chunk = chunk_within(512, vocabulary)
        assert chunk % 256 == 0 or chunk < 256
        assert 256 * 2**20 < chunk * vocabulary * BYTES_PER_LOGIT <= 512 * 2**20


PEAK = """
import sys, torch
from torch import nn
from reasoning_rl.learner.memory import MIB, peak_resident_bytes
from reasoning_rl.policy.projection import chunk_within, project

tokens, budget = map(int, sys.argv[1:])
head = nn.Linear(16, 151_936, bias=False)
head.weight.grad = torch.zeros_like(head.weight)
hidden = torch.randn(tokens, 16, requires_grad=True)
hidden.grad = torch.zeros_like(hidden)
project(nn.Linear(16, 512), hidden[:256], torch.zeros(256, dtype=torch.long), chunk=256)[0].sum().backward()  # libraries
before = peak_resident_bytes()
logp, _ = project(head, hidden, torch.zeros(tokens, dtype=torch.long), chunk=chunk_within(budget, 151_936))
logp.sum().backward()
print((peak_resident_bytes() - before) / MIB)
"""


def peak_mib(tokens: int, budget: int) -> float:
    done = subprocess.run([sys.executable, "-c", PEAK, str(tokens), str(budget)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from Linux's own files")
def test_the_peak_is_that_of_a_chunk_whatever_the_number_of_tokens() -> None:
    """4096 tokens of 151,936 logits would be 2374 MiB at once; a chunk of 256 is 148 MiB, twice in the forward."""
    short, long = peak_mib(512, 512), peak_mib(4096, 512)
    assert 148 < short < 512
    assert abs(long - short) < 32


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from Linux's own files")
def test_small_chunks_find_the_memory_of_those_before_them() -> None:
    """Chunks of less than 32 MiB come from glibc's heap: what a chunk leaves behind there must not stand in the way of the next."""
    assert peak_mib(2048, 64) < 256  # of 1187 MiB for all logits
