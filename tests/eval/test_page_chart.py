"""Where a chart puts its points, by hand."""

import math
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.eval.page.chart import BOTTOM, CHARACTER, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Line, chart

FLOOR = HEIGHT - BOTTOM
RATE = Axis("", ticks=(0.0, 0.5, 1.0))
finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def numbers(path: str) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", path)]


def test_points_stand_on_their_axes() -> None:
    made = chart("key", "Title", "Says", [Line("one", [1, 2, 4], [0.0, 0.5, 1.0])], Axis("k", ticks=(1, 2, 4), scale=math.log2), RATE)
    # The plot is from 42 to 332 with 8 free at either end, so k = 2, half-way in doublings, is at (50 + 324) / 2; a half is half-way up.
    middle = (FLOOR + TOP) / 2
    assert made.lines[0].path == f"M{LEFT + 8}.0 {FLOOR}.0L187.0 {middle}L{WIDTH - RIGHT - 8}.0 {TOP}.0"
    assert made.x_ticks == [(50, "1"), (187, "2"), (324, "4")]
    assert made.rows == [("1", "0.000"), ("2", "0.500"), ("4", "1.000")]


def test_a_missing_number_breaks_the_line() -> None:
    made = chart("key", "Title", "Says", [Line("one", [1, 2, 3], [0.5, math.nan, 0.5], marked=True)], Axis("step"), RATE)
    assert made.lines[0].path.count("M") == 2
    assert "L" not in made.lines[0].path
    assert len(made.lines[0].marks) == 2
    assert made.rows[1] == ("2", "")


def test_a_single_point_stands_in_the_middle() -> None:
    made = chart("key", "Title", "Says", [Line("one", [7], [0.5], marked=True)], Axis("step"), RATE)
    assert made.lines[0].marks[0][0] == (LEFT + WIDTH - RIGHT) / 2


def test_a_band_goes_there_and_back() -> None:
    made = chart("key", "Title", "Says", [Line("one", [1, 2], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0])], Axis("step"), RATE)
    assert made.lines[0].band == f"M50.0 {TOP}.0L324.0 {TOP}.0L324.0 {FLOOR}.0L50.0 {FLOOR}.0Z"
    assert made.rows[0] == ("1", "0.500 (0.000 to 1.000)")


def test_a_mark_names_its_numbers() -> None:
    made = chart("key", "Title", "Says", [Line("one", [4], [0.5], marked=True)], Axis("k"), RATE)
    assert made.lines[0].marks[0][2] == "one, k 4: 0.500"


def test_lines_of_different_steps_share_a_table() -> None:
    lines = [Line("one", [1, 2], [10.0, 20.0]), Line("two", [2, 3], [-0.5, 0.25])]
    assert chart("key", "Title", "Says", lines, Axis("step"), Axis("")).rows == [
        ("1", "10.0", ""),
        ("2", "20.0", "−0.500"),
        ("3", "", "0.250"),
    ]


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30, unique_by=lambda point: point[0]))
def test_whatever_is_drawn_stays_inside(points: list[tuple[float, float]]) -> None:
    x, y = zip(*sorted(points), strict=True)
    made = chart("key", "Title", "Says", [Line("one", x, y, faint=y)], Axis("step"), Axis(""))
    places = numbers(made.lines[0].path)
    assert all(LEFT <= place <= WIDTH - RIGHT for place in places[::2])
    assert all(TOP - 0.1 <= height <= FLOOR + 0.1 for height in places[1::2])
    assert made.y_ticks[0][0] == FLOOR
    assert any(text == "0" for _, text in made.y_ticks)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60, unique=True))
def test_labels_of_ticks_keep_clear_of_each_other(ticks: list[int]) -> None:
    line = Line("one", sorted(ticks), [0.5] * len(ticks))
    made = chart("key", "Title", "Says", [line], Axis("k", ticks=sorted(ticks), scale=math.log2), RATE)
    ends = [(place - CHARACTER * len(text) / 2, place + CHARACTER * len(text) / 2) for place, text in made.x_ticks]
    assert ends
    assert all(before[1] < after[0] for before, after in pairwise(ends))
