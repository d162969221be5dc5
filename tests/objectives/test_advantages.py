"""Advantages against hand-computed numbers, and their algebra on arbitrary rewards."""

from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reasoning_rl.objectives.advantages import centered, leave_one_out, normalised, standardized, unchanged, whitened

ONE_OF_EIGHT = [1.0, 0, 0, 0, 0, 0, 0, 0]


def rewards(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


groups = st.lists(st.floats(-10, 10), min_size=2, max_size=16).map(lambda values: rewards(*values))


def test_one_right_of_eight_by_hand() -> None:
    # mean 1/8; population variance 1/8·7/8 = 7/64, std 0.33072
    # winner (7/8)/0.33072 = sqrt 7 = 2.646, losers −(1/8)/0.33072 = −1/sqrt 7 = −0.378
    advantage_G = standardized(rewards(*ONE_OF_EIGHT), epsilon=0)
    assert advantage_G[0].item() == pytest.approx(sqrt(7), abs=1e-12)
    assert advantage_G[1:].tolist() == pytest.approx([-1 / sqrt(7)] * 7, abs=1e-12)


def test_ddof_one_shrinks_the_winner_of_eight_to_2_475() -> None:
    # sample variance 7/64·8/7 = 1/8, std 0.35355; winner (7/8)/0.35355 = 2.475
    assert standardized(rewards(*ONE_OF_EIGHT), ddof=1, epsilon=0)[0].item() == pytest.approx(7 / 8 * sqrt(8), abs=1e-12)


def test_a_pair_gets_plus_and_minus_one() -> None:
    # mean 0.5, deviations ±0.5, population std 0.5
    assert standardized(rewards(0, 1), epsilon=0).tolist() == [-1.0, 1.0]


def test_epsilon_is_added_to_the_standard_deviation() -> None:
    # deviations ±0.5, std 0.5, and 0.5 more: 0.5/1
    assert standardized(rewards(0, 1), epsilon=0.5).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.1 * 3, 1.1, 1e300])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 8, 10])
def test_constant_group_teaches_nothing_without_help_of_epsilon(value: float, size: int) -> None:
    constant_G = rewards(*[value] * size)
    assert standardized(constant_G, epsilon=0).tolist() == [0.0] * size
    assert standardized(constant_G, ddof=1, epsilon=0).tolist() == [0.0] * size
    assert centered(constant_G).tolist() == [0.0] * size


def test_a_rounded_mean_leaves_the_residue_that_ours_avoids() -> None:
    noisy = [rewards(*[0.1 * 3] * size) for size in range(2, 33)]
    assert any((noisy_G - noisy_G.mean()).any() for noisy_G in noisy), "or the test above shows nothing"
    assert not any(centered(noisy_G).any() for noisy_G in noisy)


def test_rounding_noise_between_rewards_is_no_signal() -> None:
    # 0.1 + 0.2 − 0.3 = 5.6e-17; half of it over epsilon 1e-6 is 2.8e-11
    assert standardized(rewards(0.1 + 0.2, 0.3)).abs().max().item() < 1e-10


def test_a_small_but_real_spread_is_kept() -> None:
    # a weight of 0.01 on one of two answers: std 0.005, so epsilon 1e-6 takes 1/5000 away
    assert standardized(rewards(1.0, 1.01)).tolist() == pytest.approx([-1, 1], abs=3e-4)


def test_groups_do_not_see_one_another() -> None:
    both_PG = torch.stack([rewards(0, 1, 1), rewards(5, 5, 5)])
    for advantage in (standardized, centered, leave_one_out):
        assert torch.equal(advantage(both_PG)[0], advantage(both_PG[0]))
        assert advantage(both_PG)[1].tolist() == [0, 0, 0]


def test_leave_one_out_compares_with_the_others_only() -> None:
    # 3 − (1+2)/2, 1 − (3+2)/2, 2 − (3+1)/2
    assert leave_one_out(rewards(3, 1, 2)).tolist() == pytest.approx([1.5, -1.5, 0], abs=1e-15)


