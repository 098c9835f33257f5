"""The guide to reading: what it shows runs, and gives what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.ingest import clean_pages, load
from etl.schema import Flag
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from tests.conftest import BTC, REPOSITORY
from tests.markets import kline, put_pages

GUIDE = (REPOSITORY / "docs" / "reading.md").read_text(encoding="utf-8")
SPAN = TimeRange(datetime(2024, 2, 29, 21, tzinfo=UTC), datetime(2024, 3, 1, 3, tzinfo=UTC))
OUTLIER_MS = SPAN.start_ms + 290 * 60_000
HOLE = range(200, 210)


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Six hours of two series across two files, ten minutes of them absent, one minute with a wick of 20 %."""
    for series in (BTC, Series.parse("binance:ETH/USDT:1m")):
        times = [at for n, at in enumerate(range(SPAN.start_ms, SPAN.end_ms, 60_000)) if n not in HOLE]
        rows = [
            kline(at, 100.0 + at // 60_000 % 7 / 10, **({"high": "122"} if at == OUTLIER_MS else {})) for at in times
        ]
        put_pages(stores.raw, series, SPAN, rows)
        clean_pages(stores, Partition(series, SPAN))
        load(stores, Partition(series, SPAN), "test")
    Path(".chandler").symlink_to(stores.settings.home)
    return stores


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # DuckDB's way to pandas
def test_what_the_guide_shows_runs_and_gives_what_it_says(loaded: Stores) -> None:
    """Every block of Python runs in the order of the page, and each way gives the same candles."""
    names: dict[str, Any] = {}
    for block in _blocks("python"):
        exec(compile(block, "docs/reading.md", "exec"), names)  # noqa: S102, it is our own page
    assert names["candles"].num_rows == len(names["frame"]) == 350
    assert names["then"].num_rows == 0
    assert len(names["made_up"]) == 10
    assert len(names["calm"]) == 349
    names["engine"].dispose()
    hours, closes, hourly = names["hours"], names["closes"], names["hourly"]
    assert hours["candles"].tolist() == [60, 60, 60, 50, 59, 60]
    assert hours["hour"][0] == SPAN.start
    closes = closes.filter(symbol="BTC-USDT").sort("open_time")
    assert closes["candles"].to_list() == [60, 60, 60, 50, 60, 60]
    assert closes["close"].to_list() == hours["close"].tolist()
    assert names["returns"].count() == 5
    assert hourly["candles"].tolist() == [60, 60, 60, 50, 60, 60] * 2
    assert hourly["close"].tolist()[:6] == hours["close"].tolist()
    assert hourly["high"].max() == 122.0


def test_the_queries_of_the_guide_run(loaded: Stores) -> None:
    """Every block of SQL runs: what is held without outliers, and what stood a day ago."""
    with loaded.warehouse.begin() as connection:
        connection.execute(
            text("UPDATE candles SET stored_at = now() - interval '2 days' WHERE open_time < '2024-02-29 22:00Z'")
        )
        held, stood = (connection.exec_driver_sql(block).all() for block in _blocks("sql"))
    assert len(held) == 349
    assert len(stood) == 60
    assert held[0].open_time == stood[0].open_time == SPAN.start
    assert held[-1].open_time == SPAN.end - timedelta(minutes=1)


def test_the_guide_names_every_flag() -> None:
    """The table of flags is that of the schema."""
    said = dict(re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", GUIDE, flags=re.MULTILINE))
    assert said == {str(flag.value): flag.name for flag in Flag}
