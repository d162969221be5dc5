"""The things that flow from stage to stage: frozen, plain, standard library only.

    Source ─► Problem ─template─► Prompt ─Engine─► Completion ─Reward─► Verdict
                                     └──── Group: one prompt, G completions, G verdicts ────► Sample

A field means one thing for its whole life. A stage takes records and returns the next ones; text is tokenised once, and token ids are kept
from there on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Task = Literal["gsm8k", "math"]
FinishReason = Literal["stop", "length"]
Outcome = Literal["correct", "wrong", "no_answer", "hedged", "unparsable", "timeout", "too_large", "error", "scored"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with a gold answer that a verifier can check."""

    id: str
    """Unique within a data set and stable between runs: `source/split/index`."""
    source: str
    split: str
    question: str
    gold: str
    """The final answer alone, without the working."""
    solution: str = ""
    """Worked solution of the source, empty where it has none."""
    task: Task = "math"
    """The convention of the gold answer: a GSM8K number or a MATH expression."""
    level: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the completion that the cold start imitates."""

    problem_id: str
    prompt: str
    completion: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """Without the token that ends a sequence."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem in the words of a template, tokenised."""

    problem: Problem
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer."""

    text: str
    """Decoded tokens, tags included, end-of-sequence left out."""
    token_ids: tuple[int, ...]
    """Sampled tokens, the end-of-sequence token included when it was sampled."""
    logprobs: tuple[float, ...] = ()
    """Log-probability of each token under the distribution it was drawn from, in nats; empty when the engine gives none."""
    finish_reason: FinishReason = "stop"
    policy_version: int = 0
    """Steps of the loop the weights had seen when the answer was sampled; each may hold several optimiser steps."""


@dataclass(frozen=True, slots=True)
class StepScore:
    """What one step of a chain of thought is worth: a reward r_index(j) of process supervision (DeepSeekMath, arXiv:2402.03300 §4.1.3)."""

    end: int
    """Offset in the completion's text of the character behind the step."""
    value: float
    """In [0, 1]."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What one verifier says of one completion, and why."""

    value: float
    """In [0, 1]; above 1/2 counts as correct where the verifier judges answers."""
    verdict: Outcome = "scored"
    reason: str = ""
    answer: str | None = None
    """The answer found in the completion."""
    gold: str | None = None
    method: str = ""
    """The comparison that decided: `text`, `number`, `symbolic` …"""
    strict: float | None = None
    """The value had only the required format counted as an answer; None where the distinction means nothing."""
    seconds: float = 0.0
    steps: tuple[StepScore, ...] = ()
    """Of a verifier that judges steps, in the order of the text; empty for one that judges the whole."""

    def __float__(self) -> float:
        return self.value


class Part(NamedTuple):
    """What one verifier adds to the reward: weight·value."""

    weight: float
    value: float
    """The verifier's score; 0 where its gate was closed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All scores of one completion and the reward they add up to."""

    reward: float
    """Σ weight·value over `parts`."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """One per verifier, by name, in the order of the recipe."""
    correct: bool = False
    """Whether the verifier that judges answers found the gold, in any reasonable place."""
    strict: bool = False
    """The same, with only the required format counted as an answer."""
    answer: Score | None = None
    """What `correct` rests on: of the recipe's first verifier that judges answers, else of the task's own, which has no weight and is not
    among `scores`. None where nothing judged the answer."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Of the reward, by verifier."""

    @property
    def judgement(self) -> Score:
        """`answer`, or an empty score where there is none."""
        return Score(0.0) if self.answer is None else self.answer


class StepReward(NamedTuple):
    """A reward at the end of a step of an answer, as process supervision wants it."""

    token: int
    """index(j): of the step's last token in the completion."""
    value: float


@dataclass(frozen=True, slots=True)
class Group:
    """G completions of one prompt with their verdicts: the unit of GRPO's baseline."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict, ...]
    steps: tuple[tuple[StepReward, ...], ...] = ()
    """Of each completion, in order; empty where no objective asks for them."""

    @property
    def rewards(self) -> tuple[float, ...]:
        return tuple(verdict.reward for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion with its credit: what the learner sees."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    advantages: tuple[float, ...]
    """One per completion token; of what the rewards alone say, where the objective gives its credit later."""
    weight: float
    """What each of its tokens counts in the loss of the whole optimiser batch."""
    sampled_logprobs: tuple[float, ...] = ()
    """Of the completion tokens when they were sampled; empty when the engine gave none."""
    group: int = 0
    """Index of the group in its batch."""
    row: int = 0
    """Index of the completion in its group."""
    reward: float = 0.0
