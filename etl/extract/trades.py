"""Candles out of trades, for an exchange whose own candles do not reach back: Kraken.

Pure. What comes out is what the exchange's own candles say, row for row: a minute without trades has a candle too, at
the last price before it.

Source: https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from etl.errors import MalformedPayloadError
from etl.extract.source import Page, Route
from etl.series import TimeRange
from etl.timeframe import Timeframe

TRADES_LIMIT = 1000
_PRICE, _VOLUME, _TIME, _ID = 0, 1, 2, 6
_LEADS_MS = (3_600_000, 24 * 3_600_000, 30 * 24 * 3_600_000)  # how far before a range its last price is looked for


def rest_of_trades(page: Page) -> TimeRange | None:
    """Return the window that is still to be asked for after `page`, whose answer ends at a trade; None if none is.

    The next answer begins in the millisecond that this one ended in, so that nothing between two answers is lost.

    Raises:
        MalformedPayloadError: A full answer lies within one millisecond, so that no time leads past it.
    """
    times = [at for row in page.rows() if (at := _time_ms(row)) is not None]
    if not times or max(times) >= page.window.end_ms:
        return None
    last_ms = max(times)
    if last_ms <= page.window.start_ms:
        if len(times) >= TRADES_LIMIT:
            message = f"{len(times)} trades in one millisecond; the exchange's Trades cannot be paged past them"
            raise MalformedPayloadError(message, series=page.series, time_range=page.window)
        last_ms = page.window.start_ms + 1
    return TimeRange.from_ms(last_ms, page.window.end_ms) if last_ms < page.window.end_ms else None


def lead_windows(start_ms: int) -> list[TimeRange]:
    """Return where the last price before `start_ms` may be found: three windows, each further back than the last."""
    ends = (0, *_LEADS_MS)
    return [TimeRange.from_ms(start_ms - far, start_ms - near) for near, far in zip(ends, _LEADS_MS, strict=False)]


def has_trade_before(page: Page, end_ms: int) -> bool:
    """Return whether a trade of `page` happened before `end_ms`."""
    return any((at := _time_ms(row)) is not None and at < end_ms for row in page.rows())


def to_candles(pages: Sequence[Page], timeframe: Timeframe, time_range: TimeRange) -> list[list[Any]]:
    """Build the rows of Kraken's OHLC from answers of its Trades.

    Args:
        pages: Of `Route.TRADES`; a trade that two of them have counts once.
        time_range: What opens outside is left out; trades before it give the first close.

    Returns:
        A row for each candle of the windows in the range, ascending, once there was a trade:
        `[open_time_s, open, high, low, close, vwap, volume, trades]`.
    """
    slots = sorted(
        {
            slot
            for page in pages
            for slot in range(page.window.start_ms // timeframe.ms, -(-page.window.end_ms // timeframe.ms))
            if time_range.start_ms <= slot * timeframe.ms < time_range.end_ms
        }
    )
    traded = {slot: list(trades) for slot, trades in groupby(_trades(pages), key=lambda t: t[0] // timeframe.ms)}
    before = [slot for slot in traded if slots and slot < slots[0]]
    close = traded[max(before)][-1][1] if before else None
    rows: list[list[Any]] = []
    for slot in slots:
        open_time_s = slot * timeframe.ms // 1000
        if slot in traded:
            rows.append([open_time_s, *_candle(traded[slot])])
            close = rows[-1][4]
        elif close is not None:
            rows.append([open_time_s, close, close, close, close, "0.0", "0.00000000", 0])
    return rows


def _trades(pages: Iterable[Page]) -> list[tuple[int, str, Decimal]]:
    """Return each trade once, in order: time in milliseconds, price as printed, volume."""
    seen: dict[Any, tuple[float, int, str, Decimal]] = {}
    for page in pages:
        if page.route is not Route.TRADES:
            continue
        for row in page.rows():
            at_ms = _time_ms(row)
            volume = None if at_ms is None else _amount(row[_VOLUME])
            if at_ms is None or volume is None or not _amount(row[_PRICE]):
                message = f"{str(row)[:80]} is no trade"
                raise MalformedPayloadError(message, series=page.series, time_range=page.window)
            key = row[_ID] if len(row) > _ID else tuple(map(str, row))
            seen[key] = (float(row[_TIME]), at_ms, row[_PRICE], volume)
    # Trades of one instant keep the exchange's order: by their number.
    order = sorted(seen.items(), key=lambda item: (item[1][0], item[0] if isinstance(item[0], int) else 0))
    return [(at_ms, price, volume) for _, (_, at_ms, price, volume) in order]


def _candle(trades: Sequence[tuple[int, str, Decimal]]) -> list[Any]:
    prices = [price for _, price, _ in trades]
    volume = sum((volume for _, _, volume in trades), Decimal(0))
    value = sum((Decimal(price) * amount for _, price, amount in trades), Decimal(0))
    vwap = value / volume if volume else Decimal(0)
    high, low = max(prices, key=Decimal), min(prices, key=Decimal)
    return [prices[0], high, low, prices[-1], f"{vwap:f}", f"{volume:f}", len(trades)]


def _time_ms(row: Any) -> int | None:
    is_trade = isinstance(row, list) and len(row) > _TIME and type(row[_TIME]) in {int, float}
    return int(row[_TIME] * 1000) if is_trade and 0 <= row[_TIME] < 2**40 else None


def _amount(text: Any) -> Decimal | None:
    try:
        amount = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() and amount >= 0 else None
