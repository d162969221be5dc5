"""PPO's value model: a second network of the policy's shape that foretells the reward from every prefix.

# M predictions of a packing, D model width
"""

import torch
from torch import Tensor, nn

from reasoning_rl.policy.packing import Packing
from reasoning_rl.policy.policy import Policy, hidden_states


class ValueModel(nn.Module):
    """V(s) behind every prefix: the layers of a policy of its own, with a linear head that begins at 0 in place of the vocabulary's."""

    def __init__(self, trunk: Policy) -> None:
        super().__init__()
        self._trunk = trunk
        self.body = trunk.model.base_model
        self.head = nn.Linear(trunk.model.config.hidden_size, 1, device=trunk.device, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, packing: Packing) -> Tensor:
        """V(s_t) of the prefix before each completion token, row by row, (sum of lengths,), float32."""
        with self._trunk.precision():
            hidden_MD = hidden_states(self._trunk, packing)
        value_M: Tensor = self.head(hidden_MD.float())[:, 0]
        return value_M[: sum(packing.lengths_R)]
