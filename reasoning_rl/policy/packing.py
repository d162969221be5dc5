"""Groups of samples as one flat row of tokens, each prompt once, real tokens only.

    flat:  prompt 0 | prompt 1 | … | completion 0 | completion 1 | … | filler
    cells: prompts, padded to n × P | completions, padded to R × T | one cell for the filler

A completion's last token predicts nothing, so it is left out; its first is predicted by its prompt's last position. Linear layers work on
the flat row, attention on the cells. Lengths are rounded with filler, since oneDNN builds a kernel for every new shape.

# N flat tokens, C cells, M predictions; n prompts of at most P tokens, each with at most G completions of at most T input tokens
# R = n·G rows; H query heads, K key heads, D head width
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reasoning_rl.records import Sample

Ids = NDArray[np.int64]
FLAT_MULTIPLE, PREDICTION_MULTIPLE, WIDTH_MULTIPLE = 512, 256, 8
"""Rounding of the flat row, of the predictions, and of the rectangles inside attention. Every kernel that is built is also kept."""


def round_up(number: int, multiple: int) -> int:
    """The next multiple.

    >>> round_up(65, 64)
    128
    """
    return -(-number // multiple) * multiple


class _Rearrange(torch.autograd.Function):
    """Rows `there` of a table; its gradient is rows `back` of the gradient. Two gathers: autograd's backward would be a slow scatter."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return table.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return gradients[0].index_select(0, back), None, None


def _rearrange(table: Tensor, there: Tensor, back: Tensor) -> Tensor:
    rows: Tensor = _Rearrange.apply(table, there, back)  # type: ignore[no-untyped-call]
    return rows


