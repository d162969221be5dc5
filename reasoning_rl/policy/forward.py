"""A packing on its way through the layers of a model.

# N flat tokens, M predictions, D model width; H query heads, K key heads
"""

from torch import Tensor, nn

from reasoning_rl.policy.packing import Packing


class Pass:
    """The layout that attention asks: all layers have the same masks, which are gone with the pass.

    Layers that made their own would each keep them for the backward, and packings that kept them would have them before their turn comes.
    """

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._masks: list[Tensor] = []

    @property
    def longest(self) -> int:
        return self._packing.longest

    def attend(self, layer: int, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float) -> Tensor:  # noqa: ARG002
        """See Packing."""
        if not self._masks:
            share = query_NHD.shape[1] // key_NKD.shape[1]
            self._masks = [one.mask(share, query_NHD) for one in self._packing.completions]
        return self._packing.attend(query_NHD, key_NKD, value_NKD, scaling, self._masks)


def hidden_states(body: nn.Module, packing: Packing) -> Tensor:
    """Last hidden state of a model's layers at each predicting position, (M, width)."""
    ids_1N, positions_1N = packing.ids_N[None], packing.positions_N[None]
    flat_ND = body(input_ids=ids_1N, position_ids=positions_1N, layout=Pass(packing), use_cache=False).last_hidden_state[0]
    hidden_MD: Tensor = flat_ND.index_select(0, packing.predicting_M)
    return hidden_MD
