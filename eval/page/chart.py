"""A line chart laid out for SVG: where everything stands, in units of a phone's width. The template draws it, a style sheet colours it.

It is drawn here, and not by a plotting library, so that one picture follows the reader's light or dark theme and typeface.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

WIDTH, HEIGHT = 344, 216
"""Of the picture. A phone of 360 px shows it at 95 %, so that its smallest text, 12 units high, keeps more than 11 px."""
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 10, 42
"""Margins around the plot."""
CHARACTER = 7.0
"""Width of a character of the tick labels, at the most."""
STYLES = 7
"""Colours, dashes and marks that the style sheet and the template tell apart."""


def number(value: float) -> str:
    """As a tick is labelled.

    >>> number(0.25), number(-12500.0)
    ('0.25', '−12,500')
    """
    return f"{value:,.7g}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of points. NaN leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Lower ends of a band around the line; empty for none."""
    high: Sequence[float] = ()
    faint: Sequence[float] = ()
    """What the line smooths, drawn behind it; empty for nothing."""
    style: int = 0
    """Which colour, dash and mark."""
    marked: bool = False
    """Each point has a mark, which names its numbers under the pointer."""
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis with its ticks, numbers in ascending order."""

    label: str
    ticks: Sequence[float] = ()
    """Empty to choose round ones."""
    scale: Callable[[float], float] = float
    text: Callable[[float], str] = number
    """How a tick, and a number in the table, is written."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line in the units of the picture."""

    name: str
    style: int
    joined: bool
    marked: bool
    path: str
    band: str
    faint: str
    marks: Sequence[tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a template needs."""

    key: str
    """Unique on the page."""
    title: str
    says: str
    """What is to be seen, for the caption and for those who don't see it."""
    x_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Drawn]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The numbers as a table."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart(key: str, title: str, says: str, lines: Sequence[Line], x: Axis, y: Axis) -> Chart:
    """Lay out lines that have at least one point between them. The vertical axis always holds 0."""
    across, up = _across(lines, x), _up(lines, y)
    return Chart(
        key=key,
        title=title,
        says=says,
        x_label=x.label,
        x_ticks=_spaced([(across(x.scale(tick)), x.text(tick)) for tick in x.ticks or _round_ticks(*_reach(_xs(lines)), 5)]),
        y_ticks=[(up(tick), y.text(tick)) for tick in y.ticks or _y_ticks(lines)],
        lines=[_drawn(line, across, up, x) for line in lines],
        header=(x.label, *(line.name for line in lines)),
        rows=_table(lines, x),
    )


def _drawn(line: Line, across: Callable[[float], float], up: Callable[[float], float], x: Axis) -> Drawn:
    places = [across(x.scale(value)) for value in line.x]
    heights = [up(value) for value in line.y]
    return Drawn(
        name=line.name,
        style=line.style % STYLES,
        joined=line.joined,
        marked=line.marked,
        path=_path(zip(places, heights, strict=True)),
        band=_band(places, [up(value) for value in line.low], [up(value) for value in line.high]),
        faint=_path(zip(places, [up(value) for value in line.faint], strict=True)) if len(line.faint) else "",
        marks=_marks(line, places, heights, x) if line.marked else (),
    )


def _marks(line: Line, places: Sequence[float], heights: Sequence[float], x: Axis) -> list[tuple[float, float, str]]:
    return [
        (place, height, f"{line.name}, {x.label} {x.text(line.x[index])}: {_cell(line, index)}")
        for index, (place, height) in enumerate(zip(places, heights, strict=True))
        if isfinite(height)
    ]


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Pieces of a line, broken where a point is missing."""
    parts: list[str] = []
    joined = False
    for place, height in points:
        if isfinite(height):
            parts.append(f"{'L' if joined else 'M'}{place:.1f} {height:.1f}")
        joined = isfinite(height)
    return "".join(parts)


def _band(places: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    """Along the upper ends and back along the lower ones."""
    if not low:
        return ""
    there, back = zip(places, high, strict=True), zip(reversed(places), reversed(low), strict=True)
    return _path([*there, *back]) + "Z"


def _across(lines: Sequence[Line], axis: Axis) -> Callable[[float], float]:
    """From the axis to the picture; a single place stands in the middle."""
    low, high = _reach([axis.scale(value) for value in (*_xs(lines), *axis.ticks)])
    inside = WIDTH - LEFT - RIGHT
    if low == high:
        return lambda _: LEFT + inside / 2
    pad = 8  # a mark at the end keeps clear of the axis
    return lambda value: LEFT + pad + (value - low) / (high - low) * (inside - 2 * pad)


def _up(lines: Sequence[Line], axis: Axis) -> Callable[[float], float]:
    low, *_, high = axis.ticks or _y_ticks(lines)
    return lambda value: HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _y_ticks(lines: Sequence[Line]) -> list[float]:
    low, high = _reach([value for line in lines for value in (*line.y, *line.low, *line.high, *line.faint)])
    return _round_ticks(min(0.0, low), max(0.0, high) or 1.0, 5)


def _round_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(tick), 10) for tick in ticks]


def _xs(lines: Sequence[Line]) -> list[float]:
    return sorted({float(value) for line in lines for value in line.x})


def _reach(values: Iterable[float]) -> tuple[float, float]:
    known = [float(value) for value in values if isfinite(value)] or [0.0]
    return min(known), max(known)


def _spaced(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those inside the plot whose labels keep clear of the one before."""
    kept: list[tuple[float, str]] = []
    free = LEFT - 8.0
    for place, text in ticks:
        half = CHARACTER * len(text) / 2
        if place - half >= free and place <= WIDTH - RIGHT:
            kept.append((place, text))
            free = place + half + CHARACTER
    return kept


def _table(lines: Sequence[Line], x: Axis) -> list[tuple[str, ...]]:
    places = [{float(value): index for index, value in enumerate(line.x)} for line in lines]
    return [
        (x.text(value), *(_cell(line, at[value]) if value in at else "" for line, at in zip(lines, places, strict=True)))
        for value in _xs(lines)
    ]


def _cell(line: Line, index: int) -> str:
    if not isfinite(line.y[index]):
        return ""
    found = f"{line.y[index]:.3f}" if abs(line.y[index]) < 10 else f"{line.y[index]:.1f}"
    band = f" ({line.low[index]:.3f} to {line.high[index]:.3f})" if len(line.low) else ""
    return (found + band).replace("-", "−")
