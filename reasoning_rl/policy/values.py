"""PPO's value model: a second network of the policy's shape that predicts the return from every prefix.

# M predictions of a packing, D model width
"""

from torch import Tensor, float32, nn

from reasoning_rl.policy.forward import hidden_states
from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy, precision


class ValueModel(nn.Module):
    """V(s) behind every prefix: the layers of a policy of its own, with a linear head that begins at 0 in place of the vocabulary's."""

    def __init__(self, trunk: Policy) -> None:
        super().__init__()
        self.body = trunk.model.base_model
        self.head = nn.Linear(trunk.model.config.hidden_size, 1, device=trunk.device, dtype=float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._autocast = trunk.autocast

    def forward(self, packing: Packing) -> Tensor:
        """V(s_t) of the prefix before each completion token, row by row, (sum of lengths,), float32."""
        with precision(self.head.weight.device, self._autocast):
            hidden_MD = hidden_states(self.body, packing)
        value_M: Tensor = self.head(hidden_MD.float())[:, 0]
        return value_M[: sum(packing.lengths_R)].clone()  # no view, to which FSDP could not tie the backward
