"""The engine in process: any transformers model that takes our attention, on a CPU or one GPU.

How it differs from `generate()`: the prompt of a group is computed once and its keys are stored once; finished answers are dropped; a token
costs one uniform number and a cumulative sum instead of a call to `multinomial`; each answer has its own stream of random numbers, so that
batching does not change it.

# n prompts, G answers each; R answers still being written, T tokens at most, V vocabulary
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reasoning_rl.policy.packing import round_up
from reasoning_rl.policy.policy import Policy
from reasoning_rl.records import Completion, Prompt
from reasoning_rl.rollout.decoding import Decoding, Prefill
from reasoning_rl.rollout.engine import More, OnFinished, Sampling, renumbered, require_room, require_same_names, texts_of
from reasoning_rl.rollout.randomness import uniforms

_DROP_BELOW = 0.85
"""Share of rows still live from which the finished ones are dropped: copying the cache costs about as much as a token."""
_ROW_MULTIPLE = 32
_STOP_WINDOW = 32
"""Last tokens that are decoded in search of a stop text; longer stop texts than they spell are not found."""


class LocalEngine:
    """Samples from a policy that it may share with the learner."""

    for_all = apart = False

    def __init__(self, policy: Policy, batch_rows: int = 1024) -> None:
        self.policy = policy
        self.version = 0
        self._batch_rows = batch_rows

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer, at most."""
        return self.policy.context

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        """See SharedEngine. Prompts of similar length are sampled together, `batch_rows` answers at a time."""
        asked, at_a_time = [*prompts], max(1, self._batch_rows // sampling.n)
        self.require_fit(asked, sampling.max_tokens)
        results: dict[int, list[Completion]] = {}
        with evaluating(self.policy.model), torch.inference_mode(), self.policy.precision():
            for chosen in self._batches(asked, sampling.max_tokens, at_a_time, more):
                told = renumbered(on_finished, chosen)
                results.update(zip(chosen, self._batch([asked[index] for index in chosen], sampling, told), strict=True))
        return [results[index] for index in range(len(asked))]

    def _batches(self, asked: list[Prompt], max_tokens: int, at_a_time: int, more: More | None) -> Iterator[list[int]]:
        """Indices of those to be sampled together; `asked` grows by what `more` brings. Within what came together, short ones first."""
        waiting = _by_length(asked)
        while True:
            if more:
                new = more()
                self.require_fit(new, max_tokens)
                waiting.extend(len(asked) + index for index in _by_length(new))
                asked.extend(new)
            if not waiting:
                return
            yield waiting[:at_a_time]
            del waiting[:at_a_time]

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copies what it doesn't share already. EngineError names a tensor that is missing, unknown, or of another shape.

        Where the policy has adapters, it samples with the learner's own, and takes nothing.
        """
        if self.policy.adapted:
            self.version = version
            return
        own, given = self.policy.model.state_dict(), dict(named_tensors)
        require_same_names({name: tensor.shape for name, tensor in own.items()}, given, version)
        for name, tensor in given.items():
            if tensor.data_ptr() != own[name].data_ptr():
                own[name].copy_(tensor)
        self.version = version

    def close(self) -> None:
        """Holds nothing beyond a call."""

    def require_fit(self, prompts: Sequence[Prompt], max_tokens: int) -> None:
        """See SharedEngine."""
        require_room(prompts, max_tokens, self.context)

    def sleep(self) -> None:
        """Holds nothing beyond a call."""

    def _batch(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None) -> list[list[Completion]]:
        answers = _Answers(prompts, sampling, self.policy, self.version, on_finished)
        logits_nV, prefill = self._prefill(prompts)
        decoding = Decoding(prefill, sampling.n)
        positions_R = prefill.lengths_n.repeat_interleave(sampling.n)
        tokens_R = answers.draw(logits_nV.repeat_interleave(sampling.n, dim=0), decoding.slots_R)
        for _ in range(1, sampling.max_tokens):
            live = answers.live(decoding.slots_R)
            count = int(live.sum())
            if count == 0:
                break
            if round_up(count, _ROW_MULTIPLE) < _DROP_BELOW * len(live):
                kept = _with_company(live)
                decoding.keep(kept)
                tokens_R, positions_R = tokens_R[kept], positions_R[kept]
            logits_RV = self._forward(tokens_R, positions_R, decoding)
            decoding.advance()
            positions_R = positions_R + 1
            tokens_R = answers.draw(logits_RV, decoding.slots_R)
        return answers.completions()

    def _prefill(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Prefill]:
        """Logits behind each prompt's last token, (n, V), and the prompts' keys and values."""
        lengths = np.array([len(prompt.token_ids) for prompt in prompts])
        width = round_up(int(lengths.max()), 8)
        ids = np.zeros((len(prompts), width), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : lengths[row]] = prompt.token_ids
        device = self.policy.device
        layout = Prefill(torch.from_numpy(lengths).to(device), width)
        positions = torch.arange(width, device=device).repeat(len(prompts))
        hidden_nPD = self._hidden(torch.from_numpy(ids.ravel()).to(device), positions, layout).view(len(prompts), width, -1)
        last_nD = hidden_nPD[torch.arange(len(prompts), device=device), layout.lengths_n - 1]
        return self._head(last_nD), layout

    def _forward(self, tokens_R: Tensor, positions_R: Tensor, layout: Decoding) -> Tensor:
        return self._head(self._hidden(tokens_R, positions_R, layout))

    def _hidden(self, ids_N: Tensor, positions_N: Tensor, layout: Prefill | Decoding) -> Tensor:
        hidden: Tensor = self.policy.model.base_model(
            input_ids=ids_N[None], position_ids=positions_N[None], layout=layout, use_cache=False
        ).last_hidden_state[0]
        return hidden

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.policy.model.get_output_embeddings()(hidden)
        return logits.float()


def _by_length(prompts: Sequence[Prompt]) -> list[int]:
    """Their indices, the shortest's first."""
    return sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model without dropout, for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _with_company(live_R: Tensor) -> Tensor:
    """Indices of the live rows, filled up with finished ones to a multiple, so that kernels are reused."""
    wanted = min(round_up(int(live_R.sum()), _ROW_MULTIPLE), len(live_R))
    return torch.argsort(live_R.to(torch.int8), descending=True, stable=True)[:wanted].sort().values


@dataclass
class _Answers:
    """The tokens of n·G answers as they grow."""

    prompts: Sequence[Prompt]
    sampling: Sampling
    policy: Policy
    version: int
    on_finished: OnFinished | None = None

    def __post_init__(self) -> None:
        rows, device = len(self.prompts) * self.sampling.n, self.policy.device
        self._made: dict[int, Completion] = {}
        self.tokens = torch.zeros(rows, self.sampling.max_tokens, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(rows, self.sampling.max_tokens, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.finished = torch.zeros(rows, dtype=torch.bool, device=device)
        self._ends = torch.tensor(sorted(self.policy.end_tokens), dtype=torch.long, device=device)
        self._uniforms = torch.from_numpy(self._random_numbers()).to(device)
        self._drawn = 0

    def _random_numbers(self) -> np.ndarray:
        sampling = self.sampling
        if sampling.temperature == 0:
            return np.zeros((len(self.prompts) * sampling.n, sampling.max_tokens), np.float32)
        return np.stack(
            [
                uniforms(sampling.seed, sampling.stream, prompt.problem.id, index, sampling.max_tokens)
                for prompt in self.prompts
                for index in range(sampling.n)
            ]
        )

    def live(self, slots_R: Tensor) -> Tensor:
        return ~self.finished[slots_R]

    def draw(self, logits_RV: Tensor, slots_R: Tensor) -> Tensor:
        """The next token of each row, written down for those that are still live."""
        tokens_R, logp_R = draw_tokens(logits_RV, self._uniforms[slots_R, self._drawn], self.sampling)
        live = self.live(slots_R)
        rows = slots_R[live]
        self.tokens[rows, self._drawn] = tokens_R[live]
        self.logprobs[rows, self._drawn] = logp_R[live]
        self.lengths[rows] += 1
        self._drawn += 1
        self.finished[rows] = torch.isin(tokens_R[live], self._ends)
        if self.sampling.stop:
            self._stop_at_texts(rows)
        if self.on_finished:
            self._complete(rows[self.finished[rows]])
        return tokens_R

    def _stop_at_texts(self, rows: Tensor) -> None:
        begin = max(0, self._drawn - _STOP_WINDOW)
        tails = self.policy.tokenizer.batch_decode(self.tokens[rows, begin : self._drawn].tolist())
        hit = [any(text in tail for text in self.sampling.stop) for tail in tails]
        self.finished[rows] |= torch.tensor(hit, device=rows.device)

    def completions(self) -> list[list[Completion]]:
        """In the order of the prompts, `n` each."""
        rows, n = range(len(self.lengths)), self.sampling.n
        self._complete(torch.tensor([row for row in rows if row not in self._made], device=self.lengths.device))
        return [[self._made[row] for row in rows[start : start + n]] for start in rows[::n]]

    def _complete(self, rows: Tensor) -> None:
        """Put these answers into words as they stand, and tell of them."""
        if not len(rows):
            return
        lengths = self.lengths[rows].tolist()
        ids, logprobs = _cut(self.tokens[rows], lengths), _cut(self.logprobs[rows], lengths)
        texts = texts_of(ids, self.policy)
        for row, text, tokens, logp, done in zip(rows.tolist(), texts, ids, logprobs, self.finished[rows].tolist(), strict=True):
            self._made[row] = Completion(text, tuple(tokens), tuple(logp), "stop" if done else "length", self.version)
            if self.on_finished:
                index, place = divmod(row, self.sampling.n)
                self.on_finished(index, place, self._made[row])


def _cut(values_RT: Tensor, lengths: Sequence[int]) -> list[list[Any]]:
    """Each row as far as it goes."""
    return [row[:length] for row, length in zip(values_RT[:, : max(lengths)].tolist(), lengths, strict=True)]


def draw_tokens(logits_RV: Tensor, uniform_R: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """One token per row by inverting the cumulative distribution, and its log-probability under the distribution it was drawn from.

    At temperature 0 the most probable token, with its log-probability at temperature 1.
    """
    if sampling.temperature == 0:
        tokens_R = logits_RV.argmax(-1)
        return tokens_R, torch.log_softmax(logits_RV, -1).gather(1, tokens_R[:, None])[:, 0]
    probs_RV = torch.softmax(logits_RV / sampling.temperature, -1)
    if sampling.top_k or sampling.top_p < 1:
        probs_RV = _truncated(probs_RV, sampling)
    # Large vocabularies need double precision: in single, the sum of 150,000 terms is off by more than a rare token's probability.
    sums_RV = probs_RV.cumsum(-1, dtype=torch.float64 if probs_RV.shape[1] > 4096 else torch.float32)
    target_R1 = uniform_R[:, None].to(sums_RV.dtype) * sums_RV[:, -1:]
    tokens_R = torch.searchsorted(sums_RV, target_R1, right=True)[:, 0].clamp_(max=probs_RV.shape[1] - 1)
    return tokens_R, probs_RV.gather(1, tokens_R[:, None])[:, 0].log()


def _truncated(probs_RV: Tensor, sampling: Sampling) -> Tensor:
    """Top-k, then top-p among what is left: the smallest set of most probable tokens that reaches p. Renormalised."""
    ordered_RV, places_RV = probs_RV.sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered_RV[:, sampling.top_k :] = 0
        ordered_RV /= ordered_RV.sum(-1, keepdim=True)
    before_RV = ordered_RV.cumsum(-1) - ordered_RV
    ordered_RV = ordered_RV.masked_fill(before_RV >= sampling.top_p, 0)
    kept_RV = torch.zeros_like(probs_RV).scatter(1, places_RV, ordered_RV)
    return kept_RV / kept_RV.sum(-1, keepdim=True)
