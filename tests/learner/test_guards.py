"""Guards speak when a course becomes alarming, are silent on healthy ones, and mark what an uninterrupted run would have marked."""

import math
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reasoning_rl.config import GuardsConfig
from reasoning_rl.errors import TrainingError, VerifierError
from reasoning_rl.learner.alarms import ALARMS
from reasoning_rl.learner.guards import Guards, Row
from reasoning_rl.learner.offenders import Skipped

STORM, REWARD, ENTROPY, LENGTH = ALARMS
CUT = "completions/clipped_ratio"
FAULTS = Path("runs/a/faults/step-00004.parquet")


def course(column: str, *values: float | None) -> list[Row]:
    return [{column: value} for value in values]


def looked(rows: Sequence[Row], **settings: object) -> tuple[list[dict[str, float]], list[str]]:
    """The marks of each row, from step 1 on, and what was said."""
    said: list[str] = []
    guards = Guards(GuardsConfig.model_validate(settings), said.append)
    return [guards.look(step, row) for step, row in enumerate(rows, start=1)], said


def rung(name: str, rows: Sequence[Row], **settings: object) -> list[int]:
    """The steps at which an alarm rings."""
    return [step for step, marks in enumerate(looked(rows, **settings)[0], start=1) if marks[name]]


def test_a_storm_is_marked_at_each_step_and_said_at_its_beginning() -> None:
    marks, said = looked(course("verifier_failures", 0.0, 0.05, 0.06, 0.5, None, 0.2, 0.0))
    assert [mark[STORM] for mark in marks] == [0, 0, 1, 1, 0, 1, 0]
    first, second = said
    assert "Step 3: verifiers failed on 6.0% of the answers, which is above 5.0%" in first
    assert "judge.deadline_s" in first
    assert "(guards.verifier_failures; docs/faq.md)" in first
    assert second.startswith("Step 6: verifiers failed on 20.0%")


def test_a_storm_stops_the_run_where_it_is_to() -> None:
    guards = Guards(GuardsConfig(verifier_storm="stop"), lambda _: None)
    for step, failures in ((1, 0.01), (2, 0.3)):
        guards.enforce()
        guards.look(step, {"verifier_failures": failures})
    with pytest.raises(VerifierError, match=r"^step 2: verifiers failed on 30.0% .* since guards\.verifier_storm is stop"):
        guards.enforce()
    guards.look(3, {"verifier_failures": 0.0})
    guards.enforce()


def test_a_storm_before_a_resume_does_not_stop_what_goes_on_from_it() -> None:
    Guards(GuardsConfig(verifier_storm="stop"), lambda _: None, course("verifier_failures", 0.3)).enforce()


def test_a_storm_is_said_and_no_more_by_default() -> None:
    guards = Guards(GuardsConfig(), lambda _: None)
    guards.look(1, {"verifier_failures": 1.0})
    guards.enforce()


def test_a_reward_that_halves_rings() -> None:
    """Windows of 2: means 0.5, 0.8, 0.6, 0.35, 0.2; 0.35 is the first below half of 0.8, whose spread is 0."""
    rows = course("reward", 0.2, 0.8, 0.8, 0.4, 0.3, 0.1)
    assert rung(REWARD, rows, window=2) == [5, 6]
    (line,) = looked(rows, window=2)[1]
    assert "Step 5: the mean reward is 0.35 over 2 steps, after 0.8 at its best: a fall by more than 50%" in line
    assert rung(REWARD, rows, window=2, reward_collapse=0.2) == []  # 0.2 is a quarter of 0.8


def test_a_fall_below_0_counts_by_the_size_of_the_best() -> None:
    """Windows of 2 with means −0.2, …: half of it away is −0.3."""
    assert rung(REWARD, course("reward", -0.2, -0.2, -0.25, -0.3, -0.32, -0.34), window=2) == [5, 6]  # −0.31 is the first below


