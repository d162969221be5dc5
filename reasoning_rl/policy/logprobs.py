"""Log-probabilities of completion tokens, with logits for a chunk of tokens at a time.

# M predictions of a packing, V vocabulary
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy


def token_logprobs(policy: Policy, packing: Packing, *, temperature: float = 1.0, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """log π(token | before) and the entropy of π at each completion token, row by row: nats, float32, at the temperature of sampling.

    Only `chunk` × V logits exist at a time; the backward computes them again. The entropy carries no gradient.
    """
    with policy.precision():
        hidden_MD = hidden_states(policy, packing)
        head = policy.model.get_output_embeddings()
        parts = [
            checkpoint(_logprobs, head, hidden, tokens, temperature, use_reentrant=False)
            if len(hidden_MD) > chunk and torch.is_grad_enabled()
            else _logprobs(head, hidden, tokens, temperature)
            for hidden, tokens in zip(hidden_MD.split(chunk), packing.predicted_M.split(chunk), strict=True)
        ]
    logp, entropy = zip(*parts, strict=True)
    real = sum(packing.lengths_R)
    return torch.cat(logp)[:real], torch.cat(entropy)[:real]


def hidden_states(policy: Policy, packing: Packing) -> Tensor:
    """Last hidden state at each predicting position, (M, width)."""
    flat = policy.model.base_model(
        input_ids=packing.ids_N[None], position_ids=packing.positions_N[None], layout=packing, use_cache=False
    ).last_hidden_state[0]
    chosen: Tensor = flat.index_select(0, packing.predicting_M)
    return chosen


def _logprobs(head: torch.nn.Module, hidden: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = head(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    logp_all = torch.log_softmax(logits, dim=-1)
    with torch.no_grad():
        entropy = -(logp_all.exp() * logp_all).sum(-1)
    return logp_all.gather(1, tokens[:, None])[:, 0], entropy