def test_batch_scale_divides_all_groups_by_the_same() -> None:
    # rewards 0, 1 and 2, 2, 2, 5 over both groups: mean 2, squares 4 + 1 + 0 + 0 + 0 + 9 = 14, population variance 14/6
    # deviations from the groups' means 0.5 and 2.75: ∓0.5 and −0.75, −0.75, −0.75, 2.25
    first, second = normalised([rewards(0, 1), rewards(2, 2, 2, 5)], scale="batch", epsilon=0)
    std = sqrt(14 / 6)
    assert first.tolist() == pytest.approx([-0.5 / std, 0.5 / std], abs=1e-12)
    assert second.tolist() == pytest.approx([-0.75 / std] * 3 + [2.25 / std], abs=1e-12)


def test_batch_scale_of_a_batch_that_is_all_the_same_gives_zeros() -> None:
    assert [group.tolist() for group in normalised([rewards(0.3, 0.3), rewards(0.3)], scale="batch", epsilon=0)] == [[0, 0], [0]]


def test_batch_scale_gives_a_constant_group_among_others_exact_zeros() -> None:
    assert normalised([rewards(0, 1), rewards(*[0.1 * 3] * 6)], scale="batch")[1].tolist() == [0] * 6


def test_without_a_baseline_the_reward_is_the_advantage() -> None:
    assert normalised([rewards(3, 1), rewards(2)], baseline=unchanged, scale="none")[0].tolist() == [3, 1]


def test_whitening_weighs_answers_by_their_tokens() -> None:
    # 1 on one token, 0 on three: mean 1/4, variance 3/16, std sqrt 3/4: (3/4)/std = sqrt 3, −(1/4)/std = −1/sqrt 3
    long, short = whitened([rewards(0, 0, 0), rewards(1)], epsilon=0)
    assert (*long.tolist(), *short.tolist()) == pytest.approx((*[-1 / sqrt(3)] * 3, sqrt(3)), abs=1e-12)


def test_whitening_what_is_all_the_same_gives_zeros() -> None:
    assert [row.tolist() for row in whitened([rewards(0.1 * 3, 0.1 * 3), rewards(0.1 * 3)], epsilon=0)] == [[0, 0], [0]]
    assert whitened([]) == []


@given(st.lists(groups, min_size=1, max_size=5))
def test_whitened_advantages_have_mean_zero_and_mean_square_one(rows: list[Tensor]) -> None:
    flat = torch.cat(rows)
    if (flat.max() - flat.min()).item() > 1e-2:
        white = torch.cat(whitened(rows, epsilon=0))
        assert white.mean().item() == pytest.approx(0, abs=1e-9)
        assert white.square().mean().item() == pytest.approx(1, abs=1e-9)


@given(groups)
def test_leave_one_out_is_the_centred_reward_times_g_over_g_minus_one(reward_G: Tensor) -> None:
    # R_i − mean of the others, each mean taken for itself: Dr. GRPO and RLOO differ by this factor alone
    others = [reward_G[i] - torch.cat((reward_G[:i], reward_G[i + 1 :])).mean() for i in range(len(reward_G))]
    assert leave_one_out(reward_G).tolist() == pytest.approx([value.item() for value in others], abs=1e-12)


@given(groups)
def test_advantages_sum_to_zero(reward_G: Tensor) -> None:
    for advantage in (standardized, centered, leave_one_out):
        assert advantage(reward_G).sum().item() == pytest.approx(0, abs=1e-8)


@given(groups)
def test_no_advantage_exceeds_the_root_of_the_others(reward_G: Tensor) -> None:
    # A² of one is at most ΣA² − ΣA² of the others, and least when these share −A equally: A²(1 + 1/(G−1)) = G
    bound = sqrt(len(reward_G) - 1) + 1e-9
    assert standardized(reward_G).abs().max().item() <= bound
    assert standardized(reward_G, ddof=1).abs().max().item() <= bound


@given(groups, st.floats(0.5, 4), st.floats(-5, 5))
def test_scale_and_offset_of_the_reward_do_not_matter(reward_G: Tensor, scale: float, offset: float) -> None:
    if (reward_G.max() - reward_G.min()).item() > 1e-2:
        moved_G = standardized(scale * reward_G + offset, epsilon=0)
        assert moved_G.tolist() == pytest.approx(standardized(reward_G, epsilon=0).tolist(), abs=1e-9)
