"""Pictures of evaluations: pass@k against k, and how far runs are from the first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reasoning_rl.eval.metrics import METRICS, headline, label
from reasoning_rl.eval.plots import GREY, PALETTE, save, tidy
from reasoning_rl.eval.report import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MARKERS = "osD^vPX"


class Point(NamedTuple):
    """Of a curve of pass@k."""

    k: int
    value: float
    low: float
    high: float


def points_of(report: Report) -> list[Point]:
    """pass@k of a report."""
    return [Point(each.k, each.value, each.low, each.high) for each in report.metrics if each.metric == "pass@k" and each.k]


def curves_of(frame: "pd.DataFrame") -> dict[str, list[Point]]:
    """pass@k of the runs of a comparison, by name."""
    rows = frame[frame["metric"] == "pass@k"].sort_values("k", kind="stable")
    return {str(name): _points(rows[rows["run"] == name]) for name in dict.fromkeys(frame["run"])}


def _points(rows: "pd.DataFrame") -> list[Point]:
    return [Point(int(row["k"]), row["value"], row["low"], row["high"]) for _, row in rows.iterrows()]


def passk_plot(curves: Mapping[str, Sequence[Point]], path: Path) -> Path:
    """pass@k against k, one line with its 95 % band per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items()):
        _line(axes, name, points, number)
    axes.set(xlabel="k, samples per problem", ylabel="pass@k", ylim=(0, 1.02))
    axes.set_title("Problems solved by at least one of k samples", loc="left", fontsize=10, fontweight="bold")
    _k_axis(axes, sorted({point.k for points in curves.values() for point in points}))
    tidy(axes)
    if curves:
        axes.legend(frameon=False, loc="best")
    return save(figure, path)


def _line(axes: "Axes", name: str, points: Sequence[Point], number: int) -> None:
    ks, values, lows, highs = zip(*points) if points else ((), (), (), ())
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    axes.fill_between(ks, lows, highs, color=colour, alpha=0.18, linewidth=0)
    axes.plot(ks, values, color=colour, marker=marker, markersize=5, linewidth=2, label=name)


def _k_axis(axes: "Axes", ks: Sequence[int]) -> None:
    """Doubling steps, each k that was asked for written out."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, labels=[str(k) for k in ks])
    axes.minorticks_off()


def differences_plot(frame: "pd.DataFrame", path: Path) -> Path:
    """The paired differences of a comparison with their 95 % intervals: a row for each rate of the headline, a dot for each run."""
    from matplotlib.figure import Figure

    keys = [
        key for key in headline(zip(frame["metric"], frame["k"].astype(object).where(frame["k"].notna(), None))) if METRICS[key[0]].rate
    ]
    compared = frame[frame["difference"].notna()]
    names = list(dict.fromkeys(compared["run"]))
    rows = [(metric, k) for metric, k in dict.fromkeys(keys) if len(_of(compared, metric, k))]
    figure = Figure(figsize=(6.4, 1.2 + 0.22 * max(1, len(names)) * max(1, len(rows)) + 0.1 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1)
    for place, key in enumerate(reversed(rows)):
        for number, name in enumerate(names):
            _dot(axes, _of(compared[compared["run"] == name], *key), place - 0.3 + 0.6 * (number + 0.5) / len(names), name, number)
    axes.set_yticks(range(len(rows)), labels=[label(*key) for key in reversed(rows)])
    axes.set_xlabel(f"difference to {frame['run'].iloc[0]}, paired by problem, 95 % interval", fontsize=9)
    tidy(axes)
    _legend(axes, len(names))
    return save(figure, path)


def _of(frame: "pd.DataFrame", metric: str, k: int | None) -> "pd.DataFrame":
    chosen = frame[frame["metric"] == metric]
    return chosen[chosen["k"].isna()] if k is None else chosen[(chosen["k"] == k).fillna(value=False)]


def _dot(axes: "Axes", rows: "pd.DataFrame", height: float, name: str, number: int) -> None:
    for _, row in rows.iterrows():
        colour = PALETTE[number % len(PALETTE)]
        axes.plot([row["difference_low"], row["difference_high"]], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row["difference"], height, MARKERS[number % len(MARKERS)], color=colour, markersize=5, label=name)


def _legend(axes: "Axes", names: int) -> None:
    """Only where there are several runs to tell apart."""
    if names > 1:
        handles, labels = axes.get_legend_handles_labels()
        known = dict(zip(labels, handles))
        axes.legend(known.values(), known.keys(), frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
