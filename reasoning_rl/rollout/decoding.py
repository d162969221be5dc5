"""Attention state of the local engine: keys and values of each prompt once, and those of each answer behind it.

# n prompts of at most P tokens, G answers each; R answers still being written
# H query heads in groups of g for each of K key heads, D head width
"""

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

_FIRST_CAPACITY = 64
"""Tokens of an answer there is room for at first; doubled when full."""


class Prefill:
    """Layout of n padded prompts in a flat row of n·P tokens. Attending fills the keys and values that decoding reads."""

    def __init__(self, lengths_n: Tensor, width: int) -> None:
        self.lengths_n, self.width = lengths_n, width
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    @property
    def longest(self) -> int:
        return self.width

    def attend(self, layer: int, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float) -> Tensor:  # noqa: ARG002
        """Causal attention; what stands behind a prompt's end is computed and never read."""
        query, key, value = (flat.view(-1, self.width, *flat.shape[1:]).transpose(1, 2) for flat in (query_NHD, key_NKD, value_NKD))
        self.keys.append(key.contiguous())
        self.values.append(value.contiguous())
        share = query.shape[1] // key.shape[1]
        output = scaled_dot_product_attention(
            query, key.repeat_interleave(share, 1), value.repeat_interleave(share, 1), is_causal=True, scale=scaling
        )
        return output.transpose(1, 2).reshape(query_NHD.shape)


class Decoding:
    """Layout of R answers, one new token each. Finished ones are dropped from R, never from the n × G grid in front of the prompts."""

    def __init__(self, prefill: Prefill, answers: int) -> None:
        self.prompt_keys, self.prompt_values = prefill.keys, prefill.values
        self.prompts, self.answers = len(prefill.lengths_n), answers
        seen = torch.arange(prefill.width, device=prefill.lengths_n.device) < prefill.lengths_n[:, None]
        self.bias_n11P = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf)[:, None, None, :]
        self.slots_R = torch.arange(self.prompts * answers, device=seen.device)
        self.own_keys, self.own_values = ([self._empty(keys) for keys in prefill.keys] for _ in range(2))
        self.written = 0
        self._prompt_width = prefill.width

    def _empty(self, like: Tensor) -> Tensor:
        return like.new_empty(len(self.slots_R), like.shape[1], _FIRST_CAPACITY, like.shape[3])

    @property
    def longest(self) -> int:
        return self._prompt_width + self.written + 1

    def advance(self) -> None:
        """Make room for one more token of each answer."""
        self.written += 1
        if self.written >= self.own_keys[0].shape[2]:
            for caches in (self.own_keys, self.own_values):
                caches[:] = [pad(cache, (0, 0, 0, cache.shape[2])) for cache in caches]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (indices into R) alone."""
        self.slots_R = self.slots_R[rows]
        used = self.written
        for caches in (self.own_keys, self.own_values):
            for layer, cache in enumerate(caches):
                kept = cache.new_empty(len(rows), *cache.shape[1:])
                kept[:, :, :used] = cache[:, :, :used].index_select(0, rows)
                caches[layer] = kept

    def attend(self, layer: int, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float) -> Tensor:
        """Each answer's newest token looks at its prompt and at its own tokens so far; one softmax over both."""
        keys, values = self.own_keys[layer], self.own_values[layer]
        keys[:, :, self.written], values[:, :, self.written] = key_NKD, value_NKD
        until = self.written + 1
        rows, heads, depth = query_NHD.shape
        query_RKgD = (query_NHD * scaling).view(rows, keys.shape[1], -1, depth)
        to_prompt = self._ungrid(self._grid(query_RKgD) @ self.prompt_keys[layer].transpose(2, 3) + self.bias_n11P)
        to_self = query_RKgD @ keys[:, :, :until].transpose(2, 3)
        weights = torch.cat((to_prompt, to_self), dim=3).float().softmax(-1).to(values.dtype)
        on_prompt, on_self = weights.split((to_prompt.shape[3], until), dim=3)
        output = self._ungrid(self._grid(on_prompt) @ self.prompt_values[layer]) + on_self @ values[:, :, :until]
        flat: Tensor = output.reshape(rows, heads, depth)
        return flat

    def _grid(self, rows_RKgX: Tensor) -> Tensor:
        """(n, K, G·g, X): the answers of a prompt beside one another, so that one product serves them all."""
        _, heads, share, width = rows_RKgX.shape
        grid = rows_RKgX.new_zeros(self.prompts * self.answers, heads, share, width)
        grid[self.slots_R] = rows_RKgX
        return grid.view(self.prompts, self.answers, heads, share, width).transpose(1, 2).reshape(self.prompts, heads, -1, width)

    def _ungrid(self, grid_nKGX: Tensor) -> Tensor:
        """(R, K, g, X): back to the rows that are being written."""
        n, heads, _, width = grid_nKGX.shape
        rows = grid_nKGX.view(n, heads, self.answers, -1, width).transpose(1, 2).reshape(n * self.answers, heads, -1, width)
        picked: Tensor = rows if len(self.slots_R) == len(rows) else rows.index_select(0, self.slots_R)
        return picked
