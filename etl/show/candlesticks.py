"""A chart of candles for a terminal: candlesticks of half blocks and thin lines, below them what is marked, and volume.

Pure: candles in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.text import Text

from etl.schema import to_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe, from_ms, to_ms

# Told apart with any colour vision, on a light ground and on a dark one: see tests/test_colours.py.
UP, DOWN = "#1798a0", "#c0271d"
_MARK, _QUIET = "yellow", "dim"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL_EVERY = 4  # rows of the chart; of the price axis
_LEAST_WIDTH = 8  # columns of candles, however narrow the terminal
_AXIS = 18  # characters beside them that the most volume takes
_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
_TICKS_MS = [_MINUTE_MS * minutes for minutes in (5, 15, 30, 60, 120, 240, 480, 720)] + [
    _DAY_MS * days for days in (1, 2, 5, 10, 30, 100, 400)
]
_TICK_WIDTH = 18  # columns: a day, a time, and some room


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark beneath the candles: a range, and a moment in it."""

    time_range: TimeRange
    peak: datetime


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of the chart: one slot of the grid, or several; (n,) each, NaN where nothing is held.

    Attributes:
        starts_ms: When the first slot of each opens.
        width_ms: How much time a column stands for.
    """

    starts_ms: NDArray[np.int64]
    width_ms: int
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


def draw_candles(
    candles: pa.Table,
    timeframe: Timeframe,
    time_range: TimeRange,
    mark: Mark | None = None,
    *,
    width: int = 100,
    height: int = 16,
) -> Text:
    """Return a chart of candles as lines of text.

    Args:
        candles: CANDLE_SCHEMA, ascending; all within `time_range`.
        time_range: What the chart spans; where no candle is held it is empty.
        width: How many characters a line may have. A column of the chart stands for as many candles as need be.
        height: Lines of prices; above 1. A line for what is marked, three of volume and one of times come below.
    """
    if not candles.num_rows:
        return Text("no candle of it is held in the warehouse", style=_QUIET)
    columns = to_columns(candles)
    low, high = float(columns["low"].min()), float(columns["high"].max())
    labels = _price_labels(low, high, height)
    room = max(width - max(_AXIS, *map(len, labels.values())) - 1, _LEAST_WIDTH)
    shown = _gather(columns, timeframe, time_range, room)
    lines = [*_prices(shown, low, high, height, labels), *_volumes(shown, 3), _times(shown)]
    if mark is not None:
        lines.insert(height, _marked(shown, mark))
    per_column = shown.width_ms // timeframe.ms
    if per_column > 1:
        lines.append(Text(f"a column is {per_column} candles", style=_QUIET))
    return Text("\n").join(lines)


def _gather(columns: Mapping[str, NDArray[Any]], timeframe: Timeframe, span: TimeRange, room: int) -> _Columns:
    """Put as many slots into a column of the chart as it takes for all of them to fit."""
    first_ms = to_ms(timeframe.ceil(span.start))
    slots = max(-(-(span.end_ms - first_ms) // timeframe.ms), 1)
    each = -(-slots // room)
    count = -(-slots // each)
    place = (columns["open_time"] - first_ms) // (each * timeframe.ms)
    empty = np.full(count, np.nan)
    opened, close, high, low = (empty.copy() for _ in range(4))
    volume = np.zeros(count)
    np.fmax.at(high, place, columns["high"])
    np.fmin.at(low, place, columns["low"])
    np.add.at(volume, place, columns["volume"])
    opened[place[::-1]] = columns["open"][::-1]  # the first one of each place is written last
    close[place] = columns["close"]
    width_ms = each * timeframe.ms
    return _Columns(first_ms + width_ms * np.arange(count), width_ms, opened, high, low, close, volume)


def _prices(shown: _Columns, low: float, high: float, height: int, labels: Mapping[int, str]) -> Iterator[Text]:
    halves = 2 * height - 1
    lows, highs, opens, closes = (
        np.rint(_share(prices, low, high) * halves) for prices in (shown.low, shown.high, shown.open, shown.close)
    )
    feet, heads = np.fmin(opens, closes), np.fmax(opens, closes)
    for row in range(height):
        pair = [(half >= feet) & (half <= heads) for half in (halves - 1 - 2 * row, halves - 2 * row)]
        wicks = [(half >= lows) & (half <= highs) for half in (halves - 1 - 2 * row, halves - 2 * row)]
        cells = map(_cell, zip(*pair, strict=True), zip(*wicks, strict=True))
        yield _line(cells, shown, "", labels.get(row, ""))


def _line(cells: Iterable[str], shown: _Columns, style: str, label: str) -> Text:
    """Return a line in the colours of rising and falling candles, a label beside it."""
    colours = (f"{style}{UP if is_up else DOWN}" for is_up in shown.close >= shown.open)
    line = Text()
    for colour, run in groupby(zip(cells, colours, strict=True), lambda one: "" if one[0] == " " else one[1]):
        line.append("".join(cell for cell, _ in run), style=colour)
    line.append(f" {label}" if label else "", style=_QUIET)
    return line


def _cell(body: Sequence[np.bool_], wick: Sequence[np.bool_]) -> str:
    """Return the character for a cell of which the lower and the upper half are taken; a body hides a wick."""
    if any(body):
        return "█" if all(body) else "▄" if body[0] else "▀"
    if any(wick):
        return "│" if all(wick) else "╷" if wick[0] else "╵"
    return " "


def _volumes(shown: _Columns, height: int) -> Iterator[Text]:
    most = float(shown.volume.max()) or 1.0
    # What was traded at all is seen.
    eighths = np.where(shown.volume > 0, np.maximum(np.rint(shown.volume / most * 8 * height), 1), 0).astype(np.int64)
    for row in range(height):
        filled = np.clip(eighths - 8 * (height - 1 - row), 0, 8)
        yield _line((_BLOCKS[level] for level in filled.tolist()), shown, "dim ", "" if row else f"{most:.6g} volume")


def _marked(shown: _Columns, mark: Mark) -> Text:
    ends = shown.starts_ms + shown.width_ms
    is_peak = (shown.starts_ms <= to_ms(mark.peak)) & (to_ms(mark.peak) < ends)
    is_inside = (shown.starts_ms < mark.time_range.end_ms) & (ends > mark.time_range.start_ms)
    return Text("".join(np.where(is_peak, "▲", np.where(is_inside, "━", " "))).rstrip(), style=_MARK)


def _times(shown: _Columns) -> Text:
    """Return when columns begin, at round times: with the day where it is another than at the last label."""
    enough = (one for one in _TICKS_MS if one >= _TICK_WIDTH * shown.width_ms)
    every = next(enough, _TICKS_MS[-1])
    line, last = "", None
    for place, start in enumerate(shown.starts_ms.tolist()):
        tick = from_ms(-(-start // every) * every)
        if to_ms(tick) >= start + shown.width_ms or place < len(line):
            continue
        day = f"{tick:%Y-%m-%d}" if last is None or last.date() != tick.date() else ""
        label = day if every >= _DAY_MS else f"{day} {tick:%H:%M}".strip()
        line, last = f"{line.ljust(place)}{label} ", tick
    return Text(line.rstrip() or f"{from_ms(int(shown.starts_ms[0])):%Y-%m-%d %H:%M}", style=_QUIET)


def _price_labels(low: float, high: float, height: int) -> dict[int, str]:
    """Return the price at the middle of some rows, with as many digits as tell them apart."""
    if high <= low:
        return {height // 2: f"{low:,.12g}"}
    step = (high - low) / (height - 1)
    digits = max(0, 1 - math.floor(math.log10(step)))
    rows = sorted({*range(0, height, _LABEL_EVERY), height - 1})
    prices = {row: high - row * step for row in rows}
    prices[height - 1] = low
    if digits > 14 or high >= 1e12:
        return {row: f"{price:.6g}" for row, price in prices.items()}
    return {row: f"{price:,.{digits}f}" for row, price in prices.items()}


def _share(price: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Return where prices lie between the lowest and the highest; in the middle if these are one."""
    if high <= low:
        return np.where(np.isnan(price), np.nan, 0.5)
    return (price - low) / (high - low)
