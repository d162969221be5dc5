"""A recipe's verifiers, weighted, as one judgement of a completion."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Score, Verdict
from reasoning_rl.registry import did_you_mean
from reasoning_rl.rewards.competition import competition
from reasoning_rl.rewards.gsm8k import gsm8k
from reasoning_rl.rewards.trl import is_trl_style
from reasoning_rl.rewards.verifier import Verifier, accepted_options, as_verifier, find_verifier, judges_answer

ANSWER_VERIFIERS: Mapping[str, Verifier] = {"gsm8k": gsm8k, "math": competition}
"""The verifier of answers that belongs to a task."""


@dataclass(frozen=True, slots=True)
class _Weighted:
    name: str
    call: Verifier
    weight: float
    options: Mapping[str, object]
    native: bool
    judges_answer: bool


class Reward:
    """Verifiers by name with weights and options. Pickled as its configuration, so that a worker finds the verifiers anew."""

    def __init__(self, rewards: Mapping[str, VerifierConfig]) -> None:
        """Raises VerifierError with every name that can't be found and every option that isn't taken."""
        self._rewards = dict(rewards)
        self._verifiers: list[_Weighted] = []
        mistakes: list[str] = []
        for name, config in rewards.items():
            try:
                self._verifiers.append(_weighted(name, config))
            except VerifierError as mistake:
                mistakes.append(str(mistake))
        if mistakes:
            raise VerifierError("\n".join(mistakes))

    def __reduce__(self) -> tuple[type["Reward"], tuple[dict[str, VerifierConfig]]]:
        return Reward, (self._rewards,)

    @property
    def names(self) -> list[str]:
        return [verifier.name for verifier in self._verifiers]

    def verdict(self, completion: Completion, problem: Problem) -> Verdict:
        """Σ weight·value over the verifiers. Never raises. Answers are judged in any case, by the task's own verifier if need be."""
        scores = {verifier.name: _scored(verifier, completion, problem) for verifier in self._verifiers}
        reward = math.fsum(verifier.weight * scores[verifier.name].value for verifier in self._verifiers)
        judge = next((verifier.name for verifier in self._verifiers if verifier.judges_answer), None)
        answer = scores[judge] if judge else _scored(_own_verifier(problem), completion, problem)
        strict = answer.value if answer.strict is None else answer.strict
        return Verdict(reward, scores, correct=answer.value > 0.5, strict=strict > 0.5, answer=answer)


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
    _check_options(function, config.options, f"rewards.{name}")
    return _Weighted(name, as_verifier(function), config.weight, config.options, not is_trl_style(function), judges_answer(function))


def _check_options(function: Callable[..., object], options: Mapping[str, object], where: str) -> None:
    known = accepted_options(function)
    unknown = [option for option in options if known is not None and option not in known]
    if unknown:
        raise VerifierError(
            "\n".join(f"{where}.options.{option}: no such option; {did_you_mean(option, known or [])}" for option in unknown)
        )
    missing = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and parameter.name not in options
    ]
    if missing and not is_trl_style(function):
        raise VerifierError("\n".join(f"{where}.options.{option}: required by this verifier" for option in missing))


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
