"""Loading: what COPY carries, what a merge decides, and what is left when two loads meet."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from etl.audit import audit, is_sound
from etl.errors import ConfigError, SchemaMismatchError, StoreUnavailableError
from etl.ingest import clean_pages, load
from etl.schema import CANDLE_COLUMNS, Flag, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import from_ms, to_ms
from etl.warehouse import (
    begin_reading,
    ensure_series,
    known_series,
    merge,
    open_warehouse,
    read_absences,
    read_accounts,
    read_checkpoints,
    read_flagged_by,
    read_quality,
    record_unfetched,
    refresh_quality,
)
from etl.warehouse.around import days_of
from etl.warehouse.copying import copy_in, copy_out, fetch_out
from etl.warehouse.database import HEAD, MIGRATIONS, TooLongError
from etl.warehouse.holding import holding, mark_flagged_by
from etl.warehouse.reading import cursor_of, driver_of
from etl.warehouse.tables import metadata
from tests.candles import candle_tables
from tests.conftest import BTC
from tests.databases import empty_database
from tests.markets import START, kline, put_pages
from tests.patience import PATIENCE_S
from tests.snapshots import tables_of

ORIGIN_MS = to_ms(START)
WHOLE = TimeRange(START, from_ms(ORIGIN_MS + 40 * 60_000))
shared = HealthCheck.function_scoped_fixture


@given(candles=candle_tables())
@examples(suppress_health_check=[shared], max_examples=50)
def test_copy_carries_candles_bit_for_bit(candles: pa.Table, stores: Stores) -> None:
    """A table that goes in by binary COPY comes out equal, whatever is null in it; other series are left out."""
    with pytest.raises(ZeroDivisionError), stores.warehouse.begin() as connection:
        with cursor_of(connection) as cursor:
            copy_in(cursor, "candles", 2, candles)
            backwards = {name: values[::-1] for name, values in to_columns(candles).items()}
            copy_in(cursor, "candles", 1, from_columns(backwards))
            assert copy_out(cursor, 1, WHOLE).equals(candles)
            assert fetch_out(cursor, 1, WHOLE).equals(candles), "and as arrays, wherever they lie in the table"
        given = connection.exec_driver_sql(
            "SELECT count(quote_volume), count(trades), count(taker_buy_volume) FROM candles WHERE series_id = 1"
        ).one()
        assert list(given) == [
            candles.num_rows - candles.column(name).null_count
            for name in ("quote_volume", "trades", "taker_buy_volume")
        ], "null is null in SQL too, not NaN or -1"
        raise ZeroDivisionError  # leave nothing for the next example


@given(candle_tables(), candle_tables())
def test_a_merge_adds_and_revises_and_forgets_nothing(stored: pa.Table, fetched: pa.Table) -> None:
    """Every stored or fetched candle is there afterwards, what is fetched wins, and only real changes are changes."""
    old, new = _by_time(stored), _by_time(fetched)
    # What is not given says nothing against what was.
    new = {at: tuple(map(_or, row, old[at])) if at in old else row for at, row in new.items()}
    merged = merge(stored, fetched)
    result = _by_time(merged.candles)
    assert list(result) == sorted(old | new)
    assert set(_by_time(merged.new)) == set(new) - set(old)
    changed = {time for time in old.keys() & new.keys() if old[time] != new[time]}
    assert set(_by_time(merged.changed)) == changed
    assert merged.unchanged == len(old.keys() & new.keys()) - len(changed)
    assert result == old | new
    flags = dict(zip(to_columns(merged.candles)["open_time"], to_columns(merged.candles)["flags"], strict=True))
    assert {int(time) for time, flag in flags.items() if flag & Flag.REVISED} == changed
    again = merge(merged.candles, fetched)
    assert again.candles.equals(merged.candles)
    assert again.new.num_rows == again.changed.num_rows == 0


def _or(given: object, stored: object) -> object:
    return stored if given is None else given


def _by_time(candles: pa.Table) -> dict[int, tuple[object, ...]]:
    rows = candles.drop_columns(["flags", "source"]).to_pylist()
    return {to_ms(row["open_time"]): tuple(row.values()) for row in rows}


def _range(first: int, end: int) -> TimeRange:
    return TimeRange.from_ms(ORIGIN_MS + first * 60_000, ORIGIN_MS + end * 60_000)


def _minute(at_ms: int) -> int:
    return (at_ms - ORIGIN_MS) // 60_000


def _load(stores: Stores, span: TimeRange, price: float, run: str) -> None:
    rows = [kline(at, price) for at in range(span.start_ms, span.end_ms, 60_000)]
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), run)


def test_a_changed_candle_leaves_a_revision(stores: Stores) -> None:
    """A candle that changes twice leaves both earlier values; unchanged ones leave none and stay as written."""
    span = _range(0, 10)
    _load(stores, span, 100.0, "first")
    written = _row_versions(stores)
    _load(stores, span, 100.0, "same")
    assert _row_versions(stores) == written
    _load(stores, _range(3, 5), 101.0, "second")
    _load(stores, _range(4, 6), 102.0, "third")
    revisions = [(_minute(to_ms(row[1])), row[2], row[3]) for row in tables_of(stores)["revisions"]]
    assert revisions == [(3, 1, 100.0), (4, 1, 100.0), (4, 2, 101.0), (5, 1, 100.0)]
    assert is_sound(audit(stores))


def _row_versions(stores: Stores) -> list[tuple[object, ...]]:
    with stores.warehouse.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT ctid, xmin FROM candles ORDER BY open_time")]


def test_what_is_read_at_once_is_what_is_there(stores: Stores) -> None:
    """Absences, checkpoints and counts read in one statement are those that each table tells, whatever the session."""
    span = _range(0, 10)
    _load(stores, span, 100.0, "first")
    _load(stores, _range(12, 15), 100.0, "second")
    _load(stores, _range(3, 5), 101.0, "third")
    last = _range(15, 45)
    rows = [kline(at, -100.0 if _minute(at) == 20 else 100.0) for at in range(last.start_ms, last.end_ms, 60_000)]
    put_pages(stores.raw, BTC, last, rows)
    clean_pages(stores, Partition(BTC, last))
    load(stores, Partition(BTC, last), "fourth")
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        connection.exec_driver_sql("SET LOCAL timezone = 'Asia/Kolkata'")
        told = read_accounts(driver_of(connection), series_id, days_of(span))
        absences, checkpoints = read_absences(connection, series_id), read_checkpoints(connection, series_id)
    assert told.absences == absences
    assert {each.kind for each in absences} >= {"not_requested", "refused"}
    assert told.checkpoints == checkpoints
    assert any(each.loaded_at.microsecond % 1000 for each in checkpoints), "to the microsecond"
    assert told.covered == [each.time_range for each in checkpoints]
    assert told.revisions == {START.date(): 2}
    assert {day: sum(rules.values()) for day, rules in told.refused.items()} == {START.date(): 1}


def test_loads_that_overlap_at_once_follow_one_another(stores: Stores) -> None:
    """Six loads of overlapping ranges, started together, end in one sound account with nothing twice."""
    spans = [_range(start, start + 15) for start in range(0, 24, 4)]
    for span in spans:
        put_pages(stores.raw, BTC, span, [kline(at) for at in range(span.start_ms, span.end_ms, 60_000)])
        clean_pages(stores, Partition(BTC, span))
    failures: list[BaseException] = []

    def run(span: TimeRange) -> None:
        try:
            load(stores, Partition(BTC, span), "test")
        except BaseException as error:  # noqa: BLE001  # shown below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(span,)) for span in spans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    (account,) = audit(stores)
    assert is_sound([account]), account.problems
    assert account.stored == 35


def test_who_waits_for_a_series_knows_of_it_what_the_one_before_has_left(stores: Stores) -> None:
    """That it has ended, and that candles of it are flagged: both were otherwise when it began to wait."""
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
    found = []

    def wait() -> None:
        with holding(stores.warehouse, BTC) as later:
            found.append((later.has_ended, later.is_unflagged))

    waiting = threading.Thread(target=wait)
    with holding(stores.warehouse, BTC) as first:
        assert (first.has_ended, first.is_unflagged) == (False, True)
        waiting.start()
        _until_one_waits(stores)
        first.begin()
        mark_flagged_by(first.connection, series_id, "rules")
        first.connection.execute(text("UPDATE series SET ended = now()"))
    waiting.join(PATIENCE_S)
    assert found == [(True, False)]


def _until_one_waits(stores: Stores) -> None:
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with stores.warehouse.begin() as connection:
            if connection.execute(waits).scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def test_the_migrations_make_the_tables(stores: Stores) -> None:
    """A migrated database has the tables that the code describes, and HEAD is the last migration."""
    with stores.warehouse.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, metadata) == []
        comments = (
            "SELECT count(*) FROM pg_description JOIN pg_class ON objoid = pg_class.oid"
            " WHERE relname = 'candles' AND objsubid > 0"
        )
        assert connection.exec_driver_sql(comments).scalar() == len(CANDLE_COLUMNS) + 1, "and stored_at"
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def test_what_was_not_requested_is_told_apart_from_what_failed(stores: Stores) -> None:
    """A migration gives ranges of before their kind, and days count them so, as if they had been loaded today."""
    for first, end in ((0, 10), (40, 50), (2000, 2010), (4500, 4510)):
        _load(stores, _range(first, end), 100.0, "run")
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        record_unfetched(connection, series_id, BTC.timeframe, _range(4510, 5000), "it could not be fetched", START)
        days = days_of(_range(0, 5000))
        refresh_quality(connection, series_id, BTC.timeframe, days)
        today = read_absences(connection, series_id), read_quality(connection, series_id)
        assert {day.absent.get("not_requested", 0) for day in today[1].values()} == {700, 1430, 1440, 900}
        old = "it lies between what was loaded, and nobody has asked for it"
        connection.execute(
            text("UPDATE absences SET kind = 'unfetched', evidence = :old WHERE kind = 'not_requested'"), {"old": old}
        )
        refresh_quality(connection, series_id, BTC.timeframe, days)
        assert read_quality(connection, series_id) != today[1]
        import_module("etl.warehouse.migrations.versions.0010_ranges_not_requested").separate(connection)
        assert (read_absences(connection, series_id), read_quality(connection, series_id)) == today


def test_a_store_of_an_earlier_version_does_not_say_by_which_rules_it_was_flagged(
    postgres: str, tmp_path: Path
) -> None:
    """So the audit only counts what today's rules flag otherwise; a new series is of today's."""
    with empty_database(postgres) as url:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            upgrade(config, "0009")
            connection.exec_driver_sql("INSERT INTO series (exchange, symbol, timeframe) VALUES ('a', 'B/C', '1m')")
        with open_stores(Settings(home=tmp_path, warehouse_url=url)) as stores:
            _load(stores, _range(0, 10), 100.0, "run")
            with stores.warehouse.begin() as connection:
                flagged_by = [read_flagged_by(connection, number) for number in known_series(connection).values()]
    assert flagged_by == ["", Settings(home=tmp_path).flagging_of(BTC)]


def test_tables_of_a_newer_version_are_left_alone(stores: Stores, settings: Settings) -> None:
    """A database that a newer Chandler has migrated is refused, not changed."""
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatchError, match="update Chandler"), open_warehouse(settings):
        pass


@pytest.mark.parametrize(
    ("url", "error", "advice"),
    [
        ("postgresql://127.0.0.1:9/none", StoreUnavailableError, "does not answer.*start it"),
        ("not an address", ConfigError, "write postgresql://"),
    ],
)
def test_a_warehouse_that_is_not_there_is_a_clear_error(
    url: str, error: type[Exception], advice: str, settings: Settings
) -> None:
    """An address where nobody answers, or that is none, is an error that says what to do."""
    elsewhere = settings.model_copy(update={"warehouse_url": url})
    with pytest.raises(error, match=advice), open_warehouse(elsewhere):
        pass


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (psycopg.errors.DeadlockDetected, "cannot do this just now.*run this again"),
        (psycopg.errors.DiskFull, "disk of the warehouse at .* is full; make room"),
        (psycopg.errors.QueryCanceled, "gave up what took too long.*ask for less"),
        (
            psycopg.errors.AdminShutdown,
            "in .* was lost, and it runs; run this again|does not answer.*start it",
        ),
    ],
)
def test_a_server_that_answers_is_not_said_to_be_away(error: type[Exception], says: str, stores: Stores) -> None:
    """A retry helps either way, but what a person has to do is another thing."""
    with pytest.raises(StoreUnavailableError, match=says), stores.warehouse.translated():
        raise error("the server's own words")


def test_a_password_is_in_no_message(settings: Settings) -> None:
    """The address in an error does not carry the password."""
    elsewhere = settings.model_copy(update={"warehouse_url": "postgresql://me:hunter2@127.0.0.1:9/none"})
    with pytest.raises(StoreUnavailableError) as caught, open_warehouse(elsewhere):
        pass
    assert "hunter2" not in str(caught.value)


def test_who_has_no_time_waits_for_nobody(settings: Settings) -> None:
    """Not for a server that is silent, nor for a migration, a connection, a lock or an answer."""
    url = str(settings.warehouse_url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/none"
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            _open_and_close(settings.model_copy(update={"warehouse_url": there}))
    with psycopg.connect(url) as other:
        with open_warehouse(settings, wait_s=2, longest_s=4) as warehouse:
            other.execute("LOCK TABLE candles")
            with pytest.raises(StoreUnavailableError, match="cannot do this just now"), warehouse.begin() as connection:
                connection.execute(text("SELECT count(*) FROM candles"))
            with pytest.raises(TooLongError, match="ask for less"), begin_reading(warehouse) as connection:
                connection.execute(text("SELECT pg_sleep(300)"))
            with ExitStack() as all_of_them, pytest.raises(StoreUnavailableError, match="are in use; run this again"):
                for _ in range(99):
                    all_of_them.enter_context(warehouse.begin())
        other.rollback()
        other.execute("UPDATE alembic_version SET version_num = '0001'")
        other.commit()
        other.execute("SELECT pg_advisory_lock(hashtext('chandler migrations'))")
        with pytest.raises(StoreUnavailableError, match="cannot do this just now"):
            _open_and_close(settings)


def _open_and_close(settings: Settings) -> None:
    with open_warehouse(settings, wait_s=1):
        pass


def test_a_symbol_in_another_case_is_no_second_series(stores: Stores) -> None:
    """The files of both would be one if file names have no case; the spelling that is held goes on."""
    with stores.warehouse.begin() as connection:
        held = ensure_series(connection, Series.parse("binance:kPEPE/USDT:1m"))
        ensure_series(connection, Series.parse("kraken:KPEPE/USDT:1m"))
        ensure_series(connection, Series.parse("binance:kPEPE/USDT:1h"))
        with pytest.raises(ConfigError, match="'KPEPE/USDT' is held as kPEPE/USDT"):
            ensure_series(connection, Series.parse("binance:KPEPE/USDT:1m"))
        assert ensure_series(connection, Series.parse("binance:kPEPE/USDT:1m")) == held
