"""Rewards of steps, which verifiers place in the text, placed on tokens."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reasoning_rl.errors import TrainingError
from reasoning_rl.records import Completion, Group, StepReward, StepScore, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def with_steps(groups: Sequence[Group], tokenizer: "PreTrainedTokenizerBase") -> list[Group]:
    """The groups with `steps`: those of the first verifier that found any in the completion, none where none did."""
    return [replace(group, steps=_of_group(group, tokenizer)) for group in groups]


def _of_group(group: Group, tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[StepReward, ...], ...]:
    judged = zip(group.completions, group.verdicts, strict=True)
    return tuple(
        tuple(StepReward(last_token(completion, step.end, tokenizer), step.value) for step in _steps(verdict))
        for completion, verdict in judged
    )


def _steps(verdict: Verdict) -> tuple[StepScore, ...]:
    return next((score.steps for score in verdict.scores.values() if score.steps), ())


def last_token(completion: Completion, end: int, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Index of the token that completes the text up to `end`, the offset behind its last character.

    A character may take several tokens and a token hold several characters, so the first prefix is sought that spells that text: the last
    token of a prefix may leave a character half done, which is decoded as U+FFFD until the next ones mend it. What a longer prefix adds
    never changes what a shorter one spelled, so halving finds it. TrainingError when the tokens spell another text.
    """
    wanted, ids = completion.text[:end], completion.token_ids

    def spelled(last: int) -> bool:
        prefix = str(tokenizer.decode(list(ids[: last + 1]), skip_special_tokens=False))
        return prefix[:end] == wanted

    found = bisect_left(range(len(ids)), True, key=spelled)
    if found == len(ids):
        raise TrainingError(f"a step ends at character {end}, but the completion's tokens don't spell {wanted[-40:]!r} there")
    return found
