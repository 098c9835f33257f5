"""Ten days of hours around a new year: loaded, retired from the warehouse, and brought back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.keeping import Keep
from etl.retention import RetentionReport, retire_candles
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.warehouse import bring_back, known_series, retired_ranges
from tests.markets import kline, put_pages

BTC, ETH = (Series.parse(f"binance:{base}/USDT:1h") for base in ("BTC", "ETH"))
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)  # archive files of `1h` end here
DAYS = TimeRange(NEW_YEAR - timedelta(days=5), NEW_YEAR + timedelta(days=5))
HOUR_MS = 3_600_000
HOURS = DAYS.count(BTC.timeframe)
OUTAGE, REFUSED = range(50, 60), 30


def hours(first: int, end: int) -> TimeRange:
    """Return the range of these hours, counted from the first one."""
    return TimeRange.from_ms(DAYS.start_ms + first * HOUR_MS, DAYS.start_ms + end * HOUR_MS)


def load_hours(stores: Stores, series: Series, first: int, end: int, price: float = 100.0) -> None:
    """Load hours, of which some are an outage and one has a row to refuse."""
    span = hours(first, end)
    rows = [
        kline(DAYS.start_ms + hour * HOUR_MS, price, **({"close": price * 2} if hour == REFUSED else {}))
        for hour in range(first, end)
        if hour not in OUTAGE
    ]
    put_pages(stores.raw, series, span, rows)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    clean_pages(patient, Partition(series, span))
    load(stores, Partition(series, span), "test")


def retire(stores: Stores, day: int) -> RetentionReport:
    """Retire what ends within the first `day` days."""
    keeping = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=30))})
    return retire_candles(replace(stores, settings=keeping), DAYS.start + timedelta(days=day + 30, hours=7))


def retired_of(stores: Stores, series: Series = BTC) -> list[TimeRange]:
    """Return what has left the warehouse."""
    with stores.warehouse.begin() as connection:
        return retired_ranges(connection, known_series(connection)[series])


def bring_all_back(stores: Stores) -> None:
    """Bring back whatever was retired."""
    with stores.warehouse.begin() as connection:
        for series, series_id in known_series(connection).items():
            bring_back(connection, series_id, DAYS, lambda part, of=series: stores.archive.read(of, part))


def candles_held(stores: Stores) -> int:
    """Return how many candles the warehouse holds."""
    with stores.warehouse.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM candles").scalar_one())


def load_ten_days(stores: Stores) -> None:
    """Load them for two series, a day at a time, two days of the first one twice; and judge what is absent."""
    for series in (BTC, ETH):
        for day in range(10):
            load_hours(stores, series, 24 * day, 24 * day + 24)
    load_hours(stores, BTC, 24, 72, 101.0)
    judge_loads(stores, None, "test")
