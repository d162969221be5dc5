from collections import Counter

import pytest
import torch

from reasoning_rl.learner.batch import mask_of, micro_batch, padded, share, split
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


def test_padding_can_be_differentiated() -> None:
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (padded(values, mask_of([1, 2], torch.device("cpu"))) * torch.tensor([[5.0, 9.0], [6.0, 7.0]])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [5.0, 6.0, 7.0]
