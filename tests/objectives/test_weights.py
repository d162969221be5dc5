"""What a token counts, on three answers of 1, 2 and 5 tokens with a budget of 10."""

import pytest
import torch

from reasoning_rl.objectives.weights import Lengths, Weight, per_answer, per_budget, per_sequence, per_token

LENGTHS = Lengths(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64), budget=10)
LAST_MASKED = Lengths(torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), budget=10)


def test_per_sequence_gives_every_answer_a_third() -> None:
    weight_N = per_sequence(LENGTHS)
    assert weight_N.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 15], abs=1e-15)
    assert (weight_N * LENGTHS.tokens_N).tolist() == pytest.approx([1 / 3] * 3, abs=1e-15)


def test_per_token_gives_every_token_an_eighth() -> None:
    assert per_token(LENGTHS).tolist() == [1 / 8] * 3


def test_per_budget_gives_every_token_a_thirtieth_whatever_the_lengths() -> None:
    assert per_budget(LENGTHS).tolist() == [1 / 30] * 3


def test_per_answer_gives_every_token_a_third_whatever_the_lengths() -> None:
    assert per_answer(LENGTHS).tolist() == [1 / 3] * 3


def test_masked_answer_lends_its_tokens_to_nobody_and_stays_one_of_three() -> None:
    # 1 + 2 tokens are left; the answer is still one of N = 3
    assert per_token(LAST_MASKED).tolist()[:2] == [1 / 3] * 2
    assert per_sequence(LAST_MASKED).tolist()[:2] == pytest.approx([1 / 3, 1 / 6], abs=1e-15)
    assert per_budget(LAST_MASKED).tolist()[:2] == [1 / 30] * 2
    assert per_answer(LAST_MASKED).tolist()[:2] == [1 / 3] * 2


@pytest.mark.parametrize("weight", [per_sequence, per_token, per_budget, per_answer])
def test_batch_where_all_answers_are_masked_has_finite_weights(weight: Weight) -> None:
    assert weight(Lengths(torch.zeros(2, dtype=torch.float64), budget=10)).isfinite().all()


@pytest.mark.parametrize("weight", [per_sequence, per_token, per_budget, per_answer])
def test_no_answers_have_no_weights(weight: Weight) -> None:
    assert weight(Lengths(torch.zeros(0, dtype=torch.float64), budget=10)).tolist() == []
