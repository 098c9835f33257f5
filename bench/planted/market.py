"""A market of rows as they are given, sound or not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from etl.replay.columns import to_columns
from etl.replay.market import Columns, Lifetime, Row, Steps
from etl.timeframe import Timeframe

DAY_MS = Timeframe.D1.ms


class RowsMarket:
    """A market of rows as they are given, sound or not, behind the replay exchange's seam; days are made of minutes.

    Args:
        rows: By symbol, ascending by open time.
    """

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self._rows = {(symbol, Timeframe.M1): list(own) for symbol, own in rows.items()}
        self._rows |= {(symbol, Timeframe.D1): list(_days(own)) for symbol, own in rows.items()}
        self._times = {key: [row.open_time_ms for row in own] for key, own in self._rows.items()}

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order given."""
        return tuple(dict.fromkeys(symbol for symbol, _ in self._rows))

    def timeframes(self, symbol: str) -> frozenset[Timeframe]:
        """Return minutes and days."""
        return frozenset((Timeframe.M1, Timeframe.D1))

    def steps(self, symbol: str) -> Steps:
        """Return the smallest steps that can be printed."""
        return Steps("0.00000001", "0.00000001")

    def lifetime(self, symbol: str) -> Lifetime:
        """Return no bounds: the rows say."""
        return Lifetime()

    def rows(
        self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the first `limit` rows with open_time in `[start_ms, end_ms)`; see `Market.rows`."""
        first, end = (bisect_left(self._times[symbol, timeframe], bound) for bound in (start_ms, end_ms))
        return self._rows[symbol, timeframe][first : min(end, first + limit)]

    def last_rows(
        self, symbol: str, timeframe: Timeframe, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the last `limit` rows with open_time before `end_ms`; see `Market.last_rows`."""
        end = bisect_left(self._times[symbol, timeframe], end_ms)
        return self._rows[symbol, timeframe][max(0, end - limit) : end]

    def columns(self, symbol: str, timeframe: Timeframe, days: range) -> Columns:
        """Return the rows of `days`; see `Market.columns`."""
        return to_columns(self.rows(symbol, timeframe, days.start * DAY_MS, days.stop * DAY_MS, 1 << 40))


def _days(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for each day that has any, with the values of its first minute: enough to say that there are some."""
    for place, row in enumerate(rows):
        day = row.open_time_ms // DAY_MS
        if place == 0 or rows[place - 1].open_time_ms // DAY_MS != day:
            yield row._replace(open_time_ms=day * DAY_MS)
