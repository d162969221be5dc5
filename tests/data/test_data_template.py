"""Prompt templates and the form of the answers they ask for."""

import pytest

from reasoning_rl.data.template import find_template
from reasoning_rl.data.tokenizer import plain_chat
from reasoning_rl.errors import ConfigError, ModelError

NAMES = ("r1", "boxed", "few_shot", "chat", "plain")


@pytest.mark.parametrize("name", NAMES)
def test_every_template_holds_the_question_once(name: str) -> None:
    question = r"What is $\frac{1}{2}$ of {4}?"
    assert find_template(name, plain_chat).render(question).count(question) == 1


def test_r1_is_the_papers_table() -> None:
    text = find_template("r1").render("Why")
    assert text.startswith(
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant first thinks"
    )
    assert text.endswith("<answer> answer here </answer>. User: Why. Assistant:")


def test_plain_is_the_question_and_a_newline() -> None:
    assert find_template("plain").render("Why?") == "Why?\n"


def test_tags_and_boxes_are_two_forms_of_one_answer() -> None:
    tags, boxed = find_template("plain"), find_template("boxed")
    assert tags.complete("20+5=25\n25*2=50", "50") == "<think>\n20+5=25\n25*2=50\n</think><answer>50</answer>"
    assert tags.complete("", "50") == "<think>\n</think><answer>50</answer>"
    assert boxed.complete("25*2=50", "50") == "25*2=50\n\\boxed{50}"
    assert boxed.complete("", "50") == r"\boxed{50}"
    assert boxed.complete(r"Thus \boxed{50}.", "50") == r"Thus \boxed{50}."


def test_a_text_with_a_question_is_a_template() -> None:
    template = find_template("Q: {question} \\boxed{}\nA:")
    assert template.render("Why?") == "Q: Why? \\boxed{}\nA:"
    assert (template.name, template.form) == ("custom", "boxed")
    assert find_template("{question}").form == "tags"


def test_the_chat_template_is_the_tokenizers() -> None:
    template = find_template("chat", lambda message: f"[{message}]")
    assert template.render("Why?") == "[Why?\nPlease reason step by step, and put your final answer within \\boxed{}.]"
    with pytest.raises(ModelError, match="has no chat template"):
        find_template("chat")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"data\.template: no such template 'boxd', .*Did you mean 'boxed'\?"):
        find_template("boxd")


def test_the_hash_follows_the_words_and_the_chat_format() -> None:
    hashes = {find_template(name, plain_chat).sha256 for name in NAMES}
    assert len(hashes) == len(NAMES)
    assert find_template("chat", str.upper).sha256 not in hashes
    assert find_template("r1").sha256 == find_template("r1").sha256
