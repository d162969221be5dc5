"""Pictures of runs. Colours are Okabe and Ito's, told apart by any eye; no state outside the figure is touched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval.statistics import Difference, Interval
from reasoning_rl.files import write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#555555"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00", GREY)
DPI = 150
SMOOTHED_OVER = 20
"""The strong line of a curve averages about this part of its steps."""


def reward_curve(metrics: "pd.DataFrame", path: Path) -> Path:
    """The course of a run in three panels: reward and pass rate, length, and answers that teach nothing. Absent columns are left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 7.6), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.5, 1, 1))
    _outcome_panel(panels[0], metrics)
    _length_panel(panels[1], metrics)
    _waste_panel(panels[2], metrics)
    panels[2].set_xlabel("step")
    figure.align_ylabels(panels)
    return save(figure, path)


def _outcome_panel(axes: "Axes", metrics: "pd.DataFrame") -> None:
    _curve(axes, metrics, "reward", BLUE, "reward")
    _curve(axes, metrics, "pass_rate", ORANGE, "pass rate, sampled in training")
    held_out = _present(metrics, "eval/pass@1")
    if len(held_out):
        axes.plot(held_out["step"], held_out["eval/pass@1"], "D", color="black", markersize=6, label="pass@1, held out", zorder=5)
    axes.set_ylabel("mean per answer")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))  # a reward may fall below 0
    _finish(axes, "Reward")


def _length_panel(axes: "Axes", metrics: "pd.DataFrame") -> None:
    _curve(axes, metrics, "completions/mean_length", GREY, "all")
    _curve(axes, metrics, "completions/mean_length_correct", GREEN, "right")
    _curve(axes, metrics, "completions/mean_length_wrong", PURPLE, "wrong")
    axes.set_ylabel("tokens")
    axes.set_ylim(bottom=0)
    _finish(axes, "Length of answers")


def _waste_panel(axes: "Axes", metrics: "pd.DataFrame") -> None:
    _curve(axes, metrics, "frac_reward_zero_std", BLUE, "groups with equal rewards: no signal")
    _curve(axes, metrics, "completions/clipped_ratio", ORANGE, "answers cut off at the limit")
    axes.set(ylabel="share", ylim=(-0.02, 1.02))
    _finish(axes, "Lost answers")


def _curve(axes: "Axes", metrics: "pd.DataFrame", column: str, colour: str, label: str) -> None:
    """Each step faint, their running mean strong."""
    rows = _present(metrics, column)
    if rows.empty:
        return
    smooth = _smooth(rows[column])
    axes.plot(rows["step"], rows[column], color=colour, alpha=0.25, linewidth=1)
    axes.plot(rows["step"], smooth, color=colour, linewidth=2, label=label)


