"""Watching the pipeline: what is told of it, once, and what is nobody's news."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import insert, select, update

from etl.alerting import Alerting
from etl.archive import Archive
from etl.errors import StoreError
from etl.feeds_file import load_settings, load_what_is_right
from etl.findings import Finding
from etl.messages import PipelineKind
from etl.probing import SETTLE
from etl.schema import AbsenceKind, empty_candles, from_columns
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.timeframe import to_ms
from etl.warehouse import ensure_series, record_absences, record_not_requested, record_unfetched
from etl.warehouse.incident_tables import alerts, channels
from etl.warehouse.recording import Asking
from etl.watching import tell, watch

BTC, ETH = (Series.parse(f"binance:{symbol}/USDT:1m") for symbol in ("BTC", "ETH"))
ALERTING = Alerting()
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOW + 2 * HOUR + ALERTING.gap_older_than  # what is seen while the tests run is seen within two hours of NOW


def span(hours_ago: float, minutes: int = 10) -> TimeRange:
    """Return a range that began so long ago."""
    return TimeRange(NOW - hours_ago * HOUR, NOW - hours_ago * HOUR + timedelta(minutes=minutes))


def unfetched(stores: Stores, series: Series, *spans: TimeRange) -> None:
    """Record, all at once, that candles could not be fetched."""
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, series)
        for one in spans:
            record_unfetched(connection, series_id, series.timeframe, one, "the server says: <b>no</b>", NOW)


def test_a_gap_that_stays_is_told_of_once(stores: Stores) -> None:
    """Not while it is young; then in one notice for all that a load has missed, the same one when a part is had."""
    unfetched(stores, BTC, span(5), span(3, minutes=20))
    assert watch(stores, ALERTING, NOW + HOUR) == []
    [notice] = watch(stores, ALERTING, LATER)
    assert (notice.kind, notice.exchange, notice.symbol) == (PipelineKind.OLD_GAP, "binance", "BTC/USDT")
    assert "30 candles missing" in notice.title
    assert "server says" not in notice.detail, "no text from outside"
    assert [tell(stores.warehouse, watch(stores, ALERTING, LATER + n * HOUR)) for n in range(3)] == [1, 0, 0]
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        asking = Asking(LATER, SETTLE, "run")
        record_absences(connection, series_id, BTC.timeframe, span(5), [], asking)
    assert [one.identity for one in watch(stores, ALERTING, LATER)] == [notice.identity]
    with stores.warehouse.begin() as connection:
        assert connection.execute(select(alerts.c.kind, alerts.c.incident_id)).all() == [("old_gap", None)]


def test_what_was_history_when_it_was_missed_is_told_to_nobody(stores: Stores) -> None:
    """A backfill that meets a hole pages nobody, however long it stays; nor does a gap of which nobody could tell."""
    unfetched(stores, BTC, span(ALERTING.news / HOUR + 2))
    unfetched(stores, ETH, span(3))
    assert [notice.symbol for notice in watch(stores, ALERTING, LATER)] == ["ETH/USDT"]
    assert watch(stores, ALERTING, LATER + ALERTING.news + HOUR) == []


def test_what_no_run_has_requested_is_no_gap(stores: Stores) -> None:
    """Nobody is told of it however young it was; once a fetch of it fails, it is missed from then on."""
    hole = span(3)
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        record_not_requested(connection, series_id, BTC.timeframe, hole)
    assert watch(stores, ALERTING, LATER) == []
    unfetched(stores, BTC, hole)
    assert [notice.symbol for notice in watch(stores, ALERTING, LATER)] == ["BTC/USDT"]


def test_what_is_young_by_the_exchange_s_ways_is_no_gap(stores: Stores) -> None:
    """A silence is old once it should have been judged and was not, which is long after it was first seen."""
    silence = span(3)
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        found = [Finding(silence, AbsenceKind.PENDING, "nothing came")]
        record_absences(connection, series_id, BTC.timeframe, silence, found, Asking(NOW, DAY, "run"))
    judged = silence.end + DAY
    assert watch(stores, ALERTING, judged + ALERTING.gap_older_than - HOUR) == []
    assert len(watch(stores, ALERTING, judged + ALERTING.gap_older_than)) == 1


def test_a_fallback_file_is_told_of_unless_it_holds_the_past(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that wait to become Parquet are said with what makes Parquet of them."""

    def full(*_: object, **__: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr("etl.archive.place.Place.put_parquet", full)
    for when in (NOW - HOUR, NOW - 400 * DAY):
        _archive(stores.archive, when)
    [notice] = watch(stores, ALERTING, NOW)
    assert notice.kind is PipelineKind.FALLBACK_FILE
    assert f"{NOW - HOUR:%Y-%m}" in notice.identity
    assert "chandler archive convert" in notice.detail


def test_a_channel_that_is_dead_is_told_of_after_an_hour(stores: Stores) -> None:
    """Once for each time that it dies; a short failure mends itself."""
    with stores.warehouse.begin() as connection:
        connection.execute(insert(channels).values(name="ops", failing_since=NOW, failures=9))
        connection.execute(insert(channels).values(name="mail", failing_since=None))
    assert watch(stores, ALERTING, NOW + timedelta(minutes=59)) == []
    first = watch(stores, ALERTING, NOW + 2 * HOUR)
    assert [notice.title for notice in first] == ["the channel ops takes no messages"]
    with stores.warehouse.begin() as connection:
        connection.execute(update(channels).where(channels.c.name == "ops").values(failing_since=NOW + DAY))
    assert tell(stores.warehouse, [*first, *watch(stores, ALERTING, NOW + 2 * DAY)]) == 2


def _archive(archive: Archive, when: datetime) -> None:
    archive.write(BTC, TimeRange(when, when + timedelta(minutes=1)), _candle(when))


def _candle(when: datetime) -> pa.Table:
    columns = {field.name: np.ones(1) for field in empty_candles().schema}
    columns |= {name: np.ones(1, dtype=np.int16) for name in ("flags", "source")}
    whole = {"trades": np.ones(1, dtype=np.int64), "open_time": np.array([to_ms(when)], dtype=np.int64)}
    return from_columns({**columns, **whole})


def test_mistakes_in_feeds_toml_are_told_of_once_a_day(stores: Stores, tmp_path: Path) -> None:
    """A notice for each feed that is left out, with what is wrong and how to see that it is right again."""
    path = tmp_path / "feeds.toml"
    feed = '[feeds.{}]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\ntimeframes = ["1m"]\nstart = {}\n'
    path.write_text(feed.format("fine", "2024-01-01") + feed.format("bad", "0") + feed.format("worse", "1\ncoins = 2"))
    broken = replace(stores, settings=load_settings(path))
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    first, second = watch(broken, ALERTING, midnight)
    assert [one.kind for one in (first, second)] == [PipelineKind.FAULTY_SETTINGS] * 2
    assert first.title == "feeds.toml: feed bad is left out"
    assert first.detail == (
        "0 is no moment; write 2024-01-31 or 2024-01-31T12:00. "
        "Correct it: chandler feeds says whether all is right then."
    )
    assert [tell(stores.warehouse, watch(broken, ALERTING, midnight + n * DAY / 3)) for n in range(5)] == [
        2,
        0,
        0,
        2,
        0,
    ]


def test_a_mistake_in_a_table_is_told_of_by_what_is_left_out_for_it(stores: Stores, tmp_path: Path) -> None:
    """One notice for each exchange, and one for all that is wrong in a table that is left out as a whole."""
    path = tmp_path / "feeds.toml"
    path.write_text("[exchanges.kraken]\nshare = 7\n[exchanges.mexc]\nshare = 8\n[rules]\njump = 1\nprice = 2\n")
    broken = replace(stores, settings=load_what_is_right(path))
    titles = [notice.title for notice in watch(broken, ALERTING, NOW)]
    assert sorted(titles) == [
        "feeds.toml: a mistake in exchanges.kraken",
        "feeds.toml: a mistake in exchanges.mexc",
        "feeds.toml: a mistake in rules",
    ]
