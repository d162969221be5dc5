"""DAPO's eq. 13, moved up by one."""

import pytest

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.length import length

PROBLEM = Problem(id="t/0", source="t", split="test", question="?", gold="5")


@pytest.mark.parametrize(("tokens", "punishment"), [(0, 0.0), (16, 0.0), (17, -0.25), (18, -0.5), (20, -1.0), (25, -1.0)])
def test_the_value_is_one_plus_the_papers_punishment(tokens: int, punishment: float) -> None:
    # L_max = 20, L_cache = 4: R = (16 − |y|)/4 between 16 and 20
    assert length(Completion("", tuple(range(tokens))), PROBLEM, max_tokens=20, cache=4).value == 1 + punishment


def test_a_cache_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cache \(9\)"):
        length(Completion("", ()), PROBLEM, max_tokens=8, cache=9)
