from collections import Counter
from dataclasses import replace

import pytest
import torch

from reasoning_rl.learner.batch import credited, mask_of, micro_batch, padded, share, split, told
from reasoning_rl.objectives.objective import Credit
from reasoning_rl.records import Sample


def rows(group: int, *lengths: int, prompt: int = 3) -> list[Sample]:
    return [Sample(tuple(range(1, prompt + 1)), tuple(range(10, 10 + n)), tuple([0.5] * n), 0.25, group=group) for n in lengths]


SAMPLES = [*rows(0, 4, 7), *rows(1, 2, 2, 2), *rows(2, 30), *rows(3, 5, 1)]


@pytest.mark.parametrize("tokens", [1, 10, 25, 60, 10_000])
def test_every_sample_is_in_exactly_one_part(tokens: int) -> None:
    parts = list(split(SAMPLES, tokens))
    assert Counter(sample for part in parts for sample in part) == Counter(SAMPLES)


def test_parts_stay_under_the_budget_unless_one_row_exceeds_it() -> None:
    for part in split(SAMPLES, 40):
        width = max(len(sample.completion_ids) for sample in part)
        most = max(Counter(sample.group for sample in part).values())
        groups = len({sample.group for sample in part})
        assert groups * (3 + most * width) <= 40 or len(part) == 1


def test_groups_are_dealt_whole_to_processes() -> None:
    shares = [share(SAMPLES, rank, 2) for rank in range(2)]
    assert Counter(sample for part in shares for sample in part) == Counter(SAMPLES)
    assert not {sample.group for sample in shares[0]} & {sample.group for sample in shares[1]}


def test_more_processes_than_groups_leave_some_without_work() -> None:
    assert share(rows(0, 3), 1, 2) == []


def test_a_micro_batch_pads_with_zeros_behind_each_row() -> None:
    batch = micro_batch(rows(0, 1, 3), torch.device("cpu")).batch
    assert batch.mask_BT.tolist() == [[True, False, False], [True, True, True]]
    assert batch.advantage_BT.tolist() == [[0.5, 0, 0], [0.5, 0.5, 0.5]]
    assert batch.weight_BT.tolist() == [[0.25, 0, 0], [0.25, 0.25, 0.25]]
    assert batch.sampled_logp_BT is None


def test_pairs_stay_together_however_small_the_parts() -> None:
    samples = [replace(sample, row=row) for row, sample in enumerate(rows(0, 4, 9, 3, 3, 8, 1))]
    for tokens in (1, 25, 50):
        parts = list(split(samples, tokens, together=2))
        assert sorted(sample.row for part in parts for sample in part) == [0, 1, 2, 3, 4, 5]
        assert all([sample.row // 2 for sample in part[::2]] == [sample.row // 2 for sample in part[1::2]] for part in parts)


def test_what_was_said_before_is_cut_to_each_row() -> None:
    samples = [replace(sample, row=row) for row, sample in enumerate(rows(7, 1, 3))]
    micro = micro_batch(samples, torch.device("cpu"))
    numbers_BT = torch.tensor([[1.0, 0, 0], [2, 3, 4]])
    batch = replace(micro.batch, old_logp_BT=numbers_BT, reference_logp_BT=-numbers_BT)
    before = told(replace(micro, batch=batch, entropy_BT=numbers_BT + 1))
    assert before.keys() == {(7, 0), (7, 1)}
    assert before[7, 1].logp_T.tolist() == [2, 3, 4]
    assert before[7, 0].entropy_T.tolist() == [2]
    assert before[7, 0].value_T is None
    assert before[7, 1].reference_logp_T is not None
    assert before[7, 1].reference_logp_T.dtype == torch.float64


def test_credit_finds_its_row_and_leaves_the_rest_as_it_was() -> None:
    samples = [replace(sample, row=row) for row, sample in enumerate(rows(7, 1, 3))]
    micro = micro_batch(samples, torch.device("cpu"))
    first, second = torch.tensor([1.0]).double(), torch.tensor([2.0, 3, 4]).double()
    batch = credited(micro, {(7, 1): Credit(second, second + 1), (7, 0): Credit(first, first + 1), (8, 0): Credit(first)}).batch
    assert batch.advantage_BT.tolist() == [[1, 0, 0], [2, 3, 4]]
    assert batch.return_BT is not None
    assert batch.return_BT.tolist() == [[2, 0, 0], [3, 4, 5]]
    assert torch.equal(batch.weight_BT, micro.batch.weight_BT)
    assert credited(micro, {(7, 0): Credit(first), (7, 1): Credit(second)}).batch.return_BT is None


def test_padding_can_be_differentiated() -> None:
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (padded(values, mask_of([1, 2], torch.device("cpu"))) * torch.tensor([[5.0, 9.0], [6.0, 7.0]])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [5.0, 6.0, 7.0]
