"""From the answers of groups to samples, and what must be there for them."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reasoning_rl.errors import TrainingError
from reasoning_rl.records import Completion, Group, Sample


def answers_of(groups: Sequence[Group]) -> list[Completion]:
    """All of them, group by group."""
    return [completion for group in groups for completion in group.completions]


def each_answer(groups: Sequence[Group]) -> Iterator[tuple[Group, int, int]]:
    """Group, its index and the answer's row in it: what `sample_of` begins with."""
    return ((group, index, row) for index, group in enumerate(groups) for row in range(len(group.completions)))


def sample_of(group: Group, index: int, row: int, advantage: Tensor | float, weight: float) -> Sample:
    """The answer `row` of a group, the `index`-th of its optimiser batch; the advantage is (T,), or one number for all tokens."""
    completion = group.completions[row]
    advantage_T = torch.as_tensor(advantage, dtype=torch.float64).expand(len(completion.token_ids))
    return Sample(
        prompt_ids=group.prompt.token_ids,
        completion_ids=completion.token_ids,
        advantages=tuple(advantage_T.tolist()),
        weight=weight,
        sampled_logprobs=completion.logprobs,
        group=index,
        row=row,
        reward=group.verdicts[row].reward,
    )


def refuse_infinite(group: Group) -> None:
    """TrainingError for a reward that is no finite number."""
    if not all(map(math.isfinite, group.rewards)):
        raise TrainingError(f"problem {group.prompt.problem.id}: rewards must be finite numbers; found {group.rewards}")


def required(known: Tensor | None, what: str = "log-probabilities of the reference model") -> Tensor:
    """What the batch must have for this objective. TrainingError where it has not."""
    if known is None:
        raise TrainingError(f"this objective, as it is set, needs {what}, and the batch has none")
    return known
