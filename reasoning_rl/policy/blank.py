"""A policy without weights, for who samples with an engine that has its own: tokenizer, end tokens, context, names and shapes."""

from contextlib import suppress

import torch

from reasoning_rl.config import PolicyConfig
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import ModelError, first_line
from reasoning_rl.policy.policy import Policy, autocast_dtype, quiet


def blank_policy(model: str, config: PolicyConfig, revision: str | None = None) -> Policy:
    """Of a Hugging Face folder or hub id, on the meta device: it takes no memory and computes nothing. ModelError says what is missing."""
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    quiet()
    tokenizer, revision = load_tokenizer(model, revision), revision or "main"
    try:
        shape = AutoConfig.from_pretrained(model, revision=revision)
        with torch.device("meta"):
            blank = AutoModelForCausalLM.from_config(shape, dtype=getattr(torch, config.dtype))
    except (OSError, ValueError, KeyError) as failure:
        raise ModelError(f"policy.model: {model!r} can't be read as a causal language model: {first_line(failure)}") from failure
    with suppress(OSError):  # it has none of its own: what the config says stands
        blank.generation_config = GenerationConfig.from_pretrained(model, revision=revision)
    return Policy(blank, tokenizer, autocast_dtype(config))
