"""Phases are told apart."""

import pytest

from reasoning_rl.rollout.clock import Clock


def test_phases_are_announced_and_timed_apart() -> None:
    said: list[str] = []
    clock = Clock(said.append)
    for phase in ("sample", "judge"):
        with clock.phase(phase):
            pass
    assert said == ["sample", "judge"] == list(clock.seconds)


def test_a_phase_that_comes_again_adds_to_its_time() -> None:
    clock = Clock(lambda _: None, {"sample": 5.0})
    with clock.phase("sample"):
        pass
    assert clock.seconds["sample"] > 5


def test_what_fails_is_not_timed() -> None:
    clock = Clock(lambda _: None)
    with pytest.raises(KeyError), clock.phase("sample"):
        raise KeyError
    assert clock.seconds == {}


def test_phases_are_part_of_the_time_since_the_clock_was_made() -> None:
    clock = Clock(lambda _: None)
    with clock.phase("learn"):
        pass
    assert clock.elapsed > clock.seconds["learn"]
