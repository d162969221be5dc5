"""Tokenizers: byte-level BPE trained on the data for policies built from nothing, and whatever a pretrained policy brings."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.errors import ModelError, first_line
from reasoning_rl.files import write_json, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

END = "<|endoftext|>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""Ordinary added tokens: special ones would vanish from decoded text, and with them the answer that a verifier looks for."""
CHAT = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")

Encode = Callable[[Sequence[str]], list[list[int]]]


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> "Tokenizer":
    """Byte-level BPE with single digits. Equal texts give equal tokenizers; the vocabulary may fall short when the texts are few."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TAGS),
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with one_thread():
        tokenizer.train_from_iterator(_untagged(texts), trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return tokenizer


def save_tokenizer(tokenizer: "Tokenizer", folder: Path, context: int) -> list[Path]:
    """A folder that `AutoTokenizer.from_pretrained` loads; the files written."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "padding_side": "left",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT,
    }
    return [
        write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True)),
        write_json(folder / "tokenizer_config.json", settings),
    ]


def load_tokenizer(name: str | Path, revision: str | None = None) -> "PreTrainedTokenizerBase":
    """The tokenizer of a folder or hub id. ModelError names it when it has none or can't be reached."""
    if not _HUB_ID.fullmatch(str(name)) and not Path(name).is_dir():
        raise ModelError(
            f"policy.model: there is no folder {name}; a Hugging Face folder or a hub id such as Qwen/Qwen2.5-0.5B is accepted"
        )
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(f"policy.model: the folder {name} has no tokenizer; one of {', '.join(TOKENIZER_FILES)} is expected")
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(name), revision=revision or "main")
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        ImportError,
    ) as failure:  # transformers has no error of its own for a folder it can't read
        raise ModelError(f"policy.model: {name} has no tokenizer that can be loaded: {first_line(failure)}") from failure
    return tokenizer


def chat_of(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], str] | None:
    """The tokenizer's chat template as a function of the user's message; None where it has none."""
    if not tokenizer.chat_template:
        return None

    def chat(message: str) -> str:
        turns = [{"role": "user", "content": message}]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    return chat


def plain_chat(message: str) -> str:
    """What CHAT makes of one message, without loading transformers."""
    return f"user: {message}\nassistant: "


def encode_learned(tokenizer: "Tokenizer") -> Encode:
    """Token ids of many texts. One thread: the pool of `tokenizers` does not survive a fork."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        with one_thread():
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]

    return encode


def encode_pretrained(tokenizer: "PreTrainedTokenizerBase", *, opens: bool) -> Encode:
    """Token ids of many texts, with the tokens that open a sequence where it `opens` one."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        with one_thread():
            ids: Any = tokenizer(list(texts), add_special_tokens=opens, verbose=False)["input_ids"]  # what is too long is said elsewhere
        return [list(row) for row in ids]

    return encode


@contextmanager
def one_thread() -> Iterator[None]:
    """`tokenizers` without its thread pool, which would warn at every later fork of this process; also makes training repeatable."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _untagged(texts: Iterable[str]) -> Iterator[str]:
    """Texts without the tags, which are tokens already and should not use up merges."""
    tags = re.compile("|".join(map(re.escape, TAGS)))
    for text in texts:
        yield from filter(None, tags.split(text))
