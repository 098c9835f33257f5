"""A small picture of an incident: candles, what other venues did, volume; the incident is shaded.

A message has the dark one, whose ground makes it legible on any screen. A page shows the one of its own theme. The same
candles give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.alerts.phrases import number
from etl.alerts.telling import NAMES, place
from etl.incidents import Incident
from etl.schema import to_columns
from etl.timeframe import from_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _DPI = 640, 320, 100
_SHADE = "#f2b134"
_MOST_CANDLES = 160
"""Beyond that many slots candles would touch: closes are drawn as a line."""
_TICKS_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440, 2880, 10080, 43200)
_FEWEST_TICKS = 4
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a chart.

    Attributes:
        up, down: Of candles; those of the market page in the same theme.
        others: Of the lines of other venues.
    """

    ground: str
    ink: str
    faint: str
    up: str
    down: str
    others: tuple[str, ...]


DARK = Theme("#14181f", "#c9d1d9", "#3b434e", "#5fd3c0", "#e0503f", ("#7aa2f7", "#bb9af7", "#e0af68"))
LIGHT = Theme("#ffffff", "#15191f", "#d9dde3", "#1798a0", "#c0271d", ("#2f5fd0", "#7b45c9", "#946300"))


def chart_png(
    candles: pa.Table, incident: Incident, others: Sequence[tuple[str, pa.Table]] = (), theme: Theme = DARK
) -> bytes:
    """Draw the candles around an incident.

    Args:
        candles: CANDLE_SCHEMA, ascending, at least one.
        others: Other venues' candles, by name, three at most: their closes are drawn, moved to this venue's level.

    Raises:
        ValueError: There is no candle.
    """
    if not len(candles):
        raise ValueError("no candles to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, facecolor=theme.ground)
    FigureCanvasAgg(figure)
    columns = to_columns(candles)
    width_ms = incident.found.series.timeframe.ms
    start_ms = int(columns["open_time"][0])
    slots = (columns["open_time"] - start_ms) / width_ms
    prices, volumes = _axes(figure, theme)
    for axes in (prices, volumes):
        span = incident.found.time_range
        axes.axvspan(
            *((ms - start_ms) / width_ms - 0.5 for ms in (span.start_ms, span.end_ms)),
            color=_SHADE,
            alpha=0.22,
            linewidth=0,
        )
        axes.set_xlim(-1, slots[-1] + 1)
    _draw_prices(prices, slots, columns, theme)
    for (name, table), colour in zip(others, theme.others, strict=False):
        _draw_other(prices, name, to_columns(table), columns, (start_ms, width_ms, colour))
    if prices.get_legend_handles_labels()[0]:
        prices.legend(loc="best", fontsize=8, frameon=False, labelcolor=theme.ink, handlelength=1.2)
    volumes.vlines(slots, 0, columns["volume"], colors=_colours(columns, theme), linewidth=_stroke(slots))
    volumes.set_ylim(0, max(float(columns["volume"].max()), 1e-300) * 1.05)
    _label(prices, volumes, incident, (from_ms(start_ms), timedelta(milliseconds=width_ms), float(slots[-1])), theme)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=_DPI, facecolor=theme.ground, metadata={"Software": None})
    return written.getvalue()


def _axes(figure: Figure, theme: Theme) -> tuple[Axes, Axes]:
    """Return the axes of prices, and below them those of volumes."""
    prices, volumes = figure.add_axes((0.035, 0.32, 0.835, 0.57)), figure.add_axes((0.035, 0.1, 0.835, 0.19))
    for axes in (prices, volumes):
        axes.set_facecolor(theme.ground)
        axes.yaxis.tick_right()
        axes.tick_params(colors=theme.ink, labelsize=8, length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=True, color=theme.faint, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
    return prices, volumes


def _colours(columns: Columns, theme: Theme) -> list[str]:
    """Return the colour of each candle."""
    colours: list[str] = np.where(columns["close"] >= columns["open"], theme.up, theme.down).tolist()
    return colours


def _stroke(slots: NDArray[np.float64]) -> float:
    """Return how wide a candle is, in points."""
    return max(0.6, min(9.0, 0.62 * 0.835 * _WIDTH * 72 / _DPI / (float(slots[-1]) + 2)))


def _draw_prices(axes: Axes, slots: NDArray[np.float64], columns: Columns, theme: Theme) -> None:
    opened, close = columns["open"], columns["close"]
    low, high = float(columns["low"].min()), float(columns["high"].max())
    room = 0.06 * (high - low) or 0.01 * high
    axes.set_ylim(low - room, high + room)
    if slots[-1] > _MOST_CANDLES:
        axes.fill_between(slots, columns["low"], columns["high"], color=theme.ink, alpha=0.25, linewidth=0)
        axes.plot(slots, close, color=theme.ink, linewidth=1.1)
        return
    colours = _colours(columns, theme)
    axes.vlines(slots, columns["low"], columns["high"], colors=colours, linewidth=0.9)
    least = (high - low) / 250  # a candle that ends where it began is a dash, not nothing
    half = np.maximum(np.abs(close - opened), least) / 2
    middle = (opened + close) / 2
    axes.vlines(slots, middle - half, middle + half, colors=colours, linewidth=_stroke(slots))


def _draw_other(axes: Axes, name: str, other: Columns, own: Columns, by: tuple[int, int, str]) -> None:
    """Draw another venue's closes, moved so that both begin at one level where both hold a candle."""
    start_ms, width_ms, colour = by
    common, here, there = np.intersect1d(own["open_time"], other["open_time"], return_indices=True)
    if not len(common):
        return
    factor = own["close"][here[0]] / other["close"][there[0]]
    slots = (other["open_time"] - start_ms) / width_ms
    axes.plot(slots, other["close"] * factor, color=colour, linewidth=1.0, label=name)


def _label(
    prices: Axes, volumes: Axes, incident: Incident, grid: tuple[datetime, timedelta, float], theme: Theme
) -> None:
    """Write what it is above, prices at the right, and times below."""
    found = incident.found
    title = f"{place(incident)}, {found.series.timeframe}: {NAMES[found.kind]}"
    prices.set_title(title, loc="left", color=theme.ink, fontsize=10)
    prices.set_title(f"{found.peak:%Y-%m-%d %H:%M} UTC", loc="right", color=theme.ink, fontsize=9)
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    prices.yaxis.set_major_locator(MaxNLocator(5))
    volumes.yaxis.set_major_locator(MaxNLocator(2))
    prices.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    volumes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    start, width, last = grid
    moments = _times(start, width * last)
    at = [(moment - start) / width for moment in moments]
    prices.set_xticks(at, [""] * len(at))
    is_days = len(moments) > 1 and moments[1] - moments[0] >= timedelta(days=1)
    volumes.set_xticks(at, [f"{moment:%d %b}" if is_days else f"{moment:%H:%M}" for moment in moments])


def _times(start: datetime, length: timedelta) -> list[datetime]:
    """Return round times within the chart, four or more if there are."""
    minutes = [one for one in _TICKS_MIN if timedelta(minutes=one) * _FEWEST_TICKS <= length]
    step = timedelta(minutes=minutes[-1] if minutes else 1)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + -(-(start - midnight) // step) * step
    return [first + step * number for number in range(int((start + length - first) / step) + 1)]
