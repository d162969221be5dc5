"""Groups of samples as one flat row of tokens, each prompt once, real tokens only.

    flat:  prompt 0 | prompt 1 | … | completion 0 | completion 1 | … | filler
    cells: rectangles of prompts | rectangles of completions | one cell for the filler

A completion's last token predicts nothing, so it is left out; its first is predicted by its prompt's last position. Linear layers work on
the flat row, attention on the cells: sequences of similar length stand in one rectangle, so that few of its cells are padding. Lengths of
the flat row are rounded with filler, since oneDNN builds a kernel for every new shape.

# N flat tokens, C cells, M predictions; n prompts of at most P tokens
# R rows of a rectangle, T tokens wide, S keys: those of the prompt, then T of the row itself; H query heads, K key heads, D head width
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from reasoning_rl.records import Sample

Ids = NDArray[np.int64]
FLAT_MULTIPLE, PREDICTION_MULTIPLE = 512, 256
"""Rounding of the flat row and of the predictions, where they are long. Every kernel that is built is also kept."""
_ALIGNED = 16
"""Numbers between the rows of a mask come in multiples of it, or a GPU's kernel would copy the mask in every layer."""
PADDING = 0.08
"""Share of a rectangle's cells that may be padding."""


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
class Rectangle:
    """Sequences of similar length among the cells."""

    rows: int
    width: int
    prompt_R: Tensor | None = None
    """Which prompt stands before each row, where the rows are completions: an index into the prompts by length, longest first."""
    front_R: Tensor | None = None
    """Length of that prompt."""
    front: int = 0
    """The longest of them."""

    def of(self, cells: Tensor, heads: int) -> Tensor:
        """Its cells as (R, heads, T, D)."""
        return cells.view(self.rows, self.width, heads, -1).transpose(1, 2)

    def among_themselves(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Causal attention of prompts."""
        share = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)

    def behind(self, prompts: tuple[Tensor, Tensor], query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor) -> Tensor:
        """Attention of completions to their prompts, whose keys and values are given as (n, K, P, D), and causally to themselves.

        The query heads that share a key head stand below one another as more queries, so that keys need no copies.
        """
        assert self.prompt_R is not None
        key, value = (
            torch.cat((before[:, :, : self.front].index_select(0, self.prompt_R), own), dim=2)
            for before, own in zip(prompts, (key, value), strict=True)
        )
        stacked = query.reshape(self.rows, key.shape[1], mask.shape[2], -1)
        return scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=scaling).reshape(query.shape)

    def mask(self, share: int, like: Tensor) -> Tensor:
        """(R, 1, share·T, S), to be added to the scores of `behind`, with `share` query heads for each of keys.

        A completion's token may look at its prompt's real tokens, then at its own up to itself.
        """
        assert self.front_R is not None
        to_prompt_RP = torch.arange(self.front, device=like.device) < self.front_R[:, None]
        to_self_TT = torch.ones(self.width, self.width, dtype=torch.bool, device=like.device).tril()
        shape = (self.rows, self.width, -1)
        seen_RTS = torch.cat((to_prompt_RP[:, None].expand(*shape), to_self_TT.expand(*shape)), dim=2)
        added = like.new_zeros(self.rows, share, self.width, round_up(self.front + self.width, _ALIGNED))
        added[..., : seen_RTS.shape[2]].masked_fill_(~seen_RTS[:, None], -torch.inf)
        return added.view(self.rows, 1, share * self.width, -1)[..., : seen_RTS.shape[2]]


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
    prompts: list[Rectangle]
    completions: list[Rectangle]
    real: int
    """Tokens that are no filler."""
    longest: int

    @property
    def cells(self) -> int:
        """Queries that attention computes, those of padding too."""
        return len(self.token_of_cell_C) - 1

    def attend(self, query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scaling: float, masks: Sequence[Tensor]) -> Tensor:
        """Causal attention of prompts among themselves, and of each completion to its prompt and itself: (N, H, D)."""
        cells = list(zip(self._cells(query_NHD), self._cells(key_NKD), self._cells(value_NKD), strict=True))
        of_prompts, of_completions = cells[: len(self.prompts)], cells[len(self.prompts) :]
        outputs = [one.among_themselves(*cell, scaling) for one, cell in zip(self.prompts, of_prompts, strict=True)]
        front = self._front([key for _, key, _ in of_prompts]), self._front([value for _, _, value in of_prompts])
        completions = zip(self.completions, of_completions, masks, strict=True)
        return self._flat(outputs + [one.behind(front, *cell, scaling, mask) for one, cell, mask in completions])

    def _cells(self, flat_NHD: Tensor) -> list[Tensor]:
        """The tokens, by rectangle."""
        tokens, heads, depth = flat_NHD.shape
        cells = _rearrange(flat_NHD.reshape(tokens, heads * depth), self.token_of_cell_C, self.cell_of_token_N)
        rectangles = [*self.prompts, *self.completions]
        parts = cells.split([*(one.rows * one.width for one in rectangles), 1])
        return [one.of(part, heads) for one, part in zip(rectangles, parts[:-1], strict=True)]

    def _front(self, parts: list[Tensor]) -> Tensor:
        """(n, K, P, D): keys or values of all prompts, in one rectangle."""
        width = self.prompts[0].width
        return torch.cat([pad(part, (0, 0, 0, width - part.shape[2])) for part in parts])

    def _flat(self, outputs: list[Tensor]) -> Tensor:
        heads, depth = outputs[0].shape[1], outputs[0].shape[3]
        parts = [output.transpose(1, 2).reshape(-1, heads * depth) for output in outputs]
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
        prompts=[Rectangle(len(rows), width) for rows, width in place.prompts],
        completions=[_completions(place, rows, width, device) for rows, width in place.completions],
        real=place.total,
        longest=max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in samples),
    )


def _completions(place: "_Places", rows: Ids, width: int, device: torch.device | str) -> Rectangle:
    prompts = place.prompt_of_row[rows]
    rank_R, front_R = (torch.from_numpy(column[prompts]).to(device) for column in (place.rank_of_prompt, place.n_P))
    return Rectangle(len(rows), width, rank_R, front_R, front=int(place.n_P[prompts].max()))


def rectangles(lengths: Ids) -> list[tuple[Ids, int]]:
    """Cut sequences, longest first, into rectangles of at most PADDING padding: which are in each, and its width. Empty ones are left out.

    >>> [(rows.tolist(), width) for rows, width in rectangles(np.array([20, 3, 19, 0, 3]))]
    [([0, 2], 20), ([1, 4], 3)]
    """
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    cut: list[tuple[Ids, int]] = []
    while len(order):
        width = int(lengths[order[0]])
        filled = lengths[order].cumsum() >= (1 - PADDING) * width * np.arange(1, len(order) + 1)
        count = len(order) if filled.all() else int(filled.argmin())
        cut.append((order[:count], width))
        order = order[count:]
    return cut


@dataclass(frozen=True)
class _Places:
    """Where each sequence starts in the flat row, and in which rectangle it stands."""

    groups: list[list[Sample]]
    n_P: Ids
    n_T: Ids
    start_P: Ids
    start_T: Ids
    prompt_of_row: Ids
    prompts: list[tuple[Ids, int]]
    """By rectangle: which, and how wide."""
    completions: list[tuple[Ids, int]]

    @classmethod
    def of(cls, groups: list[list[Sample]]) -> "_Places":
        n_P = np.array([len(rows[0].prompt_ids) for rows in groups])
        n_T = np.array([len(sample.completion_ids) - 1 for rows in groups for sample in rows])
        prompt_of_row = np.arange(len(groups)).repeat([len(rows) for rows in groups])
        starts = n_P.cumsum() - n_P, n_P.sum() + n_T.cumsum() - n_T
        return cls(groups, n_P, n_T, *starts, prompt_of_row, rectangles(n_P), rectangles(n_T))

    @property
    def total(self) -> int:
        return int(self.n_P.sum() + self.n_T.sum())

    @property
    def rank_of_prompt(self) -> Ids:
        """Where each prompt comes when the rectangles of prompts stand below one another."""
        return np.argsort(np.concatenate([rows for rows, _ in self.prompts]))

    def indices(self, samples: Sequence[Sample]) -> dict[str, Ids]:
        """The index arrays of a Packing, by the names of its fields."""
        flat = round_up(self.total + 1, step(self.total, FLAT_MULTIPLE))
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
        prompts = [_rectangle(self.start_P[rows], self.n_P[rows], width, filler) for rows, width in self.prompts]
        completions = [_rectangle(self.start_T[rows], self.n_T[rows], width, filler) for rows, width in self.completions]
        return np.concatenate([*(cells.ravel() for cells in (*prompts, *completions)), [filler]])

    def _predicting(self) -> Ids:
        """The last position of a row's prompt, then its own positions."""
        last = (self.start_P + self.n_P - 1)[self.prompt_of_row]
        length = self.n_T + 1
        position = np.arange(length.sum()) - (length.cumsum() - length).repeat(length)
        return np.where(position == 0, last.repeat(length), self.start_T.repeat(length) + position - 1)


def step(length: int, most: int) -> int:
    """What to round a length to, that shapes are few and filler is little: `most`, or for short ones a power of two, a sixteenth at most.

    >>> step(20_000, 512), step(700, 512), step(5, 512)
    (512, 32, 1)
    """
    return min(most, 1 << max(0, length.bit_length() - 5))


def _filled(indices: Ids, filler: int) -> Ids:
    """Rounded up."""
    return np.pad(indices, (0, -len(indices) % step(len(indices), PREDICTION_MULTIPLE)), constant_values=filler)


def _joined(sequences: list[tuple[int, ...]]) -> Ids:
    return np.fromiter(chain.from_iterable(sequences), np.int64)


def _rectangle(start: Ids, count: Ids, width: int, filler: int) -> Ids:
    """Flat index of each cell of a rectangle with one sequence a row."""
    column = np.arange(width)
    return np.where(column < count[:, None], start[:, None] + column, filler)
