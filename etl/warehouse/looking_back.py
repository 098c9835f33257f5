"""The earlier candles that flags depend on, where the nearest slots do not hold enough: thin markets, and holes.

Between the two stores stands the caller, who hands in what reads the archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, select

from etl.schema import empty_candles, to_column
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.reading import read_candles_at_once
from etl.warehouse.retiring import ReadCandles, retired_ranges, with_retired
from etl.warehouse.tables import candles


@dataclass(frozen=True, slots=True)
class Lookback:
    """The span before a candle that its flags depend on.

    Attributes:
        traded: So many candles that traded, and whatever opens in as many slots of the grid, ...
        slots: ... within so many slots of the grid.
    """

    timeframe: Timeframe
    traded: int
    slots: int

    @property
    def near(self) -> timedelta:
        """The reach of the nearest slots, which hold enough unless many are empty."""
        return (self.traded + self.traded // 4) * self.timeframe.delta

    @property
    def far(self) -> timedelta:
        """The furthest reach of all."""
        return max(self.slots * self.timeframe.delta, self.near)

    def suffices(self, near: pa.Table) -> bool:
        """Return whether the candles of the nearest slots are all that counts."""
        return self.far == self.near or int(np.count_nonzero(to_column(near, "volume"))) >= self.traded


def read_far_before(
    connection: Connection, series_id: int, lookback: Lookback, moment: datetime, read: ReadCandles
) -> pa.Table:
    """Return the candles before the nearest slots that count for flags of those after a moment; empty if none does.

    Args:
        lookback: For which the candles of the nearest slots do not suffice.
        read: Returns what the archive holds of a range.
    """
    far = TimeRange(moment - lookback.far, moment - lookback.near)
    if retired_ranges(connection, series_id, far):
        stored = read_candles_at_once(connection, series_id, far)
        return with_retired(connection, series_id, far, stored, read)
    first = _nth_traded(connection, series_id, TimeRange(far.start, moment), lookback.traded, is_backwards=True)
    start = far.start if first is None else first
    return (
        empty_candles() if start >= far.end else read_candles_at_once(connection, series_id, TimeRange(start, far.end))
    )


def read_far_after(connection: Connection, series_id: int, lookback: Lookback, moment: datetime) -> pa.Table:
    """Return the candles after the nearest slots whose flags look back beyond a moment; empty if there is none.

    Args:
        lookback: For which the candles of the nearest slots do not suffice. Nothing that counts is retired.
    """
    far = TimeRange(moment + lookback.near, moment + lookback.far)
    last = _nth_traded(connection, series_id, TimeRange(moment, far.end), lookback.traded, is_backwards=False)
    end = far.end if last is None else last + lookback.timeframe.delta
    return (
        empty_candles() if end <= far.start else read_candles_at_once(connection, series_id, TimeRange(far.start, end))
    )


def _nth_traded(
    connection: Connection, series_id: int, time_range: TimeRange, count: int, *, is_backwards: bool
) -> datetime | None:
    """Return when the `count`th candle of a range that traded opens; None if there are fewer."""
    opened = candles.c.open_time
    traded = select(opened).where(
        candles.c.series_id == series_id,
        candles.c.volume > 0,
        opened >= time_range.start,
        opened < time_range.end,
    )
    order = opened.desc() if is_backwards else opened
    return connection.execute(traded.order_by(order).offset(count - 1).limit(1)).scalar()
