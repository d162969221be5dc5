"""Pictures of an evaluation and of a run. Colours are Okabe and Ito's, told apart by any eye; no state outside the figure is touched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval.report import Report
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


def passk_plot(reports: Sequence[Report], path: Path) -> Path:
    """pass@k against k, one line with its 95 % band per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, report in enumerate(reports):
        _passk_line(axes, report, PALETTE[number % len(PALETTE)])
    axes.set(xlabel="k, samples per problem", ylabel="pass@k", ylim=(0, 1.02))
    axes.set_title("Problems solved by at least one of k samples", loc="left", fontsize=10, fontweight="bold")
    _k_axis(axes, sorted({measure.k for report in reports for measure in report.metrics if measure.metric == "pass@k" and measure.k}))
    _tidy(axes)
    if reports:
        axes.legend(frameon=False, loc="best")
    return _save(figure, path)


def _passk_line(axes: "Axes", report: Report, colour: str) -> None:
    measures = [measure for measure in report.metrics if measure.metric == "pass@k"]
    ks = [measure.k or 1 for measure in measures]
    axes.fill_between(ks, [m.low for m in measures], [m.high for m in measures], color=colour, alpha=0.18, linewidth=0)
    axes.plot(ks, [m.value for m in measures], color=colour, marker="o", markersize=5, linewidth=2, label=report.name)


def _k_axis(axes: "Axes", ks: Sequence[int]) -> None:
    """Doubling steps, each k that was asked for written out."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, labels=[str(k) for k in ks])
    axes.minorticks_off()


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
    return _save(figure, path)


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
    window = max(1, len(rows) // SMOOTHED_OVER)
    smooth = rows[column].rolling(window, center=True, min_periods=1).mean()
    axes.plot(rows["step"], rows[column], color=colour, alpha=0.25, linewidth=1)
    axes.plot(rows["step"], smooth, color=colour, linewidth=2, label=label)


def _present(metrics: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Step and column where the column has a number."""
    return metrics[["step", column]].dropna() if column in metrics else metrics.iloc[:0]


def _finish(axes: "Axes", title: str) -> None:
    """Title on the left, legend on the right of the same line, so that neither covers a curve."""
    _tidy(axes)
    axes.margins(x=0.015)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0, ncols=3)


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)


def _save(figure: "Figure", path: Path) -> Path:
    """Through the Agg canvas; without a software version inside, so that the same picture has the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None}))
