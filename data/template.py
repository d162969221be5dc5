r"""Prompt templates: the question in words that ask for an answer, and the form that answer takes.

* `r1`: DeepSeek-R1's, arXiv:2501.12948 Table 1. Answers in `<think>…</think><answer>…</answer>`.
* `boxed`: Qwen2.5-Math's, arXiv:2409.12122. Answers in `\boxed{}`.
* `few_shot`: solved examples, then the question, in R1's form; for base models.
* `chat`: the tokenizer's own chat template, with Qwen's request for a box.
* `plain`: the question and a newline; for a policy that the cold start teaches the form.
* any text with `{question}`: boxed when it speaks of `\boxed`, else R1's form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasoning_rl.errors import ConfigError, ModelError
from reasoning_rl.files import digest
from reasoning_rl.registry import did_you_mean

Form = Literal["tags", "boxed"]
ChatTemplate = Callable[[str], str]
"""A user's message in a tokenizer's chat format, up to where the answer begins."""

BOXED_REQUEST = r"Please reason step by step, and put your final answer within \boxed{}."

R1 = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)
BOXED = f"<|im_start|>system\n{BOXED_REQUEST}<|im_end|>\n<|im_start|>user\n{{question}}<|im_end|>\n<|im_start|>assistant\n"
FEW_SHOT = """\
Question: A ferry carries 18 cars on each trip and makes 4 trips a day. How many cars does it carry in 5 days?
Answer: <think>
In one day it carries 18 * 4 = 72 cars. In 5 days that makes 72 * 5 = 360 cars.
</think><answer>360</answer>

Question: Ines reads 25 pages on Monday, and on Tuesday 10 pages fewer. Her book has 100 pages. How many pages are left?
Answer: <think>
On Tuesday she reads 25 - 10 = 15 pages. Together that is 25 + 15 = 40 pages. There are 100 - 40 = 60 pages left.
</think><answer>60</answer>

Question: If $2x + 7 = 1$, what is $x^2$?
Answer: <think>
Subtracting 7 gives $2x = -6$, so $x = -3$ and $x^2 = 9$.
</think><answer>9</answer>

Question: A fair die is rolled twice. What is the probability that both rolls are even? Express your answer as a common fraction.
Answer: <think>
Each roll is even with probability $\\frac{1}{2}$, and the rolls are independent: $\\frac{1}{2} \\cdot \\frac{1}{2} = \\frac{1}{4}$.
</think><answer>\\frac{1}{4}</answer>

Question: {question}
Answer:"""

_TEXTS: dict[str, tuple[str, Form]] = {
    "r1": (R1, "tags"),
    "boxed": (BOXED, "boxed"),
    "few_shot": (FEW_SHOT, "tags"),
    "chat": ("{question}\n" + BOXED_REQUEST, "boxed"),
    "plain": ("{question}\n", "tags"),
}


@dataclass(frozen=True, slots=True)
class Template:
    """Writes prompts, and answers in the form that its prompts ask for."""

    name: str
    text: str
    form: Form
    chat: ChatTemplate | None = None

    def render(self, question: str) -> str:
        filled = self.text.replace("{question}", question)  # not str.format: LaTeX is full of braces
        return self.chat(filled) if self.chat else filled

    def complete(self, working: str, answer: str) -> str:
        r"""A completion as the prompt asks for it; without working, the answer at once.

        >>> find_template("plain").complete("20+5=25", "25")
        '<think>\n20+5=25\n</think><answer>25</answer>'
        """
        if self.form == "tags":
            return f"<think>\n{working}\n</think><answer>{answer}</answer>" if working else f"<think>\n</think><answer>{answer}</answer>"
        box = rf"\boxed{{{answer}}}"
        return working if box in working else f"{working}\n{box}".lstrip()

    @property
    def sha256(self) -> str:
        """Of what the template makes of an empty question, chat format included."""
        return digest([self.render(""), self.form])


def find_template(name: str, chat: ChatTemplate | None = None, setting: str = "data.template") -> Template:
    """A template by name, or made of a text with `{question}`. `chat` is needed for the template `chat` alone.

    ConfigError for an unknown name; ModelError when the tokenizer has no chat template. Both name the `setting`.
    """
    if name not in _TEXTS:
        if "{question}" not in name:
            raise ConfigError(
                f"{setting}: no such template {name!r}, and it is no text with {{question}}; {did_you_mean(name, list(_TEXTS))}"
            )
        return Template("custom", name, "boxed" if r"\boxed" in name else "tags")
    text, form = _TEXTS[name]
    if name != "chat":
        return Template(name, text, form)
    if chat is None:
        raise ModelError(f"{setting}: chat: the policy's tokenizer has no chat template; use another template, for example boxed")
    return Template(name, text, form, chat)
