"""The tokenizer that a policy built from nothing learns, and those that pretrained ones bring."""

import json
import os
from pathlib import Path

import pytest

from reasoning_rl.data.tokenizer import (
    chat_of,
    encode_learned,
    encode_pretrained,
    learn_tokenizer,
    load_tokenizer,
    one_thread,
    plain_chat,
    save_tokenizer,
)
from reasoning_rl.errors import ModelError

TEXTS = ["Tom has 12 apples. He buys 25 more apples.", "<think>\n12+25=37\n</think><answer>37</answer>"] * 20
WORKED = "<think>\n20+5=25\n</think><answer>25</answer>"


def folder(tmp_path: Path) -> Path:
    save_tokenizer(learn_tokenizer(TEXTS, 300), tmp_path / "tokenizer", context=256)
    return tmp_path / "tokenizer"


def test_digits_are_always_single() -> None:
    tokens = learn_tokenizer(["12 12 12 1212"] * 50, 300).encode("1212 12").tokens
    assert [token for token in tokens if any(map(str.isdigit, token))] == list("121212")


def test_tags_are_single_tokens_that_survive_decoding(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder(tmp_path))
    ids = tokenizer(WORKED)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == WORKED
    # <think> \n 2 0 + 5 = 2 5 \n </think> <answer> 2 5 </answer>
    assert len(ids) == 15


def test_any_text_comes_back_whole(tmp_path: Path) -> None:
    tokenizer = learn_tokenizer(TEXTS, 300)
    text = "Ω ≠ 7 🙂\n\t<think> x</think>"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_transformers_reads_the_same_ids_and_chat_format(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder(tmp_path))
    encode = encode_learned(learn_tokenizer(TEXTS, 300))
    assert encode(TEXTS[:2]) == encode_pretrained(tokenizer, opens=True)(TEXTS[:2])
    chat = chat_of(tokenizer)
    assert chat is not None
    assert chat("Why?") == plain_chat("Why?")
    assert tokenizer.eos_token == tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.model_max_length == 256


def test_a_tokenizer_without_chat_template_has_no_chat(tmp_path: Path) -> None:
    path = folder(tmp_path) / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["chat_template"]
    path.write_text(json.dumps(settings))
    assert chat_of(load_tokenizer(path.parent)) is None


def test_equal_texts_give_equal_tokenizers() -> None:
    assert learn_tokenizer(TEXTS, 300).to_str() == learn_tokenizer(iter(TEXTS), 300).to_str()


def test_tags_use_up_no_merges() -> None:
    assert not any("think" in token for token in learn_tokenizer([WORKED] * 50, 400).get_vocab() if not token.startswith("<"))


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"the folder {tmp_path} has no tokenizer; one of tokenizer\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=r"there is no folder \./nowhere"):
        load_tokenizer("./nowhere")


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match=r"has no tokenizer that can be loaded"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("before", [None, "true"])
def test_the_thread_pool_setting_is_put_back(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before is not None:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    with one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before
