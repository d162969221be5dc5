"""A causal language model with its tokenizer: built from nothing, loaded, saved, and the precision it computes in."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from reasoning_rl.config import ArchitectureConfig, LoRAConfig, PolicyConfig
from reasoning_rl.errors import ModelError, first_line
from reasoning_rl.policy.adapters import ADAPTERS, adapters_off, add_adapters, load_adapters, merged, save_adapters
from reasoning_rl.policy.attention import GROUPED
from reasoning_rl.policy.compiling import compile_layers
from reasoning_rl.policy.kernels import keep_few_kernels
from reasoning_rl.policy.trial import require_alike, without_dropout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_Result = TypeVar("_Result")


@dataclass
class Policy:
    """What samples and what learns: one set of weights."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    autocast: torch.dtype | None
    """Precision of matrix products, None for that of the weights."""
    adapted: bool = False
    """Whether adapters are trained in the weights' stead: see `adapt`."""
    root: nn.Module | None = None
    """Gathers the weights outside the layers while it computes, where they are sharded: see learner/sharding.py."""

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def context(self) -> int:
        """Tokens that a prompt and its completion may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2**31))

    @property
    def end_tokens(self) -> frozenset[int]:
        """Every token that ends a completion: the tokenizer's, and those of the model's generation settings."""
        also = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = also if isinstance(also, list) else [also]
        return frozenset(token for token in [self.tokenizer.eos_token_id, *listed] if token is not None)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The autocast to run the model under."""
        return precision(self.device, self.autocast)

    def compute(self, work: "Callable[[PreTrainedModel], _Result]") -> _Result:
        """What `work` makes of the model, whose weights outside the layers are whole meanwhile; layers look after theirs themselves."""
        result: _Result = work(self.model) if self.root is None else self.root(work)
        return result

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """A Hugging Face folder that transformers and vLLM load as it is. Adapters are merged, and by themselves in a folder inside.

        `weights` are written in place of the policy's own, which is what there is to do with sharded ones: see `gathered`.
        """
        quiet()
        self.model.save_pretrained(folder, state_dict=dict(self.weights()) if self.adapted else weights)
        self.tokenizer.save_pretrained(folder)
        if self.adapted:
            save_adapters(self.model, folder / ADAPTERS)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The state dict, as an engine needs it: with adapters merged, one at a time, where there are any.

        Of a sharded policy each is gathered when its turn comes: a collective, so every rank has to walk through all of them.
        """
        return merged(self.model) if self.adapted else ((name, _whole(tensor)) for name, tensor in self.model.state_dict().items())

    def gathered(self, *, keep: bool) -> dict[str, Tensor] | None:
        """Sharded weights in the host's memory, those that are tied as one; None where they are not sharded. Every rank has to ask.

        `keep`: for this rank; the others lend their shards and have an empty one.
        """
        if self.root is None:
            return None
        tied = {name: id(tensor) for name, tensor in self.model.state_dict(keep_vars=True).items()}
        met: dict[int, Tensor] = {}
        for name, tensor in self.weights():
            if keep and tied[name] not in met:
                met[tied[name]] = tensor.cpu()
        return {name: met[place] for name, place in tied.items()} if keep else {}

    def adapt(self, config: LoRAConfig, checkpoint: Path | None = None) -> None:
        """Put adapters into the model, those of a checkpoint or new ones that change nothing, and freeze its weights. See adapters.py."""
        add_adapters(self.model, config)
        self.adapted = True
        if checkpoint is not None:
            load_adapters(self.model, checkpoint / ADAPTERS)

    def unadapted(self) -> "Policy":
        """What it was before its adapters came: the same model, with them off."""
        return _Unadapted(self.model, self.tokenizer, self.autocast, self.adapted)


class _Unadapted(Policy):
    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        with adapters_off(self.model), super().precision():
            yield


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def precision(device: torch.device, autocast: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    """Autocast to this type, or nothing."""
    return contextlib.nullcontext() if autocast is None else torch.autocast(device.type, dtype=autocast)


def build_policy(architecture: ArchitectureConfig, config: PolicyConfig, tokenizer: "PreTrainedTokenizerBase", seed: int) -> Policy:
    """A small Qwen3-style model with fresh weights: grouped queries, rotary positions, norms on queries and keys, tied embeddings."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    keep_few_kernels()
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=architecture.width,
        intermediate_size=architecture.mlp_width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads,
        head_dim=architecture.head_width,
        max_position_embeddings=architecture.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM._from_config(shape, attn_implementation=GROUPED, dtype=torch.float32)
    return _policy(model.to(device_of(config)), tokenizer, config)


def load_policy(model: str, config: PolicyConfig, revision: str | None = None) -> Policy:
    """A Hugging Face folder or hub id. ModelError says what is missing, or what the model needs that isn't supported."""
    from transformers import AutoModelForCausalLM

    from reasoning_rl.data.tokenizer import load_tokenizer

    quiet()
    keep_few_kernels()
    tokenizer = load_tokenizer(model, revision)
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            model, revision=revision or "main", attn_implementation=GROUPED, dtype=getattr(torch, config.dtype)
        )
    except (OSError, ValueError, KeyError) as failure:
        said = "its attention can't be replaced" if failure.args == (GROUPED,) else first_line(failure)
        raise ModelError(f"policy.model: {model!r} can't be loaded as a causal language model: {said}") from failure
    _refuse_scaled_logits(model, loaded.config.to_dict())
    loaded.to(device_of(config))  # type: ignore[arg-type]  # its stub knows no torch.device
    without_dropout(loaded)
    require_alike(loaded, model)
    return _policy(loaded, tokenizer, config)


def _policy(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", config: PolicyConfig) -> Policy:
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if config.compile:
        compile_layers(model)
    return Policy(model, tokenizer, autocast_dtype(config))


def quiet() -> None:
    """No bars of transformers' own among the lines of a run."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def autocast_dtype(config: PolicyConfig) -> torch.dtype | None:
    """bfloat16 if the recipe wants it, or, with `auto`, if the weights are float32 and the processor multiplies bfloat16 natively."""
    if config.autocast == "off" or config.dtype == "bfloat16":
        return None
    native = torch.cuda.is_bf16_supported() if device_of(config).type == "cuda" else _cpu_multiplies_bfloat16()
    return torch.bfloat16 if config.autocast == "bfloat16" or native else None


def _cpu_multiplies_bfloat16() -> bool:
    """AVX512-BF16 or AMX: up to five times the rate of float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def device_of(config: PolicyConfig) -> torch.device:
    """ModelError where the recipe wants a GPU and torch sees none."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("policy.device: 'cuda', but torch sees no GPU; use 'auto' or 'cpu'")
    return torch.device(config.device)


def _refuse_scaled_logits(model: str, settings: dict[str, Any]) -> None:
    """Log-probabilities are taken from the output embedding directly; what some architectures do behind it would be lost."""
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if settings.get(name) not in (None, 1, 1.0):
            raise ModelError(f"policy.model: {model!r} sets {name}={settings[name]}, which is not supported")
