"""Log-probabilities of completion tokens, with logits for a chunk of tokens at a time.

# M predictions of a packing, V vocabulary
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy, hidden_states


def token_logprobs(
    policy: Policy, packing: Packing, *, temperature: float = 1.0, chunk: int = 4096, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    """log π(token | before) and the entropy of π at each completion token, row by row: nats, float32, at the temperature of sampling.

    Only `chunk` × V logits exist at a time; the backward computes them again. The entropy carries a gradient when asked to.
    """
    with policy.precision():
        hidden_MD = hidden_states(policy.model.base_model, packing)
        head = policy.model.get_output_embeddings()
        parts = [
            checkpoint(_logprobs, head, hidden, tokens, temperature, entropy_gradient, use_reentrant=False)
            if len(hidden_MD) > chunk and torch.is_grad_enabled()
            else _logprobs(head, hidden, tokens, temperature, entropy_gradient)
            for hidden, tokens in zip(hidden_MD.split(chunk), packing.predicted_M.split(chunk), strict=True)
        ]
    logp, entropy = zip(*parts, strict=True)
    real = sum(packing.lengths_R)
    return torch.cat(logp)[:real], torch.cat(entropy)[:real]


def _logprobs(head: torch.nn.Module, hidden: Tensor, tokens: Tensor, temperature: float, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
    logits = head(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    logp_all = torch.log_softmax(logits, dim=-1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = -(logp_all.exp() * logp_all).sum(-1)
    return logp_all.gather(1, tokens[:, None])[:, 0], entropy
