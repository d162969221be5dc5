"""From the answers of groups to samples, and what must be there for them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reasoning_rl.errors import TrainingError
from reasoning_rl.records import Completion, Group, Sample


def answers_of(groups: Sequence[Group]) -> list[Completion]:
    """All of them, group by group."""
    return [completion for group in groups for completion in group.completions]


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


def required(reference_logp: Tensor | None) -> Tensor:
    """The reference's log-probabilities, which must be there."""
    if reference_logp is None:
        raise TrainingError("objective.kl is above 0, yet the batch has no log-probabilities of the reference model")
    return reference_logp