def test_rewards_that_waver_around_0_are_no_collapse() -> None:
    """Their best window's mean is 0.05 with a spread of 0.15: to −0.1, three times it, is no farther than chance goes."""
    assert rung(REWARD, course("reward", 0.2, -0.1, 0.1, -0.2, 0.0, -0.2, 0.2), window=2) == []


def test_entropy_rings_below_a_share_of_the_first_window() -> None:
    rows = course("entropy", 0.3, 0.1, 0.02, 0.01, 0.009, 0.008)  # means 0.2, 0.06, 0.015, 0.0095, 0.0085 against 0.01
    assert rung(ENTROPY, rows, window=2) == [5, 6]
    (line,) = looked(rows, window=2)[1]
    assert "Step 5: the policy's entropy is 0.0095 nats over 2 steps, below 5.0% of the 0.2 at first" in line


def test_answers_that_run_into_the_limit_ring() -> None:
    rows = course(CUT, 0.0, 0.2, 0.4, 0.5, 0.7, 0.9)  # means 0.1, 0.3, 0.45, 0.6, 0.8
    assert rung(LENGTH, rows, window=2) == [5, 6]
    (line,) = looked(rows, window=2)[1]
    assert (
        "Step 5: 60.0% of the answers are cut off at sampling.max_tokens over 2 steps, which is above 50.0%; at first it was 10.0%" in line
    )


def test_a_policy_that_begins_cut_off_rings_only_when_half_as_many_answers_end() -> None:
    """First 0.6, so that 0.4 end, then 0.75, 0.79 and 0.81: less than 0.2 end with the last alone."""
    assert rung(LENGTH, course(CUT, 0.6, 0.75, 0.79, 0.81), window=1) == [4]
    assert rung(LENGTH, course(CUT, 1.0, 1.0, 0.9), window=1) == []


def test_answers_that_were_nearly_all_cut_off_at_first_ring_by_no_chance() -> None:
    """First 0.975 with a spread of 0.025: three of it are more than is left to 1, though none ends any more."""
    assert rung(LENGTH, course(CUT, 0.95, 1.0, 1.0, 1.0), window=2) == []


def healthy() -> list[Row]:
    """The `cpu` recipe as it went: reward 0.61 to 0.96, entropy 0.18 to 0.03 nats over 120 steps, each step off by 2 % of its value."""
    share = [step / 119 for step in range(120)]
    off = [1 + 0.02 * (-1) ** step for step in range(120)]
    return [
        {"reward": (0.61 + 0.35 * part) * error, "entropy": 0.18 * (0.03 / 0.18) ** part * error, CUT: 0.002, "verifier_failures": 0.0}
        for part, error in zip(share, off, strict=True)
    ]


def test_a_healthy_run_hears_nothing() -> None:
    marks, said = looked(healthy())
    assert said == []
    assert all(mark == dict.fromkeys(ALARMS, 0.0) for mark in marks)


def test_answers_that_grow_long_but_end_are_healthy() -> None:
    assert rung(LENGTH, course(CUT, *(0.02 + 0.004 * step for step in range(100)))) == []  # to 42 %


def test_what_is_not_watched_has_no_column() -> None:
    off: dict[str, object] = {"verifier_failures": None, "reward_collapse": None, "entropy_collapse": None}
    rows: list[Row] = [{"verifier_failures": 1.0, "reward": -step, "entropy": 1 / step, CUT: 0.0} for step in range(1, 40)]
    marks, said = looked(rows, **off)
    assert all(mark == {LENGTH: 0.0} for mark in marks)
    assert said == []


def test_a_figure_that_is_missing_or_no_number_is_passed_over() -> None:
    gaps = [value for pair in zip((0.8, 0.8, 0.3, 0.3), (None, math.nan, math.inf, None), strict=True) for value in pair]
    assert rung(REWARD, [*course("reward", *gaps), {}], window=2) == [7, 8, 9]  # the mean of 0.3 and 0.3 is there from its second on


