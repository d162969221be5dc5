"""Template and tokenizer of the policy: what turns problems into prompts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reasoning_rl.config import DataConfig, PolicyConfig
from reasoning_rl.data.demonstrations import from_solutions
from reasoning_rl.data.source import Row, Worked
from reasoning_rl.data.template import Template, find_template
from reasoning_rl.data.tokenizer import (
    Encode,
    chat_of,
    encode_learned,
    encode_pretrained,
    learn_tokenizer,
    load_tokenizer,
    plain_chat,
    save_tokenizer,
)
from reasoning_rl.errors import DataError
from reasoning_rl.records import Demonstration, Prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")

SAMPLE = 10_000
"""Questions, and as many demonstrations, that a tokenizer learns from: more change nothing in a vocabulary of this size."""


@dataclass(frozen=True, slots=True)
class Wording:
    template: Template
    encode: Encode
    """Of prompts, which open a sequence."""
    encode_answer: Encode
    """Of what follows a prompt."""
    context: int
    learned: "Tokenizer | None" = None
    """The tokenizer trained here; None where the policy brings its own."""

    def prompts(self, rows: Sequence[Row]) -> list[Prompt]:
        texts = [self.template.render(row.problem.question) for row in rows]
        return [Prompt(row.problem, text, tuple(ids)) for row, text, ids in zip(rows, texts, self.encode(texts))]

    def demonstrations(self, worked: Sequence[Worked]) -> list[Demonstration]:
        prompts = [self.template.render(one.problem.question) for one in worked]
        answers = [self.template.complete(one.working, one.answer) for one in worked]
        columns = zip(worked, prompts, answers, self.encode(prompts), self.encode_answer(answers))
        return [Demonstration(one.problem.id, prompt, answer, tuple(ids), tuple(more)) for one, prompt, answer, ids, more in columns]

    def save(self, folder: Path) -> list[Path]:
        """The files of the trained tokenizer; those of an earlier one go when the policy brings its own."""
        if self.learned is not None:
            return save_tokenizer(self.learned, folder, self.context)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink(missing_ok=True)
        return []


def pretrained(config: DataConfig, policy: PolicyConfig) -> Wording | None:
    """The wording of a policy that has a tokenizer; None for one built from nothing. ModelError when the folder or hub id has none."""
    if policy.model is None:
        return None
    tokenizer = load_tokenizer(policy.model, policy.revision)
    template = find_template(config.template, chat_of(tokenizer))
    opening = encode_pretrained(tokenizer, opens=template.chat is None)  # a chat template writes the opening tokens out itself
    wording = Wording(template, opening, encode_pretrained(tokenizer, opens=False), int(tokenizer.model_max_length))
    check_context(config, wording.context)
    return wording


def learned(config: DataConfig, policy: PolicyConfig, rows: Sequence[Row], worked: Sequence[Worked] | None) -> Wording:
    """The wording of a policy built from nothing: its tokenizer is trained on questions and demonstrations."""
    template = find_template(config.template, plain_chat)
    tokenizer = learn_tokenizer(_corpus(template, rows, worked), config.vocabulary)
    encode = encode_learned(tokenizer)
    return Wording(template, encode, encode, policy.architecture.context, tokenizer)


def check_context(config: DataConfig, context: int) -> None:
    """DataError when a prompt of the length allowed would leave no room for an answer."""
    if config.max_prompt_tokens >= context:
        raise DataError(
            f"data.max_prompt_tokens: {config.max_prompt_tokens} tokens leave no room for an answer in the policy's context of {context}; "
            "a smaller number is accepted"
        )


def _corpus(template: Template, rows: Sequence[Row], worked: Sequence[Worked] | None) -> Iterator[str]:
    """The template once: repeated with every question, it would take up the merges."""
    questions = (row.problem.question for row in _spread(rows))
    given = _spread(worked) if worked is not None else from_solutions(_spread(rows))
    return chain([template.render("")], questions, (template.complete(one.working, one.answer) for one in given))


def _spread(things: Sequence[T]) -> Sequence[T]:
    """At most SAMPLE of them, evenly spaced."""
    return things[:: -(-len(things) // SAMPLE) or 1]
