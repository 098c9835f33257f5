"""A year of days and half days with gaps, as Airflow loads it: month by month, then day by day, then repaired."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.audit import audit, is_sound
from etl.feeds_file import load_settings
from etl.quality import report_quality
from etl.replay import RecordedMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.settings import ExchangeSettings, Settings
from etl.stores import Stores, open_stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_absences, unjudged_loads
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases

FEEDS = """
[feeds.coarse]
exchange = "coarse"
symbols = ["BTC/USDT"]
timeframes = ["12h", "1d"]
start = 2025-01-01
settle = "24h"

[exchanges]
coarse = { protocol = "binance", repair_share = 1 }
"""
YEAR = TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
ALL = TimeRange(YEAR.start, datetime(2025, 1, 3, tzinfo=UTC))
LISTED = datetime(2024, 1, 20, tzinfo=UTC)
FILLED = TimeRange(datetime(2024, 2, 27, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC))  # across months and a leap day
SILENT = TimeRange(datetime(2024, 6, 10, tzinfo=UTC), datetime(2024, 6, 14, tzinfo=UTC))
REFUSED = datetime(2024, 9, 5, tzinfo=UTC)
FIRST, LATER = datetime(2025, 1, 3, 0, 1, tzinfo=UTC), datetime(2025, 1, 9, tzinfo=UTC)
TIMEFRAMES = (Timeframe.H12, Timeframe.D1)
both = pytest.mark.parametrize("timeframe", TIMEFRAMES)
Kinds = list[tuple[str, TimeRange]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The runs, and what was absent before the repair.

    Attributes:
        before: By series: kind and span of each absence.
    """

    months: list[Run]
    days: list[Run]
    before: Mapping[Series, Kinds]
    repair: Run
    settings: Settings


@pytest.fixture(scope="module")
def outcome(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Backfill twelve months, load two days, and repair once the exchange has what it lacked."""
    home = tmp_path_factory.mktemp("year")
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    own = ExchangeSettings.model_validate({"protocol": "binance", "base_url": address})
    environment = {"CHANDLER_EXCHANGES__COARSE__BASE_URL": address}
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, FEEDS, url, environment) as airflow:
        settings = load_settings(
            home / "feeds.toml", home=home / "chandler", warehouse_url=url, exchanges={"coarse": own}
        )
        with ReplayServer(_market(home / "first", [FILLED]), port=port, clock=lambda: to_ms(FIRST)):
            ends = [datetime(2024 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(1, 13)]
            months = [airflow.run("history_coarse", end, "backfill") for end in ends]
            days = [airflow.run("ingest_coarse", ALL.end - timedelta(days=ago), "scheduled") for ago in (1, 0)]
        with open_stores(settings) as stores:
            before = {series: _kinds(stores, series) for series in settings.feed("coarse").series}
        with ReplayServer(_market(home / "second", []), port=port, clock=lambda: to_ms(LATER)):
            repair = airflow.run("repair_gaps", LATER + timedelta(hours=2))
        yield Outcome(months, days, before, repair, settings)


def test_every_run_is_green_over_its_month_or_day(outcome: Outcome) -> None:
    """Twelve months, two days and the repair end well, each task of each; together they are the year and two days."""
    runs = [*outcome.months, *outcome.days]
    assert [run.state for run in (*runs, outcome.repair)] == ["success"] * (len(runs) + 1)
    assert {task["state"] for run in (*runs, outcome.repair) for task in run.tasks.values()} == {"success"}
    assert [run.interval[1] for run in runs[:-1]] == [run.interval[0] for run in runs[1:]]
    assert (runs[0].interval[0], runs[-1].interval[1]) == (ALL.start, ALL.end)


@both
def test_gaps_are_told_apart(outcome: Outcome, timeframe: Timeframe) -> None:
    """Before the listing, silences within a month and across two, and a refused row; nothing is pending."""
    assert outcome.before[Series("coarse", "BTC/USDT", timeframe)] == [
        ("not_listed", TimeRange(ALL.start, LISTED)),
        ("outage", FILLED),
        ("outage", SILENT),
        ("refused", TimeRange(REFUSED, REFUSED + timeframe.delta)),
    ]


@both
def test_the_repair_fills_what_the_exchange_has_added(outcome: Outcome, timeframe: Timeframe) -> None:
    """Candles that have appeared are told of by an event; the other gaps stay as they are; the audit is sound."""
    series = Series("coarse", "BTC/USDT", timeframe)
    told = {(event["series"], event["start"]) for event in outcome.repair.events}
    assert (str(series), FILLED.start.isoformat()) in told
    with open_stores(outcome.settings) as stores:
        assert _kinds(stores, series) == [one for one in outcome.before[series] if one[1] != FILLED]
        assert is_sound(audit(stores, [series]))
        with stores.warehouse.begin() as connection:
            assert unjudged_loads(connection) == []


@both
def test_quality_has_every_day_of_the_year(outcome: Outcome, timeframe: Timeframe) -> None:
    """Each day expects as many candles as it has slots, and what is absent is what the gaps span."""
    per_day = Timeframe.D1.ms // timeframe.ms
    with open_stores(outcome.settings) as stores:
        (report,) = report_quality(stores.warehouse, [Series("coarse", "BTC/USDT", timeframe)])
    assert len(report.periods) == ALL.count(Timeframe.D1)
    assert {one.expected for one in report.periods.values()} == {per_day}
    unlisted = TimeRange(ALL.start, LISTED).count(timeframe)
    assert report.whole.absent == {"not_listed": unlisted, "outage": SILENT.count(timeframe), "refused": 1}


def _kinds(stores: Stores, series: Series) -> Kinds:
    with stores.warehouse.begin() as connection:
        found = read_absences(connection, known_series(connection)[series])
    return [(absence.kind.value, absence.span) for absence in found]


def _market(folder: Path, lacks: list[TimeRange]) -> RecordedMarket:
    """Return a market from its listing on, with a silence and an impossible row, which lacks what is said besides."""
    for timeframe in TIMEFRAMES:
        times = np.arange(to_ms(LISTED), to_ms(LATER), timeframe.ms)
        for span in (SILENT, *lacks):
            times = times[(times < span.start_ms) | (times >= span.end_ms)]
        price = 100.0 + times // timeframe.ms % 7
        low = np.where(times == to_ms(REFUSED), -1.0, price * 0.99)
        columns = {"open": price, "high": price * 1.01, "low": low, "close": price, "volume": price}
        open_time = pa.array(times).cast(pa.timestamp("ms", tz="UTC"))
        path = folder / "binance" / "BTC-USDT" / f"{timeframe}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"open_time": open_time} | {n: pa.array(v) for n, v in columns.items()}), path)
    return RecordedMarket(folder)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
