"""The pictures of a page: pass@k, what k answers are worth, the course of the run, and length against correctness."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite, log2, nan
from typing import TYPE_CHECKING

from reasoning_rl.eval.curves import Point, curves_of, points_of
from reasoning_rl.eval.page.chart import Axis, Chart, Line, chart
from reasoning_rl.eval.page.content import Page, PolicyPage
from reasoning_rl.eval.report import Report

if TYPE_CHECKING:
    import pandas as pd

RATE = Axis("", ticks=(0.0, 0.25, 0.5, 0.75, 1.0))
POINTS = 200
"""Steps of a run that are drawn, at the most."""
SMOOTHED_OVER = 20
"""The strong line of a curve averages about this part of its steps."""
FEWEST = 20
"""Answers of a length below which their share of right ones says nothing."""
WORTH = {"pass@k": "any right: pass@k", "best@k": "best by reward: best@k", "maj@k": "vote: maj@k", "pass^k": "all right: pass^k"}
"""From the most that k answers can give to the least."""


def passk_chart(page: Page) -> Chart | None:
    """None where no policy has two points of a curve."""
    lines = [_line(name, points, style) for style, (name, points) in enumerate(zip(page.names, _curves(page), strict=True))]
    if not any(len(line.x) > 1 for line in lines):
        return None
    says = "Share of problems solved by at least one of k answers; bands are 95 % intervals."
    return chart("passk", "Solved within k answers", says, lines, _k_axis(lines), RATE)


def worth_chart(policy: PolicyPage) -> Chart | None:
    """None unless two ways of using k answers were measured at several k."""
    found = {name: _of(policy.report, metric) for metric, name in WORTH.items()}
    lines = [_line(name, points, style) for style, (name, points) in enumerate(found.items()) if len(points) > 1]
    if len(lines) < 2:
        return None
    title = f"What k answers of {policy.name} are worth"
    return chart("worth", title, "Share of problems solved, by how the k answers are used.", lines, _k_axis(lines), RATE)


def course_charts(course: "pd.DataFrame | None") -> list[Chart]:
    """Reward, length and lost answers over the steps; of columns that the run doesn't have there is no line, and no chart without one."""
    if course is None or course.empty:
        return []
    panels = (_reward_panel(course), _length_panel(course), _waste_panel(course))
    return [chart(key, title, says, lines, Axis("step"), y) for key, title, says, lines, y in panels if lines]


def length_charts(page: Page) -> list[Chart]:
    """Share of right answers by length, where enough have one to say so, and how many answers have which length."""
    counted = [(policy.name, _summed(policy.problems["lengths_n"]), _summed(policy.problems["lengths_c"])) for policy in page.policies]
    places = sorted({place for _, answers, _ in counted for place in answers})
    if not places:
        return []
    right = [_over(places, name, _shares(answers, right), style) for style, (name, answers, right) in enumerate(counted)]
    spread = [_over(places, name, _spread(answers), style) for style, (name, answers, _) in enumerate(counted)]
    lengths = Axis("tokens", ticks=range(places[0], places[-1] + 1), text=_doubling)
    rare = f"Share right among the answers of a length; lengths of fewer than {FEWEST} answers are left out."
    many = chart("long-many", "Lengths of answers", "Share of all sampled answers that have this length.", spread, lengths, Axis(""))
    known = any(isfinite(share) for line in right for share in line.y)
    return [chart("long-right", "Right answers by length", rare, right, lengths, RATE), many] if known else [many]


Panel = tuple[str, str, str, Sequence[Line], Axis]
"""Key, title, what it says, lines and the vertical axis."""


def _reward_panel(course: "pd.DataFrame") -> Panel:
    lines = [
        *_curve(course, "reward", "reward", 0),
        *_curve(course, "pass_rate", "share right", 1),
        *_dots(course, "eval/pass@1", "pass@1, held out", 6),
    ]
    return "reward", "Reward", "Mean over the answers of a step, and pass@1 on problems held out.", lines, Axis("")


def _length_panel(course: "pd.DataFrame") -> Panel:
    lines = [*_curve(course, "completions/mean_length_correct", "right", 2), *_curve(course, "completions/mean_length_wrong", "wrong", 3)]
    return "length", "Length", "Mean tokens of the right and of the wrong answers of a step.", lines, Axis("")


def _waste_panel(course: "pd.DataFrame") -> Panel:
    lines = [*_curve(course, "frac_reward_zero_std", "no signal", 0), *_curve(course, "completions/clipped_ratio", "cut off", 1)]
    says = "Groups whose answers have equal rewards, which teach nothing, and answers cut off at the token limit."
    return "lost", "Lost answers", says, lines, RATE


def _curves(page: Page) -> list[list[Point]]:
    """Of each policy, as the comparison has it, where training seeds count too, else as the report has it."""
    if page.comparison is None:
        return [points_of(policy.report) for policy in page.policies]
    curves = curves_of(page.comparison)
    return [curves.get(run, []) for run in page.runs]


def _of(report: Report, metric: str) -> list[Point]:
    return [Point(each.k, each.value, each.low, each.high) for each in report.metrics if each.metric == metric and each.k]


def _line(name: str, points: Sequence[Point], style: int) -> Line:
    ks, values, lows, highs = zip(*points, strict=True) if points else ((), (), (), ())
    return Line(name, ks, values, lows, highs, style=style, marked=True)


def _k_axis(lines: Iterable[Line]) -> Axis:
    """Doubling steps, each k that was asked for written out."""
    return Axis("k", ticks=sorted({k for line in lines for k in line.x}), scale=log2)


def _curve(course: "pd.DataFrame", column: str, name: str, style: int) -> Iterator[Line]:
    """A running mean with each step faint behind it; nothing where the run has no such number."""
    rows = _present(course, column)
    if rows.empty:
        return
    smooth = rows[column].rolling(max(1, len(rows) // SMOOTHED_OVER), center=True, min_periods=1).mean()
    shown = slice(None, None, -(-len(rows) // POINTS))
    yield Line(name, rows["step"].tolist()[shown], smooth.tolist()[shown], faint=rows[column].tolist()[shown], style=style)


def _dots(course: "pd.DataFrame", column: str, name: str, style: int) -> Iterator[Line]:
    rows = _present(course, column)
    if not rows.empty:
        yield Line(name, rows["step"].tolist(), rows[column].tolist(), style=style, marked=True, joined=False)


def _present(course: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Step and column where the column has a number."""
    return course[["step", column]].astype("float64").dropna() if column in course else course.iloc[:0]


def _summed(lists: Iterable[Sequence[int]]) -> Counter[int]:
    """Answers of 2^i to 2^(i+1) - 1 tokens by i, over all problems; of lengths that none has, nothing."""
    total: Counter[int] = Counter()
    for counts in lists:
        total.update({place: int(answers) for place, answers in enumerate(counts) if answers})
    return total


def _over(places: Sequence[int], name: str, values: Mapping[int, float], style: int) -> Line:
    return Line(name, places, [values.get(place, nan) for place in places], style=style, marked=True)


def _shares(answers: Counter[int], right: Counter[int]) -> dict[int, float]:
    return {place: right[place] / count for place, count in answers.items() if count >= FEWEST}


def _spread(answers: Counter[int]) -> dict[int, float]:
    places = range(min(answers, default=0), max(answers, default=-1) + 1)
    return {place: answers[place] / answers.total() for place in places}


def _doubling(place: float) -> str:
    """2^i, in few characters."""
    tokens = 2 ** int(place)
    return f"{tokens // 1024}k" if tokens >= 1024 else str(tokens)
