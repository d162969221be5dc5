"""Log-probabilities of completion tokens, with logits for a chunk of tokens at a time: see projection.py.

# M predictions of a packing
"""

from typing import TYPE_CHECKING

from torch import Tensor

from reasoning_rl.policy.forward import hidden_states
from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy
from reasoning_rl.policy.projection import chunk_within, project

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGITS_MIB = 512
"""Enough for 256 tokens of a vocabulary of 151,936."""


def token_logprobs(
    policy: Policy, packing: Packing, *, temperature: float = 1.0, logits_mib: int = LOGITS_MIB, entropy_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    """log π(token | before) and the entropy of π at each completion token, row by row: nats, float32, at the temperature of sampling.

    Logits and what is computed from them take at most `logits_mib` MiB, in the backward too. The entropy carries a gradient when asked to.
    """

    def computed(model: "PreTrainedModel") -> tuple[Tensor, Tensor]:
        return project(
            model.get_output_embeddings(),
            hidden_states(model.base_model, packing),
            packing.predicted_M,
            chunk=chunk_within(logits_mib, model.config.vocab_size),
            temperature=temperature,
            entropy_gradient=entropy_gradient,
        )

    with policy.precision():
        logp_M, entropy_M = policy.compute(computed)
    real = sum(packing.lengths_R)
    return logp_M[:real], entropy_M[:real]
