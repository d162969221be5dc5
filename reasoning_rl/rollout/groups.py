"""Judged answers as groups, and what a step's groups look like in numbers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import fmean, pstdev
from threading import Event
from typing import Protocol

from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict


class Judges(Protocol):
    """Says of completions what they are worth."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        """One verdict per item, in their order."""


class Growing(Protocol):
    """Items that are judged as they come in."""

    def add(self, items: Iterable[tuple[Completion, Problem]]) -> None:
        """Have these judged too; returns at once."""

    def verdicts(self) -> list[Verdict]:
        """Of all of them, in the order in which they came; waits for the last."""


class EarlyJudges(Judges, Protocol):
    """Can begin before all completions are there."""

    def early(self) -> AbstractContextManager[Growing]:
        """Gives up what has no verdict when the context is left."""


def judged(prompts: Sequence[Prompt], answers: Sequence[Sequence[Completion]], judge: Judges) -> list[Group]:
    """Each prompt with its answers and their verdicts. EngineError when an answer has no token: it has no log-probability to learn from."""
    _refuse_empty(prompts, answers)
    items = [(completion, prompt.problem) for prompt, row in zip(prompts, answers, strict=True) for completion in row]
    return _grouped(prompts, answers, iter(judge.judge(items)))


class Heard:
    """Passes answers on to a judge as the engine tells of them."""

    def __init__(self, prompts: Sequence[Prompt], judging: Growing, over: Event | None = None) -> None:
        """`over` is set when nobody wants the answers any more."""
        self._prompts, self._judging, self._over = prompts, judging, over or Event()
        self._places: list[tuple[int, int]] = []
        """Prompt and row of what the judge was given, in that order."""

    def hear(self, index: int, row: int, completion: Completion) -> None:
        """See OnFinished. EngineError, which ends the sampling, when it is over."""
        if self._over.is_set():
            raise EngineError("sampling was broken off: nobody wants the answers any more")
        self._places.append((index, row))
        self._judging.add([(completion, self._prompts[index].problem)])

    def groups(self, answers: Sequence[Sequence[Completion]]) -> list[Group]:
        """Of all answers, those too that it has not heard of; as `judged` would have them."""
        _refuse_empty(self._prompts, answers)
        places = [(index, row) for index, made in enumerate(answers) for row in range(len(made))]
        for index, row in sorted(set(places).difference(self._places)):
            self.hear(index, row, answers[index][row])
        verdicts = dict(zip(self._places, self._judging.verdicts(), strict=True))
        return _grouped(self._prompts, answers, (verdicts[place] for place in places))


def _grouped(prompts: Sequence[Prompt], answers: Sequence[Sequence[Completion]], verdicts: Iterator[Verdict]) -> list[Group]:
    return [Group(prompt, tuple(row), tuple(next(verdicts) for _ in row)) for prompt, row in zip(prompts, answers, strict=True)]


def _refuse_empty(prompts: Sequence[Prompt], answers: Sequence[Sequence[Completion]]) -> None:
    for prompt, row in zip(prompts, answers, strict=True):
        for index, completion in enumerate(row):
            if not completion.token_ids:
                raise EngineError(
                    f"problem {prompt.problem.id!r}: answer {index} of the engine has no token (text {completion.text[:40]!r}); "
                    "an answer holds one or more, the end-of-sequence token counted"
                )


def measured(groups: Sequence[Group]) -> dict[str, float]:
    """Means over all answers, under the names that TRL gives them where it has one. A mean over nothing is left out."""
    answers = [(completion, verdict) for group in groups for completion, verdict in zip(group.completions, group.verdicts, strict=True)]
    names = dict.fromkeys(name for _, verdict in answers for name in verdict.scores)
    scores = {name: [verdict.scores[name].value for _, verdict in answers if name in verdict.scores] for name in names}
    return {
        "reward": fmean(verdict.reward for _, verdict in answers),
        "reward_std": fmean(pstdev(group.rewards) for group in groups),
        "frac_reward_zero_std": fmean(len(set(group.rewards)) == 1 for group in groups),
        "pass_rate": fmean(verdict.correct for _, verdict in answers),
        "pass_rate_strict": fmean(verdict.strict for _, verdict in answers),
        **{f"rewards/{name}/mean": fmean(values) for name, values in scores.items()},
        **_lengths("completions/mean_length", (completion for completion, _ in answers)),
        **_lengths("completions/mean_length_correct", (completion for completion, verdict in answers if verdict.correct)),
        **_lengths("completions/mean_length_wrong", (completion for completion, verdict in answers if not verdict.correct)),
        "completions/clipped_ratio": fmean(completion.finish_reason == "length" for completion, _ in answers),
        "verifier_failures": fmean(
            any(score.verdict in {"timeout", "error"} for score in verdict.scores.values()) for _, verdict in answers
        ),
    }


def _lengths(name: str, completions: Iterable[Completion]) -> dict[str, float]:
    lengths = [len(completion.token_ids) for completion in completions]
    return {name: fmean(lengths)} if lengths else {}
