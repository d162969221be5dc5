"""What a token counts, on three answers of 1, 2 and 5 tokens with a budget of 10."""

import pytest
import torch

from reasoning_rl.objectives.weights import Lengths, Weight, per_budget, per_sequence, per_token

LENGTHS = Lengths(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64), budget=10)


def test_per_sequence_gives_every_answer_a_third() -> None:
    weight_N = per_sequence(LENGTHS)
    assert weight_N.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 15], abs=1e-15)
    assert (weight_N * LENGTHS.tokens_N).tolist() == pytest.approx([1 / 3] * 3, abs=1e-15)


def test_per_token_gives_every_token_an_eighth() -> None:
    assert per_token(LENGTHS).tolist() == [1 / 8] * 3


def test_per_budget_gives_every_token_a_thirtieth_whatever_the_lengths() -> None:
    assert per_budget(LENGTHS).tolist() == [1 / 30] * 3


@pytest.mark.parametrize("weight", [per_sequence, per_token, per_budget])
def test_no_answers_have_no_weights(weight: Weight) -> None:
    assert weight(Lengths(torch.zeros(0, dtype=torch.float64), budget=10)).tolist() == []
