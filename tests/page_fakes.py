"""Pages of small evaluations, made as a real one is: asked, judged, stored and compared."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from reasoning_rl.config import EvalConfig
from reasoning_rl.eval import compare
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.eval.page import Page, PolicyPage
from reasoning_rl.records import Completion, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.engine import Sampling

CREATED = "2026-01-02T03:04:05+00:00"
SUBJECTS = ("algebra", "geometry", "number theory")
LINE = "x" * 100_000
HOSTILE = (
    "<script>window.owned = true; document.title = 'owned'</script>",
    "</script></pre></style><img src=x onerror='window.owned = true'>&lt;b&gt; ]]> --> 7",
    LINE + "the end",
    "\u202eright to left, never closed \u05e9\u05dc\u05d5\u05dd 7",
    "half a pair \ud83d, a bell \x07 and a null \x00",
    "{{ 7 * 7 }} {% raw %} ${7}",
)
"""Texts that have broken pages."""


class Storyteller:
    """Answers from a script; a text that ends in "…" was cut off, and there are as many tokens as characters, up to 64."""

    def __init__(self, script: Mapping[str, Sequence[str]]) -> None:
        self._script = script

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: object = None) -> list[list[Completion]]:  # noqa: ARG002
        return [[_completion(text) for text in self._script[prompt.problem.id][: sampling.n]] for prompt in prompts]

    def load_weights(self, named_tensors: object, version: int) -> None:  # noqa: ARG002
        raise AssertionError("an evaluation changes no weights")

    def close(self) -> None:
        raise AssertionError("who opened the engine closes it")


class LastNumber:
    """The last number of a text is its answer; a text that begins with "Answer" has the required format."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [_verdict(completion.text, problem.gold) for completion, problem in items]


def _completion(text: str) -> Completion:
    return Completion(text, tuple(range(min(64, max(1, len(text))))), finish_reason="length" if text.endswith("…") else "stop")


def _verdict(text: str, gold: str) -> Verdict:
    numbers = re.findall(r"\d+", text)
    answer, right, form = (numbers[-1] if numbers else None), numbers[-1:] == [gold], text.startswith("Answer")
    score = Score(
        float(right), "correct" if right else "wrong" if answer else "no_answer", reason=f"{answer} against {gold}", answer=answer
    )
    return Verdict(right + 0.1 * form, {"last": score, "form": Score(float(form))}, right, right and form, answer=score)


def story(number: int, skill: float, samples: int) -> list[str]:
    """Answers to problem `number`, whose gold answer is its number: the more skill, the more of them right; some are cut off."""
    dice = random.Random(f"{number} {skill}")
    chance = skill ** (1 + number % 5)
    return [_told(dice, number if dice.random() < chance else dice.randrange(100, 104)) for _ in range(samples)]


def _told(dice: random.Random, answer: int) -> str:
    working = "so " * dice.randrange(12)
    if dice.random() < 0.08:
        return f"Let us see, {working}…"
    return f"{dice.choice(('Answer', 'It is'))}: {working}{answer}"


def problem(number: int, *, facets: bool = True) -> Problem:
    """The parts have 5 levels, 3 subjects and 4 numbers of steps, and with `facets` false none of them."""
    level, subject, steps = (str(number % 5 + 1), SUBJECTS[number % 3], "<<1+1=2>>" * (number % 4 + 1)) if facets else ("", "", "")
    question = f"Anna has {number} shells & gives none away. How many < {number + 1} shells has she now?"
    return Problem(f"toy/test/{number}", "toy", "test", question, str(number), solution=steps, level=level, subject=subject)


def evaluated(folder: Path, stories: Mapping[int, Sequence[str]], *, facets: bool = True, greedy: bool = True) -> PolicyPage:
    """What the eval stage makes of the stories: problem number, its answers."""
    prompts = [Prompt(problem(number, facets=facets), f"Q {number}", (1, 2)) for number in stories]
    script = {f"toy/test/{number}": texts for number, texts in stories.items()}
    n = min(map(len, stories.values()))
    ks = [2**power for power in range(int(math.log2(n)) + 1)]
    config = EvalConfig.model_validate({"samples": n, "k": ks, "bootstrap": 200, "greedy": greedy})
    facts = {"policy": folder.name, "template": "plain", "rewards": {"last": {"weight": 1.0}}, "note": "Not shown twice."}
    report = evaluate(
        Storyteller(script),
        prompts,
        LastNumber(),
        config,
        folder=folder,
        name=folder.name,
        max_tokens=64,
        seed=1,
        facts=facts,
        created=CREATED,
    )
    return PolicyPage(folder.name, report, pd.read_parquet(folder / "problems.parquet"), folder / "samples.parquet")


def course(steps: int = 60) -> pd.DataFrame:
    """Metrics of a run that gets better and longer."""
    step = np.arange(1, steps + 1)
    frame = pd.DataFrame({"step": step, "reward": step / steps, "pass_rate": 0.9 * step / steps, "frac_reward_zero_std": 0.2})
    frame["completions/clipped_ratio"] = 0.05
    frame["completions/mean_length_correct"], frame["completions/mean_length_wrong"] = 20.0 + step / 10, 30.0 + step / 5
    frame["eval/pass@1"] = np.where(step % 20 == 0, 0.5, np.nan)
    return frame


def make_page(
    folder: Path,
    *,
    skills: Mapping[str, float] | None = None,
    problems: int = 60,
    samples: int = 16,
    facets: bool = True,
    greedy: bool = True,
    hostile: bool = False,
    trained: bool = True,
) -> Page:
    """Policies by name with their skill. `hostile` adds a problem whose answers have broken pages, `trained` the course of a run."""
    given = {"base": 0.5, "trained": 0.85} if skills is None else skills
    policies = []
    for name, skill in given.items():
        stories = {number: story(number, skill, samples) for number in range(problems)}
        if hostile:
            stories[problems] = [HOSTILE[index % len(HOSTILE)] for index in range(samples)]
        policies.append(evaluated(folder / name, stories, facets=facets, greedy=greedy))
    comparison = compare(*(folder / name for name in given)) if len(given) > 1 else None
    settings = {"name": "toy", "train": {"steps": 60, "seed": None}, "sampling": {"stop": ["</answer>"]}} if trained else {}
    note = "A made-up run: <b>nothing</b> was learned." if trained else ""
    return Page("Toy: " + " and ".join(given), note, policies, comparison, course() if trained else None, settings)
