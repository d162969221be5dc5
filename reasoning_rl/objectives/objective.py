"""What the learner asks of an objective, whichever it is.

# B rows, one completion each; T tokens, padded on the right
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from reasoning_rl.records import Group, Sample

Need = Literal["reference", "values"]


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


@dataclass(frozen=True)
class Loss:
    """A scalar to differentiate, and sums over the batch's tokens to report: both add up over micro-batches."""

    value: Tensor
    sums: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached. The learner divides by the number of tokens and logs the mean under the same name."""


class Objective(Protocol):
    """Turns judged groups into credited samples, and log-probabilities of those samples into a loss."""

    @property
    def needs(self) -> frozenset[Need]:
        """What must be computed for it besides the policy's own log-probabilities."""

    def arrange(self, groups: Sequence[Group]) -> list[Sample]:
        """The samples of an optimiser batch with advantages and weights, groups without a signal left out."""

    def loss(self, logp_BT: Tensor, entropy_BT: Tensor, batch: Batch) -> Loss:
        """The loss of some rows of the batch. `logp_BT` and `entropy_BT` (nats) come from the policy as it is now."""
