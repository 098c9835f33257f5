"""Look-ups whose cost follows what they return, however much the warehouse holds: counted in rows, not in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from etl.series import TimeRange
from etl.stores import Stores
from etl.timeframe import to_ms
from etl.warehouse import Lookback, begin_load
from etl.warehouse.listings import _KNOWN_FROM, known_from
from etl.warehouse.stated import _OF_RANGE, read_stated
from tests.conftest import BTC
from tests.markets import START

MANY = 20_000
MINUTE = timedelta(minutes=1)
HOUR = TimeRange(START, START + 60 * MINUTE)


def rows_read(connection: Connection, relation: str, statement: str, values: Mapping[str, Any]) -> int:
    """Return how many rows of a table PostgreSQL reads for a statement, those included that it throws away."""

    def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield plan
        for inner in plan.get("Plans", ()):
            yield from nodes(inner)

    connection.execute(text(f"ANALYZE {relation}"))
    explained = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"), values).scalar_one()
    found = [node for node in nodes(explained[0]["Plan"]) if node.get("Relation Name") == relation]
    assert found
    kept = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return round(sum(node["Actual Loops"] * sum(node.get(name, 0) for name in kept) for node in found))


def begin(stores: Stores) -> int:
    """Make the series, and return its number."""
    with begin_load(stores.warehouse, BTC, HOUR, "test", Lookback(BTC.timeframe, 0, 0)) as load:
        return load.series_id


def test_when_a_series_begins_is_looked_up_among_many_absences(stores: Stores) -> None:
    """Each judging asks for it: neither the absences before the first refused one nor those after it are read."""
    series_id = begin(stores)
    refused, retired = START + 901 * MINUTE, START + 500 * MINUTE
    own = {"series_id": series_id, "start": START, "many": MANY, "minute": MINUTE}
    many = text(
        "INSERT INTO absences (series_id, span, kind, evidence, probes) SELECT :series_id,"
        " tstzrange(:start + n * :minute, :start + (n + 1) * :minute), 'no_trades', '', 0"
        " FROM generate_series(0, 2 * :many, 2) n"
    )
    one = text(
        "INSERT INTO absences (series_id, span, kind, evidence, probes)"
        " VALUES (:series_id, tstzrange(:start, :end), 'refused', '', 0)"
    )
    checkpoint = (
        "INSERT INTO checkpoints (series_id, range_start, range_end, rows, absent, quarantined, value_hash,"
        " archive_files, run, is_retired) VALUES (:series_id, :from, :to, :rows, 0, 0, '', '{}', 'test', true)"
    )
    with stores.warehouse.begin() as connection:
        connection.execute(many, own)
        assert known_from(connection, BTC.exchange, BTC.timeframe) == {}
        connection.execute(one, {"series_id": series_id, "start": refused, "end": refused + MINUTE})
        assert known_from(connection, BTC.exchange, BTC.timeframe) == {series_id: to_ms(refused)}
        # Of the empty retired range nothing is known; the other begins with an absence of a minute.
        for first, rows in ((retired - 10 * MINUTE, 0), (retired, 3), (retired + 10 * MINUTE, 3)):
            values = {"series_id": series_id, "from": first, "to": first + 10 * MINUTE, "rows": rows}
            connection.execute(text(checkpoint), values)
        assert known_from(connection, BTC.exchange, BTC.timeframe) == {series_id: to_ms(retired + MINUTE)}
        wanted = {"exchange": BTC.exchange, "timeframe": BTC.timeframe.value}
        assert rows_read(connection, "absences", _KNOWN_FROM.text, wanted) <= 4


def test_silences_that_a_file_states_are_looked_up_by_their_range(stores: Stores) -> None:
    """Each judging asks for those of a few days: neither others of the series are read nor those of others."""
    series_id = begin(stores)
    many = text(
        "INSERT INTO stated_silences (series_id, span, run) SELECT :series_id,"
        " tstzrange(:start + n * :minute, :start + (n + 1) * :minute), 'test' FROM generate_series(0, 2 * :many, 2) n"
    )
    other = text("INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', 'ETH/USDT', '1m') RETURNING id")
    wanted = {"series_id": series_id, "start": HOUR.start + MANY * MINUTE, "end": HOUR.end + MANY * MINUTE}
    with stores.warehouse.begin() as connection:
        for number in (series_id, connection.execute(other).scalar_one()):
            connection.execute(many, {"series_id": number, "start": START, "many": MANY, "minute": MINUTE})
        found = read_stated(connection, series_id, TimeRange(wanted["start"], wanted["end"]))
        assert [span.start - wanted["start"] for span in sorted(found)] == [2 * n * MINUTE for n in range(30)]
        assert rows_read(connection, "stated_silences", _OF_RANGE.text, wanted) <= 30


def test_flags_as_of_a_moment_are_looked_up_for_the_candles_that_are_read(stores: Stores) -> None:
    """A user who names the series by its symbol pays for the candles of an hour, not for all changes of flags."""
    own = {"series_id": begin(stores), "start": START, "many": MANY, "minute": MINUTE}
    candles = (
        "INSERT INTO candles (series_id, open_time, open, high, low, close, volume, flags, source, stored_at)"
        " SELECT :series_id, :start + n * :minute, 1, 1, 1, 1, 1, 0, 1, '2025-01-01Z' FROM generate_series(0, :many) n"
    )
    changes = (
        "INSERT INTO flag_changes (series_id, open_time, replaced_at, flags)"
        " SELECT :series_id, :start + n * :minute, '2025-03-01Z'::timestamptz + k * interval '1 day', 4 + k"
        " FROM generate_series(0, :many) n, generate_series(0, 1) k"
    )
    read = (
        "SELECT flags FROM candles_as_of(:moment) JOIN series ON series.id = series_id"
        " WHERE symbol = :symbol AND open_time >= :first AND open_time < :end"
    )
    wanted = {"symbol": BTC.symbol, "first": START + (MANY - 60) * MINUTE, "end": START + MANY * MINUTE}
    with stores.warehouse.begin() as connection:
        for statement in (candles, changes):
            connection.execute(text(statement), own)
        for month, day, flags in ((2, 1, 4), (3, 2, 5), (4, 1, 0)):
            wanted["moment"] = datetime(2025, month, day, tzinfo=UTC) - MINUTE
            assert set(connection.execute(text(read), wanted).scalars()) == {flags}
        wanted["moment"] = datetime(2025, 2, 1, tzinfo=UTC)
        assert rows_read(connection, "flag_changes", read, wanted) <= 60
