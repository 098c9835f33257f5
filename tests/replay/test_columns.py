"""Candles by column are the rows, and their text is exact."""

from __future__ import annotations

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from etl.replay import MadeUpMarket, binance, coinbase
from etl.replay.columns import print_decimals, to_columns, to_rows
from etl.replay.market import Row
from etl.timeframe import Timeframe

FIRST_DAY = 19_800  # 2024-03-18


@given(st.lists(st.integers(0, 200) | st.integers(0, 10**18), max_size=50))
def test_decimals_are_printed_in_full(units: list[int]) -> None:
    """Eight places, no exponent, however small."""
    expected = [f"{value // 10**8}.{value % 10**8:08d}" for value in units]
    assert print_decimals(np.array(units, dtype=np.int64)).to_pylist() == expected


def test_columns_are_the_rows() -> None:
    """Days together, or one by one, or as rows: the same candles."""
    market = MadeUpMarket(seed=7)
    for timeframe in (Timeframe.M5, Timeframe.H4):
        together = to_rows(market.columns("DOGE/USDT", timeframe, range(FIRST_DAY, FIRST_DAY + 3)))
        bounds = (day * Timeframe.D1.ms for day in (FIRST_DAY, FIRST_DAY + 3))
        assert list(together) == list(market.rows("DOGE/USDT", timeframe, *bounds, 1 << 20))
        assert to_rows(to_columns(together)) == together
    assert to_rows(market.columns("DOGE/USDT", Timeframe.H1, range(3))) == ()


def test_what_was_not_recorded_is_null_in_every_protocol() -> None:
    """Not the text null, not zero."""
    columns = to_columns([Row(60_000, "1.50", "2.0", "1.0", None, "100", None, None, None, None)])
    [kline] = binance.print_candles(columns, Timeframe.M1)
    [candle] = coinbase.print_candles(columns, Timeframe.M1)
    assert orjson.loads(b"[%b]" % kline) == [
        *(60_000, "1.50", "2.0", "1.0", None, "100", 119_999, None, None, None, None),
        "0",
    ]
    assert orjson.loads(b"[%b]" % candle) == [60, 1, 2, 1.5, None, 100]
