"""Peak memory and seconds of the loss and its backward, from hidden states to their gradient, by vocabulary and tokens. One JSON line each.

    python benchmarks/loss_memory.py --vocabularies 32000,151936 --tokens 4096,16384 --budgets 256,512

Peaks are above what is there before: the output embedding, its gradient, the hidden states and theirs. `plain` is all logits at once by
autograd, asked for with budget 0. Each setting has a process of its own. Linux, or a GPU.
"""

import argparse
import json
import subprocess
import sys
import time

MIB = 2**20


def main() -> None:
    asked = _arguments()
    if asked.one:
        print(json.dumps(measured(asked, *map(int, asked.one.split(",")))))
        return
    settings = [
        f"{vocabulary},{tokens},{budget}"
        for vocabulary in asked.vocabularies.split(",")
        for tokens in asked.tokens.split(",")
        for budget in asked.budgets.split(",")
    ]
    for setting in settings:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", setting], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabularies", default="512,32000,151936")
    parser.add_argument("--tokens", default="2048,16384")
    parser.add_argument("--budgets", default="512", help="policy.logits_mib; 0 for all logits at once")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--autocast", action="store_true", help="products in bfloat16")
    parser.add_argument("--entropy", action="store_true", help="a gradient through the entropy too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(asked: argparse.Namespace, vocabulary: int, tokens: int, budget: int) -> dict[str, object]:
    """One setting."""
    import torch
    from sides.machine import facts

    head = torch.nn.Linear(asked.width, vocabulary, bias=False, device=asked.device)
    hidden = torch.randn(tokens, asked.width, device=asked.device, requires_grad=True)
    for tensor in (head.weight, hidden):
        tensor.grad = torch.zeros_like(tensor)
    _forward_backward(asked, torch.nn.Linear(asked.width, 512, device=asked.device), hidden[:256], 64)  # libraries
    _finish(asked.device)
    before, start = _peak_mib(asked.device), time.perf_counter()
    _forward_backward(asked, head, hidden, budget)
    _finish(asked.device)
    return {
        "benchmark": "loss_memory", "device": asked.device, "vocabulary": vocabulary, "tokens": tokens, "width": asked.width,
        "precision": "bfloat16" if asked.autocast else "float32", "entropy_gradient": asked.entropy, "budget_mib": budget or None,
        "all_logits_mib": round(4 * vocabulary * tokens / MIB), "peak_mib": round(_peak_mib(asked.device) - before),
        "seconds": round(time.perf_counter() - start, 2), **facts(),
    }  # fmt: skip


def _forward_backward(asked: argparse.Namespace, head, hidden, budget: int) -> None:
    import torch

    from reasoning_rl.policy.projection import chunk_within, project

    tokens = torch.arange(len(hidden), device=hidden.device) % head.out_features
    with torch.autocast(asked.device, torch.bfloat16, enabled=asked.autocast):
        if budget:
            chunk = chunk_within(budget, head.out_features)
            logp, entropy = project(head, hidden, tokens, chunk=chunk, entropy_gradient=asked.entropy)
        else:
            logp, entropy = _plain(head, hidden, tokens)
    (logp + entropy if asked.entropy else logp).sum().backward()


def _plain(head, hidden, tokens):
    import torch

    logp = torch.log_softmax(head(hidden).float(), -1)
    return logp.gather(1, tokens[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


def _finish(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _peak_mib(device: str) -> float:
    """Of this process or of its share of the GPU, so far."""
    import torch

    from reasoning_rl.learner.memory import peak_resident_bytes

    return (torch.cuda.max_memory_allocated() if device == "cuda" else peak_resident_bytes()) / MIB


if __name__ == "__main__":
    main()
