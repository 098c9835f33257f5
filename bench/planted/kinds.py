"""Kinds of faults of a candle: each with what is served instead, and the name that it must be found under.

Adding one is a function and a line in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from etl.replay.market import Row
from etl.timeframe import Timeframe

MINUTE_MS = Timeframe.M1.ms
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Soil:
    """Candles that a fault is made from.

    Attributes:
        rows: What stands in its slots.
        last: The row before them.
        volume: The median volume of the hour before.
        quote: What the protocol puts around a price.
    """

    start_ms: int
    rows: Sequence[Row | None]
    last: Row
    volume: float
    number: int
    quote: str

    @property
    def row(self) -> Row:
        """The row in the first slot, which is always there."""
        assert self.rows[0] is not None
        return self.rows[0]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        found_as: The rule, flag or kind of absence that it must be found under; or `repeated`, `revised`, `filled`.
        plant: Returns the rows that are served instead.
        slots: How many slots it takes, or at most takes.
        varies: Whether lengths from one slot to `slots` take turns.
        is_quiet: Whether it is planted in quiet minutes only.
        is_shared: Whether it befalls all symbols at once.
        is_lone: Whether it befalls no two symbols at once.
        is_mended: Whether the exchange serves the sound rows when it is asked again.
    """

    name: str
    found_as: str
    plant: Callable[[Soil], Sequence[Row]]
    slots: int = 1
    varies: bool = False
    is_quiet: bool = False
    is_shared: bool = False
    is_lone: bool = False
    is_mended: bool = False


def _text(value: float) -> str:
    return f"{value:.10f}"


def _with(row: Row, **values: float) -> Row:
    texts: dict[str, Any] = {name: _text(value) for name, value in values.items()}
    return row._replace(**texts)


def values(row: Row) -> tuple[float, float, float, float]:
    """Return open, high, low and close."""
    opened, high, low, closed = (float(getattr(row, name)) for name in PRICES)
    return opened, high, low, closed


def _null(soil: Soil) -> Sequence[Row]:
    nothing: dict[str, Any] = {PRICES[soil.number % 4]: None}
    return [soil.row._replace(**nothing)]


def _not_positive(soil: Soil) -> Sequence[Row]:
    low = values(soil.row)[2]
    ways: tuple[dict[str, float], ...] = ({"low": -low}, {"low": 0.0}, dict.fromkeys(PRICES, 0.0))
    return [_with(soil.row, **ways[soil.number % 3])]


def _broken_ohlc(soil: Soil) -> Sequence[Row]:
    opened, high, low, closed = values(soil.row)
    below, above = max(opened, closed) * 0.99, min(opened, closed) * 1.01
    ways = (
        {"high": low * 0.99, "low": high},
        {"high": below, "low": min(low, below)},
        {"low": above, "high": max(high, above)},
    )
    return [_with(soil.row, **ways[soil.number % 3])]


def _nearly_ohlc(soil: Soil) -> Sequence[Row]:
    opened, high, low, closed = values(soil.row)
    below, above = max(opened, closed) * 0.9995, min(opened, closed) * 1.0005
    ways = ({"high": below, "low": min(low, below)}, {"low": above, "high": max(high, above)})
    return [_with(soil.row, **ways[soil.number % 2])]


def _negative(soil: Soil) -> Sequence[Row]:
    return [_with(soil.row, volume=-1.0 - soil.volume)]


def _off_grid(soil: Soil) -> Sequence[Row]:
    return [soil.row._replace(open_time_ms=soil.row.open_time_ms + 1000 * (1 + soil.number % 59))]


def early(row: Row) -> Row:
    """Return a row as it stood before its minute was over."""
    return _with(row, close=values(row)[0], volume=float(row.volume or 0) / 3 + 1e-6)


def _conflicting(soil: Soil) -> Sequence[Row]:
    return [early(soil.row), soil.row]


def _torn(soil: Soil) -> Sequence[Row]:
    """Tear the row in two by a stray pair of brackets: neither part has all the values."""
    return [soil.row._replace(open=f"{soil.row.open}{soil.quote}],[{soil.quote}{soil.row.open}")]


def _frozen(soil: Soil) -> Iterator[Row]:
    for place, row in enumerate(soil.rows):
        volume = row.volume if row is not None and float(row.volume or 0) > 0 else _text(soil.volume)
        yield _still(soil, place)._replace(volume=volume)


def _without_volume(soil: Soil) -> Iterator[Row]:
    for place in range(len(soil.rows)):
        yield _still(soil, place)._replace(volume="0")


def _still(soil: Soil, place: int) -> Row:
    """Return a row at the last close, of which no more is known."""
    price = soil.last.close
    return Row(soil.start_ms + place * MINUTE_MS, price, price, price, price, None, None, None, None, None)


def _wick(soil: Soil) -> Sequence[Row]:
    _, high, low, _ = values(soil.row)
    closed = values(soil.last)[3]
    ways = ({"low": min(low, closed * 0.98)}, {"high": max(high, closed * 1.02)})
    return [_with(soil.row, **ways[soil.number % 2])]


def _burst(soil: Soil) -> Sequence[Row]:
    return [_with(soil.row, volume=1000 * soil.volume)]


def _jump(soil: Soil) -> Sequence[Row]:
    factor = 1.05 if soil.number % 2 else 1 / 1.05
    rows = [row for row in soil.rows if row is not None]
    return [
        _with(row, **{name: value * factor for name, value in zip(PRICES, values(row), strict=True)}) for row in rows
    ]


KINDS: tuple[Kind, ...] = (
    Kind("a price is null", "not_a_number", _null),
    Kind("a price is zero or below", "not_positive", _not_positive),
    Kind("high below low, or 1 % inside the body", "ohlc", _broken_ohlc),
    Kind("high or low 0.05 % inside the body", "ohlc_tolerated", _nearly_ohlc),
    Kind("a volume is negative", "negative_amount", _negative),
    Kind("a time between two minutes", "off_grid", _off_grid),
    Kind("a row twice, with other values", "superseded", _conflicting),
    Kind("a row twice, and equal", "repeated", lambda soil: [soil.row, soil.row]),
    Kind("a row torn in two", "shape", _torn),
    Kind("one symbol silent, 1 to 30 minutes", "halted", lambda soil: [], slots=30, varies=True, is_lone=True),
    Kind("all symbols silent, 1 to 30 minutes", "outage", lambda soil: [], slots=30, varies=True, is_shared=True),
    Kind("a row that comes late", "filled", lambda soil: [], slots=3, varies=True, is_mended=True),
    Kind("a row that is changed later", "revised", lambda soil: [early(soil.row)], is_mended=True),
    Kind("30 minutes at one price", "frozen_price", lambda soil: list(_frozen(soil)), slots=30),
    Kind("90 minutes without volume", "zero_volume_run", lambda soil: list(_without_volume(soil)), slots=90),
    Kind("a wick of 2 % in a quiet minute", "price_outlier", _wick, is_quiet=True),
    Kind("a thousand times the volume", "volume_outlier", _burst),
    Kind("a jump of 5 %, and back after an hour", "jump", _jump, slots=60),
)
