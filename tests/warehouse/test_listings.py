"""Beginning and end of a series, as loads find them out."""

from __future__ import annotations

from etl.series import TimeRange
from etl.stores import Stores
from etl.timeframe import from_ms, to_ms
from etl.warehouse import Listing, Lookback, begin_load, read_listing, read_status
from etl.warehouse.listings import write_listing
from tests.conftest import BTC
from tests.markets import START

FIRST_MS = to_ms(START)
END_MS = FIRST_MS + 60 * 60_000


def test_an_end_is_kept_until_the_series_goes_on(stores: Stores) -> None:
    """An end that a load finds out stays; a load of the past says nothing of it, a later candle revokes it."""
    span = TimeRange(START, from_ms(END_MS))
    with begin_load(stores.warehouse, BTC, span, "test", Lookback(BTC.timeframe, 0, 0)) as load:
        series_id = load.series_id
    for facts, ended_ms in (
        ({"first_ms": FIRST_MS, "end_ms": None, "last_ms": None}, None),
        ({"first_ms": None, "end_ms": END_MS, "last_ms": END_MS - 60_000}, END_MS),
        ({"first_ms": None, "end_ms": None, "last_ms": FIRST_MS}, END_MS),
        ({"first_ms": None, "end_ms": None, "last_ms": END_MS}, None),
    ):
        with stores.warehouse.begin() as connection:
            write_listing(connection, series_id, **facts)
            assert read_listing(connection, BTC) == Listing(first_ms=FIRST_MS, ended_ms=ended_ms)
            (status,) = read_status(connection)
        assert (status.first_open, status.ended) == (START, None if ended_ms is None else from_ms(ended_ms))