@dataclass(frozen=True)
class Packing:
    """A micro-batch: the flat row to feed to the model, which of its outputs predict what, and the attention layout."""

    ids_N: Tensor
    positions_N: Tensor
    predicting_M: Tensor
    """Flat indices whose output predicts a completion token, row by row; filler behind."""
    predicted_M: Tensor
    """The completion tokens themselves; filler behind."""
    lengths_R: list[int]
    """Completion tokens of each row; what lies behind their sum in M is filler."""
    token_of_cell_C: Tensor
    """Flat index of each cell; a filler token where the cell is padding."""
    cell_of_token_N: Tensor
    prompts: tuple[int, int]
    """n, P"""
    rows: tuple[int, int, int]
    """n, G, T; a group of fewer than G rows has empty ones."""
    mask_n11TS: Tensor
    """True where a completion's token may look: its prompt's real tokens, then its own up to itself. S = P + T."""
    longest: int

    def attend(self, layer: int, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float) -> Tensor:  # noqa: ARG002
        """Causal attention of prompts among themselves, and of each completion to its prompt and itself."""
        (query_p, query_r), (key_p, key_r), (value_p, value_r) = (self._cells(flat) for flat in (query_NHD, key_NKD, value_NKD))
        share = query_NHD.shape[1] // key_NKD.shape[1]
        output_p = scaled_dot_product_attention(
            query_p, key_p.repeat_interleave(share, 1), value_p.repeat_interleave(share, 1), is_causal=True, scale=scaling
        )
        output_r = self._attend_rows(query_r, self._behind_prompt(key_p, key_r), self._behind_prompt(value_p, value_r), scaling)
        return self._flat(output_p, output_r)

    def _behind_prompt(self, prompts: Tensor, rows: Tensor) -> Tensor:
        """(n·G, heads, S, D): the keys or values of each row behind those of its prompt."""
        repeated = prompts.unsqueeze(1).expand(-1, self.rows[1], -1, -1, -1).flatten(0, 1)
        return torch.cat((repeated, rows), dim=2)

    def _attend_rows(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """The query heads that share a key head stand below one another as more queries, so that keys need no copies."""
        rows, heads, width, depth = query.shape
        share = heads // key.shape[1]
        stacked = query.reshape(rows, key.shape[1], share * width, depth)
        mask = self.mask_n11TS.repeat(1, 1, 1, share, 1).expand(-1, self.rows[1], -1, -1, -1).flatten(0, 1)
        return scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=scaling).reshape(rows, heads, width, depth)

    def _cells(self, flat_NHD: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens as (n, heads, P, D) and (n·G, heads, T, D)."""
        tokens, heads, depth = flat_NHD.shape
        cells = _rearrange(flat_NHD.reshape(tokens, heads * depth), self.token_of_cell_C, self.cell_of_token_N)
        split = self.prompts[0] * self.prompts[1]
        prompts = cells[:split].view(*self.prompts, heads, depth).transpose(1, 2)
        return prompts, cells[split:-1].view(-1, self.rows[2], heads, depth).transpose(1, 2)

    def _flat(self, output_p: Tensor, output_r: Tensor) -> Tensor:
        heads, depth = output_p.shape[1], output_p.shape[3]
        parts = [output.transpose(1, 2).reshape(-1, heads * depth) for output in (output_p, output_r)]
        cells = torch.cat((*parts, parts[0].new_zeros(1, heads * depth)))
        return _rearrange(cells, self.cell_of_token_N, self.token_of_cell_C).view(-1, heads, depth)


def pack(samples: Sequence[Sample], device: torch.device | str = "cpu") -> Packing:
    """Lay out samples; neighbours of the same `group` share one copy of their prompt."""
    groups = [list(rows) for _, rows in groupby(samples, key=lambda sample: sample.group)]
    place = _Places.of(groups)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in place.indices(samples).items()}
    return Packing(
        **tensors,
        lengths_R=[len(sample.completion_ids) for sample in samples],
        prompts=(len(groups), place.width_P),
        rows=(len(groups), place.most_rows, place.width_T),
        mask_n11TS=_row_mask(torch.from_numpy(place.n_P).to(device), place.width_P, place.width_T),
        longest=max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in samples),
    )


@dataclass(frozen=True)
class _Places:
    """Where each sequence starts in the flat row, and how wide the rectangles are."""

    groups: list[list[Sample]]
    n_P: Ids
    n_T: Ids
    start_P: Ids
    start_T: Ids
    prompt_of_row: Ids

    @classmethod
    def of(cls, groups: list[list[Sample]]) -> "_Places":
        n_P = np.array([len(rows[0].prompt_ids) for rows in groups])
        n_T = np.array([len(sample.completion_ids) - 1 for rows in groups for sample in rows])
        prompt_of_row = np.arange(len(groups)).repeat([len(rows) for rows in groups])
        return cls(groups, n_P, n_T, n_P.cumsum() - n_P, n_P.sum() + n_T.cumsum() - n_T, prompt_of_row)

    @property
    def width_P(self) -> int:
        return round_up(int(self.n_P.max()), WIDTH_MULTIPLE)

    @property
    def width_T(self) -> int:
        return round_up(max(int(self.n_T.max()), 1), WIDTH_MULTIPLE)

    @property
    def most_rows(self) -> int:
        return max(len(rows) for rows in self.groups)

    @property
    def total(self) -> int:
        return int(self.n_P.sum() + self.n_T.sum())

    def indices(self, samples: Sequence[Sample]) -> dict[str, Ids]:
        """The index arrays of a Packing, by the names of its fields."""
        flat = round_up(self.total + 1, FLAT_MULTIPLE)
        cells = self._token_of_cell(filler=flat - 1)
        real = cells < self.total
        token_cell = np.full(flat, len(cells) - 1)
        token_cell[cells[real]] = np.flatnonzero(real)
        ids, positions = np.zeros(flat, np.int64), np.zeros(flat, np.int64)
        ids[: self.total] = _joined([rows[0].prompt_ids for rows in self.groups] + [sample.completion_ids[:-1] for sample in samples])
        before = np.concatenate([self.start_P.repeat(self.n_P), (self.start_T - self.n_P[self.prompt_of_row]).repeat(self.n_T)])
        positions[: self.total] = np.arange(self.total) - before
        return {
            "ids_N": ids,
            "positions_N": positions,
            "predicting_M": _filled(self._predicting(), flat - 1),
            "predicted_M": _filled(_joined([sample.completion_ids for sample in samples]), 0),
            "token_of_cell_C": cells,
            "cell_of_token_N": token_cell,
        }

    def _token_of_cell(self, filler: int) -> Ids:
        prompts = _rectangle(self.start_P, self.n_P, self.width_P, filler)
        rows = np.full((len(self.groups), self.most_rows, self.width_T), filler)
        nth = np.arange(len(self.n_T)) - np.searchsorted(self.prompt_of_row, self.prompt_of_row)
        rows[self.prompt_of_row, nth] = _rectangle(self.start_T, self.n_T, self.width_T, filler)
        return np.concatenate([prompts.ravel(), rows.ravel(), [filler]])

    def _predicting(self) -> Ids:
        """The last position of a row's prompt, then its own positions."""
        last = (self.start_P + self.n_P - 1)[self.prompt_of_row]
        length = self.n_T + 1
        position = np.arange(length.sum()) - (length.cumsum() - length).repeat(length)
        return np.where(position == 0, last.repeat(length), self.start_T.repeat(length) + position - 1)


def _filled(indices: Ids, filler: int) -> Ids:
    """Rounded up to PREDICTION_MULTIPLE."""
    return np.pad(indices, (0, -len(indices) % PREDICTION_MULTIPLE), constant_values=filler)


def _joined(sequences: list[tuple[int, ...]]) -> Ids:
    return np.fromiter(chain.from_iterable(sequences), np.int64)


def _rectangle(start: Ids, count: Ids, width: int, filler: int) -> Ids:
    """Flat index of each cell of a rectangle with one sequence a row."""
    column = np.arange(width)
    return np.where(column < count[:, None], start[:, None] + column, filler)


def _row_mask(prompt_length_n: Tensor, width_P: int, width_T: int) -> Tensor:
    device = prompt_length_n.device
    to_prompt_nP = torch.arange(width_P, device=device) < prompt_length_n[:, None]
    to_self_TT = torch.ones(width_T, width_T, dtype=torch.bool, device=device).tril()
    shape = (len(prompt_length_n), 1, 1, width_T)
    return torch.cat((to_prompt_nP[:, None, None, None, :].expand(*shape, -1), to_self_TT.expand(*shape, -1)), dim=4)
