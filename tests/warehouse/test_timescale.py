"""TimescaleDB where it is there: what is made of it, and that compressed candles are loaded and mended like others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from typer.testing import CliRunner

from etl.audit import audit, is_sound
from etl.cli import app
from etl.ingest import clean_pages, load
from etl.schema import to_columns
from etl.series import TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import (
    adapt,
    adopt,
    drop_empty_chunks,
    ensure_series,
    read_candles,
    read_features,
    restore_candles,
    timescale,
)
from etl.warehouse.features import MINIMUM, Features
from tests.conftest import BTC
from tests.databases import empty_database
from tests.markets import START, kline, put_pages

LATER = START + timedelta(days=40)
HOUR = timedelta(hours=1)


@pytest.fixture
def has_timescale(stores: Stores) -> None:
    """Skip where the server has no TimescaleDB: CHANDLER_TEST_DATABASE names one that has."""
    with stores.warehouse.begin() as connection:
        if not read_features(connection).has_all:
            pytest.skip("no TimescaleDB: set CHANDLER_TEST_DATABASE to a database of a server that has it")


@pytest.fixture
def plain(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_timescale: None) -> Iterator[Stores]:
    """Stores whose warehouse was migrated while nobody made use of TimescaleDB."""
    with empty_database(postgres) as url:
        monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", url)
        with monkeypatch.context() as before:
            before.setattr(timescale, "adopt", lambda connection: "not yet")
            with open_stores(Settings(home=tmp_path / "plain", warehouse_url=url)) as opened:
                yield opened


def _load(stores: Stores, span: TimeRange, price: float, *changed: int) -> None:
    """Load minutes at a price, those that are named at another."""
    rows = [kline(at, price) for at in range(span.start_ms, span.end_ms, 60_000)]
    for minute in changed:
        rows[minute] = kline(span.start_ms + minute * 60_000, price + 1)
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), "test")


def _compress(connection: Connection) -> None:
    connection.execute(
        text("SELECT compress_chunk(chunk, if_not_compressed => true) FROM show_chunks('candles') chunk")
    )


def _unpacked(connection: Connection) -> int:
    """Count the candles that lie unpacked in chunks that are compressed."""
    chunks = connection.execute(text("SELECT show_chunks('candles')::text")).scalars().all()
    return sum(connection.execute(text(f"SELECT count(*) FROM ONLY {chunk}")).scalar_one() for chunk in chunks)  # noqa: S608  # TimescaleDB's own names


@given(st.sampled_from(Timeframe), st.sampled_from(Timeframe))
def test_a_coarser_timeframe_never_has_narrower_chunks(one: Timeframe, other: Timeframe) -> None:
    """Chunks are whole days, a month at least and two years at most, and `1m` has the narrowest."""
    narrow, wide = (timescale.chunk_interval(timeframe) for timeframe in sorted((one, other), key=lambda t: t.ms))
    assert timedelta(days=30) <= narrow <= wide <= timedelta(days=730)
    assert timescale.chunk_interval(Timeframe.M1) == timedelta(days=30)
    assert narrow % timedelta(days=1) == timedelta(0)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (Features("18.4"), "not installed"),
        (Features("18.4", available="2.29.2"), "shared_preload_libraries"),
        (Features("18.4", available="2.9.0", is_preloaded=True), f"{MINIMUM[0]}.{MINIMUM[1]} or newer"),
        (Features("18.4", available="2.30.0-dev", is_preloaded=True), None),
    ],
)
def test_what_is_in_the_way_is_said(features: Features, says: str | None) -> None:
    """The reason says what would have to be done if TimescaleDB cannot be made use of."""
    assert (features.obstacle is None) if says is None else says in str(features.obstacle)


def test_the_command_says_what_it_runs_on(stores: Stores, settings: Settings) -> None:
    """`chandler warehouse` tells of a database with TimescaleDB and of one without, in words and as JSON."""
    with stores.warehouse.begin() as connection:
        features = read_features(connection)
    facts = json.loads(CliRunner().invoke(app, ["warehouse", "--json"]).stdout)
    assert facts["postgres"] == features.postgres
    assert facts["is_hypertable"] == facts["is_continuous"] == (facts["version"] is not None)
    shown = CliRunner().invoke(app, ["warehouse", "show"])
    assert shown.exit_code == 0
    assert ("chunks of 30 days" if features.is_hypertable else "plain table") in shown.stdout
    adopted = CliRunner().invoke(app, ["warehouse", "adopt"])
    assert (adopted.exit_code == 0) == features.is_hypertable


def test_a_plain_warehouse_takes_it_up_later(plain: Stores) -> None:
    """Candles, earlier values, reading as of a moment and aggregates are the same before and after; twice is once."""
    for start in (START, LATER):
        _load(plain, TimeRange(start, start + HOUR), 100.0)
    with plain.warehouse.begin() as connection:
        before = connection.execute(text("SELECT now()")).scalar_one()
        assert not read_features(connection).is_hypertable
    _load(plain, TimeRange(START, START + HOUR), 100.0, 5)
    seen = []
    for is_taken_up in (False, True, True):
        with plain.warehouse.begin() as connection:
            if is_taken_up:
                assert adopt(connection) is None
            whole = TimeRange(START, LATER + HOUR)
            aggregates = connection.execute(text("SELECT * FROM candles_15m ORDER BY open_time")).all()
            seen.append((read_candles(connection, 1, whole), read_candles(connection, 1, whole, before), aggregates))
            features = read_features(connection)
        assert (features.is_hypertable, features.is_continuous) == (is_taken_up, is_taken_up)
    assert seen[0] == seen[1] == seen[2]
    assert not seen[0][0].equals(seen[0][1]), "a candle was another before"
    assert is_sound(audit(plain))


@pytest.mark.usefixtures("has_timescale")
def test_what_is_compressed_is_loaded_like_anything_else(stores: Stores) -> None:
    """New, equal, changed and missing candles, into compressed chunks and into plain ones, leave the same tables."""
    spans = [TimeRange(START, START + 30 * HOUR), TimeRange(LATER, LATER + HOUR)]
    with stores.warehouse.begin() as connection:
        ensure_series(connection, BTC)
    left = []
    for is_compressed in (False, True):
        with stores.warehouse.begin() as connection:
            for name in ("candle_revisions", "absences", "absence_changes", "checkpoints", "loads", "quality"):
                connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608  # named above
            connection.execute(text("DELETE FROM candles"))
        for span in spans:
            _load(stores, span, 100.0)
        if is_compressed:
            with stores.warehouse.begin() as connection:
                _compress(connection)
        _load(stores, TimeRange(START, START + HOUR), 100.0)
        _load(stores, TimeRange(START + 29 * HOUR, START + 31 * HOUR), 100.0, 7, 8, 90)
        with stores.warehouse.begin() as connection:
            revisions = connection.execute(text("SELECT open_time, revision FROM candle_revisions ORDER BY 1, 2")).all()
            held = read_candles(connection, 1, TimeRange(START, LATER + HOUR))
            if is_compressed:
                assert _unpacked(connection) < 1500, "only the batches are unpacked that are touched"
        left.append((held, revisions))
        assert is_sound(audit(stores))
    assert left[0][0].drop_columns(["flags"]).equals(left[1][0].drop_columns(["flags"]))
    assert left[0][1] == left[1][1]
    assert len(left[0][1]) == 2, "two were there and changed, the third is new"


@pytest.mark.usefixtures("has_timescale")
def test_mending_unpacks_what_it_touches_alone(stores: Stores) -> None:
    """Candles that are put right or taken out of a compressed chunk leave the rest of it compressed."""
    whole = TimeRange(START, START + 48 * HOUR)
    _load(stores, whole, 100.0)
    with stores.warehouse.begin() as connection:
        before = read_candles(connection, 1, whole)
        _compress(connection)
    gone = np.array([to_ms(START) + 60_000 * 3], dtype=np.int64)
    right = before.slice(5, 1)
    with stores.warehouse.begin() as connection:
        restore_candles(connection, 1, gone, right)
        assert read_candles(connection, 1, whole).equals(pa.concat_tables([before.slice(0, 3), before.slice(4)]))
        assert 0 < _unpacked(connection) <= 1000


@pytest.mark.usefixtures("has_timescale")
def test_one_transaction_may_change_more_than_timescaledb_lets_it(plain: Stores) -> None:
    """Once it is taken up, 150,000 compressed candles of a series can change at once."""
    with plain.warehouse.begin() as connection:
        assert adopt(connection) is None
        ensure_series(connection, BTC)
        made_up = """
            INSERT INTO candles (series_id, open_time, open, high, low, close, volume, flags, source)
            SELECT 1, :start + minute * interval '1 minute', 1, 1, 1, 1, 1, 0, 1 FROM generate_series(1, 150000) minute
        """
        connection.execute(text(made_up), {"start": START})
        _compress(connection)
    for _ in range(2):
        with plain.warehouse.begin() as connection:
            _compress(connection)
        with plain.warehouse.begin() as connection:
            assert connection.execute(text("UPDATE candles SET flags = 8 WHERE series_id = 1")).rowcount == 150_000
        # The sessions that were there, and then new ones.
        plain.warehouse.engine.dispose()


@pytest.mark.usefixtures("has_timescale")
def test_only_chunks_that_are_empty_are_dropped(stores: Stores) -> None:
    """A chunk that has lost its last candle goes; one that holds a candle, or ends later, stays, compressed or not."""
    for start in (START, LATER, LATER + timedelta(days=40)):
        _load(stores, TimeRange(start, start + HOUR), 100.0)
    with stores.warehouse.begin() as connection:
        _compress(connection)
        connection.execute(text("DELETE FROM candles WHERE open_time < :end"), {"end": START + HOUR})
        assert drop_empty_chunks(connection, START) == 0
        assert drop_empty_chunks(connection, LATER + timedelta(days=365)) == 1
        held = to_columns(read_candles(connection, 1, TimeRange(START, LATER + timedelta(days=365))))["open_time"]
    assert [from_ms(int(held[0])), len(held)] == [LATER, 120]


@pytest.mark.usefixtures("has_timescale")
def test_settings_are_applied_when_they_change(stores: Stores) -> None:
    """The age of compression follows the setting, the width of new chunks the finest series; as often as one likes."""
    with stores.warehouse.begin() as connection:
        hourly = "INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', 'BTC/USDT', '1h')"
        connection.execute(text(hourly))
        for _ in range(2):
            adapt(connection, timedelta(days=7))
            features = read_features(connection)
            assert features.compress_after == timedelta(days=7)
            assert features.chunk_interval == timescale.chunk_interval(Timeframe.H1)
