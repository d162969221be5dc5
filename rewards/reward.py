"""A recipe's verifiers, weighted, as one judgement of a completion."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError, first_line
from reasoning_rl.records import Completion, Part, Problem, Score, Verdict
from reasoning_rl.rewards.competition import competition
from reasoning_rl.rewards.gsm8k import gsm8k
from reasoning_rl.rewards.options import mistakes
from reasoning_rl.rewards.style import NATIVE, style_of
from reasoning_rl.rewards.verifier import Verifier, find_verifier, judges_answer, preparation

ANSWER_VERIFIERS: Mapping[str, Verifier] = {"gsm8k": gsm8k, "math": competition}
"""The verifier of answers that belongs to a task."""
_OPEN: Mapping[str, Callable[[Score], bool]] = {
    "none": lambda _: True,
    "answered": lambda answer: answer.verdict not in {"no_answer", "timeout", "too_large", "error"},
    "correct": lambda answer: answer.value > 0.5,
}
"""Whether a gate lets through what a verifier gives, by the score of the answer."""


@dataclass(frozen=True, slots=True)
class _Weighted:
    name: str
    call: Verifier
    weight: float
    options: Mapping[str, object]
    native: bool
    judges_answer: bool
    gate: str = "none"
    prepare: Callable[..., object] | None = None


class Reward:
    """Verifiers by name with weights and options. Pickled as its configuration, so that a worker finds the verifiers anew."""

    def __init__(self, rewards: Mapping[str, VerifierConfig]) -> None:
        """Raises VerifierError with every name that can't be found and every option that isn't taken."""
        self._rewards = dict(rewards)
        self._verifiers: list[_Weighted] = []
        wrong: list[str] = []
        for name, config in rewards.items():
            try:
                self._verifiers.append(_weighted(name, config))
            except VerifierError as mistake:
                wrong.append(str(mistake))
        if wrong:
            raise VerifierError("\n".join(wrong))

    def __reduce__(self) -> tuple[type["Reward"], tuple[dict[str, VerifierConfig]]]:
        return Reward, (self._rewards,)

    @property
    def names(self) -> list[str]:
        return [verifier.name for verifier in self._verifiers]

    def prepare(self) -> None:
        """What verifiers do once, before any deadline runs, such as loading a model. Raises VerifierError with all that fail."""
        if failed := [said for verifier in self._verifiers if (said := _prepared(verifier))]:
            raise VerifierError("\n".join(failed))

    def verdict(self, completion: Completion, problem: Problem) -> Verdict:
        """Σ weight·value over the verifiers whose gates are open. Never raises.

        Answers are judged in any case, by the task's own verifier if need be.
        """
        scores = {verifier.name: _scored(verifier, completion, problem) for verifier in self._verifiers}
        judge = next((verifier.name for verifier in self._verifiers if verifier.judges_answer), None)
        answer = scores[judge] if judge else _scored(_own_verifier(problem), completion, problem)
        parts = {each.name: Part(each.weight, scores[each.name].value if _OPEN[each.gate](answer) else 0.0) for each in self._verifiers}
        reward = math.fsum(part.weight * part.value for part in parts.values())
        strict = answer.value if answer.strict is None else answer.strict
        return Verdict(reward, scores, correct=answer.value > 0.5, strict=strict > 0.5, answer=answer, parts=parts)


def check_gold(problem: Problem) -> str | None:
    """None if the problem's gold, given as an answer, is judged correct by the task's verifier; else the reason why not."""
    text = f"#### {problem.gold}" if problem.task == "gsm8k" else f"\\boxed{{{problem.gold}}}"
    score = _scored(_own_verifier(problem), Completion(text=text, token_ids=()), problem)
    if score.value > 0.5:
        return _unnumbered(problem)
    return f"{score.verdict}: {score.reason}"


def _unnumbered(problem: Problem) -> str | None:
    """A GSM8K gold is a number, whatever it is equal to."""
    if problem.task == "gsm8k" and not any(letter.isdigit() for letter in problem.gold):
        return f"unparsable: {problem.gold!r} holds no number"
    return None


def _own_verifier(problem: Problem) -> _Weighted:
    return _Weighted(problem.task, ANSWER_VERIFIERS[problem.task], 0.0, {}, native=True, judges_answer=True)


def _weighted(name: str, config: VerifierConfig) -> _Weighted:
    function = find_verifier(name, f"rewards.{name}")
    if wrong := mistakes(function, config.options, f"rewards.{name}"):
        raise VerifierError("\n".join(wrong))
    style = style_of(function)
    return _Weighted(
        name,
        style.adapt(function),
        config.weight,
        config.options,
        native=style is NATIVE,
        judges_answer=judges_answer(function),
        gate=config.gate,
        prepare=preparation(function),
    )


def _prepared(verifier: _Weighted) -> str | None:
    """None where it is ready, else why it can't be made so."""
    try:
        if verifier.prepare:
            verifier.prepare(**verifier.options)
    except VerifierError as failure:
        return f"rewards.{verifier.name}: {failure}"
    except Exception as failure:  # noqa: BLE001  # whatever a verifier's author lets it raise is reported with its name
        return f"rewards.{verifier.name}: can't be prepared: {type(failure).__name__}: {first_line(failure)}"
    return None


def _scored(verifier: _Weighted, completion: Completion, problem: Problem) -> Score:
    """The verifier's score, or a score of 0 that says what went wrong in it: a bug must neither end a run nor look like a weak model."""
    try:
        score = verifier.call(completion, problem, **verifier.options)
    except MemoryError as failure:
        return Score(0.0, "too_large", f"MemoryError: {failure}")
    except Exception as failure:  # noqa: BLE001  # whatever a verifier raises is its verdict's reason
        return Score(0.0, "error", f"{type(failure).__name__}: {failure}"[:500])
    return _checked(score, verifier.native)


def _checked(score: object, native: bool) -> Score:
    if not isinstance(score, Score):
        return Score(0.0, "error", f"a verifier returns a Score, this one returned {score!r:.80}")
    if not math.isfinite(score.value) or (native and not 0 <= score.value <= 1):
        return replace(score, value=0.0, verdict="error", reason=f"the value {score.value} lies outside [0, 1]")
    return score