VALUES = st.one_of(st.none(), st.floats(0, 1), st.just(math.nan))
ROWS = st.lists(
    st.fixed_dictionaries(
        {"reward": st.one_of(VALUES, st.floats(allow_infinity=True)), "entropy": VALUES, CUT: VALUES, "verifier_failures": VALUES},
        optional={"guards/skipped_updates": st.sampled_from([0.0, 1.0]), "guards/token_budget": st.sampled_from([64.0, 128.0])},
    ),
    max_size=30,
)


def read_back(row: Row) -> Row:
    """As it comes from metrics.jsonl."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in row.items()}


@given(ROWS, st.integers(0, 30), st.integers(1, 4))
def test_guards_that_go_on_at_any_step_do_as_those_that_never_stopped(rows: list[Row], stop: int, window: int) -> None:
    config, said, later_said = GuardsConfig(window=window), list[str](), list[str]()
    never = Guards(config, said.append)
    before = [never.look(step, row) for step, row in enumerate(rows[:stop])]
    said.clear()
    written = [read_back({**row, **marks}) for row, marks in zip(rows, before, strict=False)]
    resumed = Guards(config, later_said.append, written)
    for step, row in enumerate(rows[stop:], start=stop):
        assert resumed.look(step, row) == never.look(step, row)
    assert later_said == said


def test_guards_stay_small_however_long_the_run() -> None:
    guards = Guards(GuardsConfig(), lambda _: None, repeat({"reward": 1.0, "entropy": 1.0, CUT: 0.0, "verifier_failures": 0.0}, 10_000))
    assert all(len(watched.course._recent) == 10 for name, watched in guards._watched.items())


BROKEN = [Skipped(0, "loss nan, grad_norm nan", ((0, 1),)), Skipped(0, "loss nan, grad_norm nan", ((0, 1),))]


def test_a_run_stops_at_a_number_that_is_not_finite() -> None:
    guards = Guards(GuardsConfig(), lambda _: None)
    guards.skipped(3, [], FAULTS)
    with pytest.raises(TrainingError) as failure:
        guards.skipped(4, BROKEN, FAULTS)
    said = str(failure.value)
    assert f"step 4: loss nan, grad_norm nan; 2 updates were not made, and the answers are in {FAULTS}. Checkpoints are" in said
    assert all(
        knob in said for knob in ("learner.learning_rate", "learner.max_grad_norm", "policy.dtype", "policy.autocast", "guards.nonfinite")
    )


def skipping(history: Sequence[float], most: int = 3) -> list[str]:
    """What is said when one more step skips an update."""
    said: list[str] = []
    config = GuardsConfig(nonfinite="skip", most_skipped=most)
    Guards(config, said.append, course("guards/skipped_updates", *history)).skipped(len(history) + 1, BROKEN[:1], FAULTS)
    return said


def test_where_it_may_the_run_goes_on_and_says_so() -> None:
    (line,) = skipping([0, 1])
    assert line.startswith(f"Step 3: loss nan, grad_norm nan; an update was not made, and the answers are in {FAULTS}; the run goes on")


def test_too_many_such_steps_in_a_row_stop_it_all_the_same() -> None:
    with pytest.raises(TrainingError, match=r"step 4: .* Steps in a row so far: 3 \(guards\.most_skipped\)"):
        skipping([0, 1, 2])
    assert skipping([1, 1, 0, 1])  # one was whole
    with pytest.raises(TrainingError, match="in a row so far: 1 "):
        skipping([], most=1)


def test_a_smaller_token_budget_is_said_once() -> None:
    _, said = looked([{}, *course("guards/token_budget", 512.0, 512.0, 256.0)])
    assert [line[:68] for line in said] == [
        "Step 2: out of memory, and done again with learner.tokens_per_microb",
        "Step 4: out of memory, and done again with learner.tokens_per_microb",
    ]
    assert "=256," in said[1]


def test_a_storm_that_nobody_looks_out_for_can_stop_nothing() -> None:
    with pytest.raises(ValidationError, match="'stop' needs a share in verifier_failures, found null"):
        GuardsConfig(verifier_storm="stop", verifier_failures=None)
