"""A comparison in words: for a terminal, as Markdown."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reasoning_rl.eval.metrics import METRICS, Key, headline, label
from reasoning_rl.eval.report import figure, markdown_table, span

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

METHOD = (
    "Differences are paired by problem with the first run; their intervals are made of those of the two runs and of their correlation "
    "(Newcombe's). p is McNemar's (mid-p) where each problem has a plain yes or no in both runs, else that of a sign-flip "
    "permutation test. With several training seeds both are of a bootstrap over seeds and problems. Where several runs are compared "
    "p is Holm's, for all of them on a metric. Where p and the interval disagree, which they may at the edge, p decides."
)
HEADER = ("metric", "run", "value", "interval", "difference", "interval", "p")
ALONE = 4
"""Columns of a run that is compared with none."""


def comparison_markdown(frame: "pd.DataFrame") -> str:
    """The whole table of `compare` as Markdown, metric by metric."""
    rows = [row for block in _blocks(frame) for row in block]
    return markdown_table(HEADER[: _width(frame)], rows, words=2) + "\n"


def comparison_table(frame: "pd.DataFrame") -> "Table":
    """The headline of `compare` for a terminal of 100 columns."""
    from rich.markup import escape
    from rich.table import Table

    paired = f"; differences paired with {escape(str(frame['run'].iloc[0]))}{_corrected(frame)}" if _width(frame) > ALONE else ""
    table = Table(title=f"95 % intervals over {_over(frame)}{paired}", title_justify="left", title_style="")
    for column, name in enumerate(HEADER[: _width(frame)]):
        table.add_column(name, justify="left" if column < 2 else "right", no_wrap=column != 1, overflow="fold")
    shown = set(headline(_keys(frame)))
    for block in _blocks(frame, shown):
        for number, row in enumerate(block, start=1):
            table.add_row(*map(escape, row), end_section=number == len(block))
    return table


def detectable_note(frame: "pd.DataFrame") -> str:
    """What the first metric's evaluation or pairing could have found; empty where that is unknown."""
    rows = frame[(frame["metric"] == frame["metric"].iloc[0]) & (frame["k"] == frame["k"].iloc[0])]
    known = [(str(row["run"]), float(row["detectable"])) for row in rows.to_dict("records") if not math.isnan(row["detectable"])]
    first, name = str(frame["run"].iloc[0]), label(str(frame["metric"].iloc[0]), int(frame["k"].iloc[0]))
    if len(rows) == 1:
        return "".join(
            f"Another policy, on problems of its own, is told apart 4 times in 5 from a {name} {least:.3f} away on" for _, least in known
        )
    paired = [f"{least:.3f} for {run}" for run, least in known if run != first]
    return f"Differences of {name} that this comparison finds 4 times in 5: from {', '.join(paired)} on" if paired else ""


def _width(frame: "pd.DataFrame") -> int:
    return len(HEADER) if frame["run"].nunique() > 1 else ALONE


def _over(frame: "pd.DataFrame") -> str:
    return "seeds and problems" if (frame["seeds"] > 1).any() else "problems"


def _corrected(frame: "pd.DataFrame") -> str:
    return ", p after Holm" if frame["run"].nunique() > 2 else ""


def _keys(frame: "pd.DataFrame") -> list[Key]:
    """In the order in which they come first."""
    ks = frame["k"].astype(object).where(frame["k"].notna(), None)
    return list(dict.fromkeys(zip(frame["metric"], ks, strict=True)))


def _blocks(frame: "pd.DataFrame", shown: set[Key] | None = None) -> Iterator[list[tuple[str, ...]]]:
    """The rows of each metric in words; the metric's name stands once."""
    for metric, k in _keys(frame):
        if shown is None or (metric, k) in shown:
            chosen = frame[(frame["metric"] == metric) & (frame["k"].isna() if k is None else (frame["k"] == k).fillna(value=False))]
            words = [_words(row, label(metric, k) if number == 0 else "") for number, (_, row) in enumerate(chosen.iterrows())]
            yield [row[: _width(frame)] for row in words]


def _words(row: "pd.Series[Any]", name: str) -> tuple[str, ...]:
    metric = str(row["metric"])
    value, low, high, moved, moved_low, moved_high, p = (
        float(row[key]) for key in ("value", "low", "high", "difference", "difference_low", "difference_high", "p_holm")
    )
    shown = (name, str(row["run"]), figure(metric, value), span(metric, low, high))
    if math.isnan(moved):  # the first run, or a metric that it lacks
        return (*shown, "", "", "")
    return (*shown, signed(metric, moved), f"{signed(metric, moved_low)} to {signed(metric, moved_high)}", p_words(p))


def signed(metric: str, number: float) -> str:
    """A difference, with as many decimals as the metric has, and no minus where it rounds to 0.

    >>> signed("pass@k", 0.0412), signed("tokens", -3.26)
    ('+0.041', '-3.3')
    """
    return f"{number:+z.{METRICS[metric].decimals}f}"


def p_words(value: float) -> str:
    """Never 0.

    >>> p_words(0.0004), p_words(0.04)
    ('<0.001', '0.040')
    """
    return "<0.001" if value < 0.001 else f"{value:.3f}"
