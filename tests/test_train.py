"""The loop's pure parts, by hand."""

from collections.abc import Sequence

import pytest

from reasoning_rl.records import Completion, Group, Problem, Prompt, Sample, Score, Verdict
from reasoning_rl.rollout.groups import judged, measured
from reasoning_rl.train import Clock, advantages, parts, prompts_of_step


def prompt(index: int) -> Prompt:
    return Prompt(Problem(f"p{index}", "t", "t", f"q{index}", "1"), f"q{index}", (1, 2))


PROMPTS = [prompt(index) for index in range(10)]


def test_a_pass_asks_every_problem_once_but_for_what_fills_no_step() -> None:
    # 10 problems, 3 a step: 3 steps a pass, one problem left out of each
    first, second = (
        [chosen.problem.id for step in steps for chosen in prompts_of_step(PROMPTS, step, 3, seed=0)] for steps in ((0, 1, 2), (3, 4, 5))
    )
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_the_prompts_of_a_step_depend_on_step_and_seed_alone() -> None:
    assert prompts_of_step(PROMPTS, 5, 4, seed=1) == prompts_of_step(PROMPTS, 5, 4, seed=1)
    assert prompts_of_step(PROMPTS, 5, 4, seed=1) != prompts_of_step(PROMPTS, 5, 4, seed=2)


@pytest.mark.parametrize(("groups", "count", "sizes"), [(8, 1, [8]), (8, 4, [2, 2, 2, 2]), (7, 3, [2, 2, 3])])
def test_optimiser_batches_hold_every_group_once(groups: int, count: int, sizes: list[int]) -> None:
    made = [Group(prompt(index), (), ()) for index in range(groups)]
    cut = parts(made, count)
    assert [len(part) for part in cut] == sizes
    assert [group for part in cut for group in part] == made


def test_answers_of_a_group_that_was_left_out_have_no_advantage() -> None:
    pair = (Completion("a", (1,)), Completion("b", (2, 3)))
    groups = [Group(prompt(index), pair, (Verdict(1.0), Verdict(0.0))) for index in range(2)]
    samples = [Sample((1,), (1,), (2.0,), 1.0, group=1), Sample((1,), (2, 3), (-1.0, -3.0), 1.0, group=1)]
    assert advantages(groups, samples) == [[0.0, 0.0], [2.0, -2.0]]


def test_the_clock_tells_phases_apart() -> None:
    said: list[str] = []
    clock = Clock(said.append)
    for phase in ("sample", "judge"):
        with clock.phase(phase):
            pass
    group = Group(prompt(0), (Completion("a", (1, 2, 3)),), (Verdict(1.0),))
    metrics = clock.metrics([group])
    assert said == ["sample", "judge"]
    assert metrics["num_tokens"] == 3
    assert metrics["step_time"] == pytest.approx(metrics["seconds/sample"] + metrics["seconds/judge"])


class Exclaims:
    """Right is what ends in an exclamation mark."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [Verdict(float(right := answer.text.endswith("!")), {"mark": Score(float(right))}, right, right) for answer, _ in items]


def answer(text: str, *, truncated: bool = False) -> Completion:
    return Completion(text, tuple(range(len(text))), finish_reason="length" if truncated else "stop")


def test_a_steps_numbers_are_means_over_its_answers() -> None:
    answers = [[answer("a!"), answer("abcd")], [answer("abc", truncated=True), answer("x")]]
    metrics = measured(judged(PROMPTS[:2], answers, Exclaims()))
    # rewards (1, 0) and (0, 0); population std 0.5 and 0; lengths 2, 4, 3, 1
    assert metrics["reward"] == metrics["pass_rate"] == metrics["rewards/mark/mean"] == 0.25
    assert metrics["reward_std"] == 0.25
    assert metrics["frac_reward_zero_std"] == 0.5
    assert metrics["completions/mean_length"] == 2.5
    assert metrics["completions/mean_length_correct"] == 2
    assert metrics["completions/mean_length_wrong"] == pytest.approx(8 / 3)
    assert metrics["completions/clipped_ratio"] == 0.25
    assert metrics["verifier_failures"] == 0


def test_a_mean_over_nothing_is_left_out() -> None:
    metrics = measured(judged(PROMPTS[:1], [[answer("no"), answer("nor")]], Exclaims()))
    assert "completions/mean_length_correct" not in metrics
