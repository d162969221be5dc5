"""A policy and a judge whose every answer can be told in advance."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.config import EvalConfig
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.eval.report import Report
from reasoning_rl.records import Completion, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.engine import Sampling

if TYPE_CHECKING:
    from torch import Tensor

CREATED = "2026-01-02T03:04:05+00:00"


class ScriptedEngine:
    """Gives each problem the answers of its script; the greedy answer is the last of them."""

    def __init__(self, script: dict[str, list[str]]) -> None:
        self.script = script
        self.calls: list[tuple[list[str], Sampling]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: object = None) -> list[list[Completion]]:  # noqa: ARG002
        self.calls.append(([prompt.problem.id for prompt in prompts], sampling))
        return [[self._completion(text) for text in self._texts(prompt, sampling)] for prompt in prompts]

    def _texts(self, prompt: Prompt, sampling: Sampling) -> list[str]:
        texts = self.script[prompt.problem.id]
        return texts[: sampling.n] if sampling.temperature else texts[-1:]

    def _completion(self, text: str) -> Completion:
        """As many tokens as characters, one at the least; "…" at the end says it was cut off."""
        return Completion(text, tuple(range(max(1, len(text)))), finish_reason="length" if text.endswith("…") else "stop")

    def load_weights(self, named_tensors: "Iterable[tuple[str, Tensor]]", version: int) -> None:  # noqa: ARG002
        raise AssertionError("an evaluation changes no weights")

    def close(self) -> None:
        raise AssertionError("who opened the engine closes it")


class ExactJudge:
    """Right is what equals the gold answer; strict what also stands in `<>`; "" has no answer."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [self._verdict(completion.text, problem.gold) for completion, problem in items]

    def _verdict(self, text: str, gold: str) -> Verdict:
        answer = text.strip("<>") or None
        right, form = answer == gold, float(text.startswith("<"))
        score = Score(
            float(right), "correct" if right else "wrong" if answer else "no_answer", reason=f"{answer} against {gold}", answer=answer
        )
        return Verdict(right + 0.1 * form, {"format": Score(form), "exact": score}, right, right and form == 1, answer=score)


def prompt(number: int, *, level: str = "", subject: str = "", template: str = "Q: {}") -> Prompt:
    problem = Problem(f"toy/test/{number}", "toy", "test", f"What is {number}?", str(number), level=level, subject=subject)
    return Prompt(problem, template.format(problem.question), (1, 2))


def evaluated(
    folder: Path, script: Mapping[int, str], *, template: str = "Q: {}", facts: Mapping[str, object] | None = None, **settings: object
) -> Report:
    """Evaluate a script such as `{0: "0 0 1 7"}` (problem: its answers) into `folder`, whose name is the report's."""
    answers = {f"toy/test/{number}": texts.split(" ") for number, texts in script.items()}
    n = min(map(len, answers.values()))
    config = EvalConfig.model_validate({"samples": n, "k": [1, n], "bootstrap": 200, **settings})
    prompts = [prompt(number, level=str(number % 2), template=template) for number in script]
    return evaluate(
        ScriptedEngine(answers),
        prompts,
        ExactJudge(),
        config,
        folder=folder,
        name=folder.name,
        max_tokens=9,
        seed=1,
        facts=facts,
        created=CREATED,
    )
