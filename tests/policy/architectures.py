"""Models of any architecture, a few thousand weights each."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from reasoning_rl.policy.attention import GROUPED

SUPPORTED = [
    "llama",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma",
    "gemma3_text",
    "mistral",
    "mixtral",
    "phi",
    "phi3",
    "olmo2",
    "gpt_neox",
    "smollm3",
]


def tiny_model(architecture: str, attention: str = GROUPED, **settings: Any) -> Any:
    """Of an architecture by transformers' name: two layers, fresh weights, large enough that tokens see one another."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    experts = {"num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    ids = {"vocab_size": 300, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    asked: dict[str, Any] = {**shape, **experts, **ids, "head_dim": 8, **settings}
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[architecture](**asked), attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(5)
    return model
