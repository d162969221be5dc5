"""A sharded learner holds its share alone, and keeps step with the others whatever comes."""

from typing import Any

import pytest
import torch
from rank_work import BROKEN, reports

from reasoning_rl.learner.parallel import ALONE
from reasoning_rl.learner.sharding import shard
from reasoning_rl.policy.policy import Policy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return reports(tokenizer_folder, tmp_path_factory.getbasetemp() / "ranks")


@pytest.mark.parametrize("what", ["weights", "gradients", "moments"])
def test_a_rank_of_two_holds_half(what: str, said: dict[int, dict[str, Any]]) -> None:
    assert said[2]["shares"][what] == pytest.approx(0.5, abs=0.01)  # rows are split, an odd number of them nearly in half


def test_an_update_that_is_no_number_is_made_by_no_rank_and_its_samples_are_named(said: dict[int, dict[str, Any]]) -> None:
    for ranks in (0, 2):
        (skipped,) = said[ranks]["broken"]["skipped"]
        assert skipped.rows == BROKEN  # of two groups, that two ranks have
        assert skipped.found == "loss nan, grad_norm nan, value/grad_norm nan"
        assert not said[ranks]["broken"]["moved"]


def test_the_next_update_knows_nothing_of_it(said: dict[int, dict[str, Any]]) -> None:
    then, plain = said[2]["broken"]["then"], said[2]["ppo sharded"]
    assert all(map(torch.equal, then.gradients, plain.gradients))


def test_weights_gathered_in_bfloat16_have_gradients_in_float32_that_are_off_by_rounding(said: dict[int, dict[str, Any]]) -> None:
    narrow, wide = said[2]["bfloat16"].gradients, said[2]["ppo sharded"].gradients
    assert {gradient.dtype for gradient in narrow} == {torch.float32}
    flat, expected = (torch.cat([gradient.reshape(-1) for gradient in gradients]) for gradients in (narrow, wide))
    assert 0 < (flat - expected).norm() / expected.norm() < 0.05  # bfloat16 rounds by 2⁻⁹ at most, a few dozen times in a row


def test_ranks_that_have_not_met_can_share_nothing_out(policy: Policy) -> None:
    with pytest.raises(ValueError, match=r"the ranks must have met by parallel\.meet"):
        shard(policy, ALONE, None)