def _smooth(values: "pd.Series[float]") -> "pd.Series[float]":
    """Running mean over a part of the steps."""
    return values.rolling(max(1, len(values) // SMOOTHED_OVER), center=True, min_periods=1).mean()


def _present(metrics: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Step and column where the column has a number."""
    return metrics[["step", column]].dropna() if column in metrics else metrics.iloc[:0]


def _finish(axes: "Axes", title: str) -> None:
    """Title on the left, legend on the right of the same line, so that neither covers a curve."""
    tidy(axes)
    axes.margins(x=0.015)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0, ncols=3)


def gains_plot(gains: Mapping[str, Interval], differences: Mapping[str, Difference], path: Path) -> Path:
    """A dot with its 95 % interval for each name, the largest gain on top.

    Beside them, where there are any, the differences to the gain of the first name: being paired, they tell names apart whose gains
    overlap.
    """
    from matplotlib.figure import Figure

    names = sorted(gains, key=lambda name: gains[name].value)
    panels = 2 if differences else 1
    figure = Figure(figsize=(2.0 + 3.6 * panels, 1.2 + 0.3 * len(names)), layout="constrained")
    left, *right = figure.subplots(1, panels, sharey=True, squeeze=False).flat
    _dots(left, names, gains, "Gain", "pass@1 after training minus before")
    left.set_yticks(range(len(names)), labels=names)
    left.set_ylim(-0.6, len(names) - 0.2)
    for axes in right:
        _dots(axes, names, differences, f"Difference to {next(iter(gains))}", "of gains, paired by seed and problem")
    return save(figure, path)


def _dots(axes: "Axes", names: Sequence[str], found: Mapping[str, Interval | Difference], title: str, across: str) -> None:
    """One above the other, in the order of the names; a name may lack its dot."""
    tidy(axes)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=GREY, linewidth=1)
    for place, change in ((place, found[name]) for place, name in enumerate(names) if name in found):
        axes.plot([change.low, change.high], [place, place], color=BLUE, linewidth=2, solid_capstyle="butt")
        axes.plot(change.value, place, "o", color=BLUE, markersize=5)
        axes.annotate(f"{change.value:+z.3f}", (change.value, place), (0, 4), textcoords="offset points", ha="center", fontsize=7)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(across, fontsize=9)
    axes.set_title(f"{title}, 95 % interval", loc="left", fontsize=10, fontweight="bold")


PANELS_IN_A_ROW = 5
GRID = 200
"""Points at which the seeds of a curve are averaged."""
UNITS = {"samples": 1000, "seconds": 60}
"""What an axis counts in."""


def course_grid(courses: "Mapping[str, Sequence[pd.DataFrame]]", path: Path) -> Path:
    """A small panel for each name, over samples seen and again over seconds: reward and pass rate, mean and range of its seeds.

    The pass rate of the first name stands in the panels of the others, in grey. Frames have the columns samples, seconds, reward and
    pass_rate.
    """
    from matplotlib.figure import Figure

    columns = min(PANELS_IN_A_ROW, max(1, len(courses)))
    rows = max(1, -(-len(courses) // columns))
    figure = Figure(figsize=(1.0 + 1.8 * max(columns, 3), 2 * (0.8 + 1.5 * rows)), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False).flat
    for part, across, title, words in (
        (upper, "samples", "Reward over answers sampled", "answers sampled, in thousands"),
        (lower, "seconds", "Reward over time", "minutes of training, without evaluation"),
    ):
        panels = part.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        _course_panels(list(panels), courses, across)
        part.supxlabel(words, fontsize=9)
        part.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    lines = {line.get_label(): line for panel in upper.axes for line in panel.get_lines()}
    upper.legend(lines.values(), lines.keys(), loc="upper right", ncols=3, frameon=False, fontsize=8)
    return save(figure, path)


def _course_panels(panels: "Sequence[Axes]", courses: "Mapping[str, Sequence[pd.DataFrame]]", across: str) -> None:
    first = next(iter(courses), "")
    for panel, (name, seeds) in zip(panels, courses.items(), strict=False):
        _course_line(panel, seeds, (across, "reward"), BLUE, "reward")
        _course_line(panel, seeds, (across, "pass_rate"), ORANGE, "pass rate")
        if name != first:
            _course_line(panel, courses[first], (across, "pass_rate"), GREY, f"pass rate of {first}", band=False)
        tidy(panel)
        panel.tick_params(labelsize=7, labelbottom=True)
        panel.locator_params(axis="x", nbins=5)
        panel.set_title(name, loc="left", fontsize=8)
    for empty in panels[len(courses) :]:
        empty.set_visible(False)


def _course_line(axes: "Axes", seeds: "Sequence[pd.DataFrame]", of: tuple[str, str], colour: str, label: str, *, band: bool = True) -> None:
    """The mean of the seeds as far as all of them go, each smoothed, and where band, the range from the lowest to the highest."""
    import numpy as np

    across, column = of
    known = [course for course in seeds if len(course) and column in course]
    if not known:
        return
    unit = UNITS[across]
    start, end = max(course[across].iloc[0] for course in known), min(course[across].iloc[-1] for course in known)
    grid = np.linspace(start, end, GRID)
    curves = np.array([np.interp(grid, course[across], _smooth(course[column])) for course in known])
    if band:
        axes.fill_between(grid / unit, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.25, linewidth=0)
    style = {"linewidth": 1.6} if band else {"linewidth": 1.0, "linestyle": "--"}
    axes.plot(grid / unit, curves.mean(axis=0), color=colour, label=label, **style)


def tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: "Figure", path: Path) -> Path:
    """Through the Agg canvas; without a software version inside, so that the same picture has the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None}))
