"""Pictures that can be opened, whatever a run has to show."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reasoning_rl.eval.plots import course_grid, gains_plot, reward_curve
from reasoning_rl.eval.statistics import Difference, Interval


def run(steps: int) -> pd.DataFrame:
    step = np.arange(1, steps + 1)
    metrics = pd.DataFrame({"step": step, "reward": step / steps - 0.2, "pass_rate": step / steps, "completions/clipped_ratio": 0.1})
    metrics["eval/pass@1"] = np.where(step % 5 == 0, 0.5, np.nan)
    return metrics


def colours(path: Path) -> int:
    """In the picture; one or two would mean an empty page."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return len(picture.convert("RGB").getcolors(maxcolors=1 << 20) or [])


@pytest.mark.parametrize("steps", [1, 60])
def test_reward_curve_draws_what_is_there(tmp_path: Path, steps: int) -> None:
    assert colours(reward_curve(run(steps), tmp_path / "curve.png")) > 10


def test_reward_curve_of_an_empty_run_is_an_empty_frame(tmp_path: Path) -> None:
    assert reward_curve(run(0), tmp_path / "curve.png").stat().st_size > 0


def test_same_numbers_give_the_same_picture(tmp_path: Path) -> None:
    first, second = (reward_curve(run(20), tmp_path / f"{name}.png").read_bytes() for name in "ab")
    assert first == second


def course(steps: int, reward: float) -> pd.DataFrame:
    counted = np.arange(1, steps + 1)
    return pd.DataFrame({"samples": 512.0 * counted, "seconds": 2.0 * counted, "reward": reward * counted, "pass_rate": reward * counted})


@pytest.mark.parametrize("arms", [1, 2, 15])
def test_courses_have_a_panel_each(tmp_path: Path, arms: int) -> None:
    courses = {f"arm {number}": [course(20, 0.01), course(30, 0.02)] for number in range(arms)}
    assert colours(course_grid(courses, tmp_path / "courses.png")) > 10


@pytest.mark.parametrize("courses", [{}, {"untrained": [course(0, 0.0)]}, {"one step": [course(1, 0.5)]}])
def test_courses_without_a_line_are_an_empty_frame(tmp_path: Path, courses: dict[str, list[pd.DataFrame]]) -> None:
    assert course_grid(courses, tmp_path / "courses.png").stat().st_size > 0


def test_gains_are_drawn_with_their_intervals(tmp_path: Path) -> None:
    gains = {"one": Interval(0.3, 0.2, 0.4), "another": Interval(-0.1, -0.2, 0.05)}
    assert colours(gains_plot(gains, {}, tmp_path / "gains.png")) > 10
    assert gains_plot({}, {}, tmp_path / "none.png").stat().st_size > 0


def test_differences_stand_beside_the_gains(tmp_path: Path) -> None:
    gains = {"one": Interval(0.3, 0.2, 0.4), "another": Interval(0.2, 0.1, 0.3)}
    alone = gains_plot(gains, {}, tmp_path / "alone.png")
    beside = gains_plot(gains, {"another": Difference(-0.1, -0.11, -0.09, 0.01)}, tmp_path / "beside.png")
    with Image.open(alone) as one, Image.open(beside) as two:
        assert two.width > one.width
