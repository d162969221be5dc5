"""What a comparison says of runs whose figures are known: five problems, two seeds, each arm a shift of what all start from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasoning_rl.comparison.arms import Arm, Plan
from reasoning_rl.comparison.figures import Outcome, Standing, contrasted
from reasoning_rl.comparison.report import PASS_AT_1, to_json, to_markdown, write_report
from reasoning_rl.comparison.runs import Run
from reasoning_rl.errors import RunError

START = (0, 1, 2, 3, 4)
"""Right answers of 8 to each problem, before."""
SEEDS = (0, 1)


def problems(right: Sequence[int], question: str = "1+1?") -> pd.DataFrame:
    """Eight answers a problem, the wrong ones all alike; the reward is whether an answer is right."""
    right_Q = np.array(right)
    columns = {"n": 8, "c": right_Q, "c_strict": right_Q, "reward": right_Q / 8, "tokens": 20.0, "truncated": 0.0, "question": question}
    columns |= {"votes": [[8 - count] for count in right], "tiers_n": [[c, 8 - c] for c in right], "tiers_c": [[c, 0] for c in right]}
    greedy = pd.array([count > 4 for count in right], dtype="boolean")
    return pd.DataFrame({"problem_id": [f"p{number}" for number in range(len(right))], **columns, "greedy_correct": greedy}).set_index(
        "problem_id"
    )


def course(step_time: float, peak_mib: float) -> pd.DataFrame:
    """Three steps of which the first is slow."""
    metrics = {"samples": [10.0, 20.0, 30.0], "step_time": [9.0, step_time, step_time], "memory/peak_mib": [1.0, 2.0, peak_mib]}
    courses = {"seconds": np.cumsum(metrics["step_time"]), "tokens_per_second": [1.0, 50.0, 70.0], "reward": 0.5, "pass_rate": 0.5}
    return pd.DataFrame({**metrics, **courses})


def standing(plan: Plan, name: str, shifts: Mapping[int, int], *, failures: Mapping[int, str] | None = None, cost: float = 1.0) -> Standing:
    """An arm that gains `shifts[seed]` right answers on every problem."""
    arm = next(arm for arm in plan.arms if arm.name == name)
    outcomes = [
        Outcome(Run(plan, arm, seed), problems(START), problems([count + shift for count in START]), course(2 * cost, 100 * cost))
        for seed, shift in shifts.items()
    ]
    return Standing(arm, ("policy",), tuple(outcomes), failures or {})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    arms = tuple(Arm(name, (f"objective.name={name}",)) for name in ("grpo", "ppo", "dpo"))
    return Plan(tmp_path, "cpu", ("train.steps=3",), arms, SEEDS)


@pytest.fixture
def three(plan: Plan) -> list[Standing]:
    arms = [
        standing(plan, "grpo", {0: 1, 1: 3}),
        standing(plan, "ppo", {0: 2, 1: 4}, cost=2.0),
        standing(plan, "dpo", {1: 0}, failures={0: "Error: a | b"}),
    ]
    return contrasted(arms, resamples=500)


def test_gains_are_means_over_seeds_and_problems(three: list[Standing]) -> None:
    gains = [standing.contrasts[PASS_AT_1].gain.value for standing in three]
    assert gains == [2 / 8, 3 / 8, 0]  # (1 + 3)/2, (2 + 4)/2 and 0 more of 8
    assert {standing.contrasts[PASS_AT_1].before.value for standing in three} == {2 / 8}
    assert three[0].contrasts["greedy", None].after.value == pytest.approx((1 + 3) / 10)  # 5 of 1..5; 5, 6, 7 of 3..7


def test_differences_are_paired_with_the_first_arm_by_seed(three: list[Standing]) -> None:
    first, second, third = (standing.contrasts[PASS_AT_1].difference for standing in three)
    assert first is None
    assert second is not None
    assert (second.value, second.low, second.high) == pytest.approx((1 / 8, 1 / 8, 1 / 8))  # on each seed and problem
    assert third is not None
    assert third.value == -3 / 8  # on seed 1 alone
    assert three[1].contrasts[PASS_AT_1].holm == pytest.approx(2 * second.p_value)  # two comparisons


def test_seeds_widen_the_interval_of_a_gain(three: list[Standing]) -> None:
    # All problems gain alike, so only the seeds, at 1/8 and 3/8, spread: 2/8 ± √2·1/8.
    gain = three[0].contrasts[PASS_AT_1].gain
    assert (gain.low, gain.high) == pytest.approx((0.25 - 2**0.5 / 8, 0.25 + 2**0.5 / 8))


def test_an_arm_that_shares_no_seed_with_the_first_has_no_difference(plan: Plan) -> None:
    arms = contrasted([standing(plan, "grpo", {0: 1}), standing(plan, "ppo", {1: 2})], resamples=100)
    assert arms[1].contrasts[PASS_AT_1].difference is None
    assert arms[1].contrasts[PASS_AT_1].gain.value == 2 / 8


def test_the_others_are_reported_where_the_first_arm_failed(plan: Plan) -> None:
    arms = contrasted([standing(plan, "grpo", {}, failures={0: "out of luck"}), standing(plan, "ppo", {0: 2})], resamples=100)
    page = to_markdown(plan, arms)
    assert "| grpo | 0 | – | – |" in page
    assert "| grpo | 0 | out of luck |" in page
    assert "| ppo | 1 | 0.250 | 0.500 | +0.250 (+0.250 to +0.250) | – | – |" in page
    assert "| grpo | 0.250 (" not in page


def test_costs_are_medians_over_steps_and_peaks_over_the_run(three: list[Standing]) -> None:
    assert [standing.cost("step_seconds") for standing in three] == [2, 4, 2]  # the slow first step doesn't count
    assert [standing.cost("peak_mib") for standing in three] == [100, 200, 100]
    assert three[0].cost("samples") == 30
    assert three[0].cost("peak_gpu_mib") is None


def test_the_page_has_every_arm_with_quality_cost_and_failures(plan: Plan, three: list[Standing]) -> None:
    page = to_markdown(plan, three)
    assert "3 objectives, seeds 0, 1, 5 held-out problems, with `train.steps=3`." in page
    assert "| ppo | 2 | 0.250 | 0.625 | +0.375 (+0.198 to +0.552) | +0.125 (+0.125 to +0.125) |" in page  # ± √2/8, as above
    assert "| ppo | 1: policy | 4.00 | 2.00 | 50 | 200 | 2.00 | 30 | 0.3 |" in page
    assert "| dpo | 0 | Error: a \\| b |" in page
    assert "| dpo | `objective.name=dpo` |" in page


def test_the_page_has_every_metric_before_and_after_with_intervals(plan: Plan, three: list[Standing]) -> None:
    page = to_markdown(plan, three)
    blocks = dict(block.split("\n\n", 1) for block in page.partition("## Before and after")[2].partition("\n## ")[0].split("### ")[1:])
    several = ["pass^8", "maj@8", "best@8"]
    assert list(blocks) == ["pass@1", "pass@2", "pass@4", "pass@8", "pass@1 strict", "greedy", *several, "reward", "tokens", "truncated"]
    assert all([row.split(" | ")[0] for row in block.strip().splitlines()[2:]] == ["| grpo", "| ppo", "| dpo"] for block in blocks.values())
    assert "| 1.000 (1.000 to 1.000) | +0.200 (" in blocks["pass@8"]  # one of five had no right answer before, none after
    assert blocks["pass@1"].splitlines()[3].endswith("| +0.375 (+0.198 to +0.552) |")
    assert "| dpo | 20.0 (20.0 to 20.0) | 20.0 (20.0 to 20.0) | +0.0 (+0.0 to +0.0) |" in blocks["tokens"]


def test_runs_that_are_not_done_for_one_reason_share_a_row(plan: Plan) -> None:
    failures = {0: "not run", 1: "Error: no luck", 2: "not run"}
    page = to_markdown(plan, contrasted([standing(plan, "grpo", {3: 1}), standing(plan, "ppo", {}, failures=failures)], resamples=100))
    assert "| ppo | 0, 2 | not run |\n| ppo | 1 | Error: no luck |" in page


def test_the_json_holds_what_the_page_does(plan: Plan, three: list[Standing]) -> None:
    found = json.loads(to_json(plan, three, "2026-01-02T03:04:05+00:00"))
    assert (found["recipe"], found["seeds"], found["problems"]) == ("cpu", [0, 1], 5)
    dpo = found["arms"][2]
    assert (dpo["seeds"], dpo["failures"]) == ([1], {"0": "Error: a | b"})
    contrast = next(one for one in found["arms"][1]["contrasts"] if (one["metric"], one["k"]) == PASS_AT_1)
    assert contrast["gain"]["value"] == 3 / 8
    assert found["arms"][1]["costs"]["peak_mib"] == 200


def test_the_table_has_a_row_for_each_seed_and_figure(plan: Plan, three: list[Standing]) -> None:
    write_report(plan, three)
    table = pd.read_csv(plan.out / "table.csv")
    passed = table[(table.metric == "pass@k") & (table.k == 1)]
    assert passed[["arm", "seed", "gain"]].to_numpy().tolist() == [
        ["grpo", 0, 1 / 8], ["grpo", 1, 3 / 8], ["ppo", 0, 2 / 8], ["ppo", 1, 4 / 8], ["dpo", 1, 0.0],
    ]  # fmt: skip


def test_runs_that_were_asked_different_problems_are_refused(plan: Plan) -> None:
    one, other = standing(plan, "grpo", {0: 1}), standing(plan, "ppo", {0: 1})
    strange = replace(other.outcomes[0], after=problems(START, "2+2?"))
    with pytest.raises(RunError, match="ppo-seed0 and grpo-seed0 were asked different problems"):
        contrasted([one, replace(other, outcomes=(strange,))])
