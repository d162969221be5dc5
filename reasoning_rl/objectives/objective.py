"""What the learner asks of an objective, whichever it is.

    groups ─arrange─► samples ──┬──────────────────────────────► batch ─┐
                                └─credit─► advantages, returns ─┘       ├─loss─► scalar
                                    ▲                                   │
       what the models say before the update            what they say now

# B rows, one completion each; T tokens, padded on the right
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from reasoning_rl.records import Group, Sample

Need = Literal["reference", "values", "before", "entropy", "pairs", "steps"]
"""What an objective can ask for:

    reference   log-probabilities of a reference model
    values      a value model, trained beside the policy
    before      `credit` is called with what the models say before the update
    entropy     a gradient through the entropy
    pairs       rows 2i and 2i + 1 stay neighbours in one micro-batch
    steps       `Group.steps`
"""


@dataclass(frozen=True)
class Before:
    """What the models say of one sample before the update: each (T,), float64, on the CPU, in nats."""

    logp_T: Tensor
    entropy_T: Tensor
    reference_logp_T: Tensor | None = None
    value_T: Tensor | None = None
    """V(s_t), of the prefix that ends before token t."""


@dataclass(frozen=True)
class Credit:
    """What a sample is worth, token by token: each (T,), float64."""

    advantage_T: Tensor
    return_T: Tensor | None = None
    """What the value model is to predict."""


@dataclass(frozen=True)
class Batch:
    """Completion tokens of B rows and what is known of them before the update. Padding holds zeros."""

    mask_BT: Tensor
    """True where a completion token stands."""
    advantage_BT: Tensor
    weight_BT: Tensor
    """What each token counts, computed over the whole optimiser batch: the losses of its micro-batches add up."""
    old_logp_BT: Tensor
    """π_old: the policy's log-probabilities before the first update on these rows, in nats."""
    sampled_logp_BT: Tensor | None = None
    """What the engine reported when it sampled."""
    reference_logp_BT: Tensor | None = None
    """π_ref, where the objective needs it."""
    old_value_BT: Tensor | None = None
    """The value model before the first update, where the objective needs one."""
    return_BT: Tensor | None = None


@dataclass(frozen=True)
class Now:
    """What the models say of the rows as they are now, with gradient."""

    logp_BT: Tensor
    entropy_BT: Tensor
    """In nats; with gradient only where the objective needs it."""
    value_BT: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """A scalar to differentiate, and sums over the batch's tokens to report: both add up over micro-batches."""

    value: Tensor
    sums: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached. The learner divides by the number of tokens and logs the mean under the same name."""


class Objective(ABC):
    """Turns judged groups into credited samples, and log-probabilities of those samples into a loss."""

    @property
    def needs(self) -> frozenset[Need]:
        """What must be there besides the policy's own log-probabilities."""
        return frozenset()

    @property
    def idle(self) -> frozenset[str]:
        """Settings that change nothing beside the others, so that a recipe that names them is refused."""
        return frozenset()

    @property
    def uses_old_policy(self) -> bool:
        """Whether π_old enters. Without it `Batch.old_logp_BT` may hold zeros, and stored answers of any policy will do."""
        return True

    @abstractmethod
    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """The samples of an optimiser batch with advantages and weights, those without a signal left out."""

    def credit(self, samples: Sequence[Sample], before: Sequence[Before]) -> list[Credit]:  # noqa: ARG002  # for those that override it
        """Advantages of the whole optimiser batch from what the models say of it; asked for only where `needs` has `before`."""
        return [Credit(torch.tensor(sample.advantages, dtype=torch.float64)) for sample in samples]

    @abstractmethod
    def loss(self, now: Now, batch: Batch) -> Loss:
        """The loss of some rows of the batch."""
