"""The guide to reading: what it shows runs, and gives what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


# What the page leaves behind, in the process that has run it.
_REPORT = """
import json
print(json.dumps({
    "candles": candles.num_rows, "frame": len(frame), "then": then.num_rows, "made_up": len(made_up), "calm": len(calm),
    "hours": hours["candles"].tolist(), "first_hour": hours["hour"][0].isoformat(), "of_hours": hours["close"].tolist(),
    "closes": closes.filter(symbol="BTC-USDT").sort("open_time").select("candles", "close").to_dict(as_series=False),
    "returns": int(returns.count()), "hourly": hourly[["candles", "close", "high"]].to_dict("list"),
}))
"""


def test_what_the_guide_shows_runs_and_gives_what_it_says(loaded: Stores) -> None:
    """Every block of Python runs in the order of the page, and each way gives the same candles.

    In a process of its own, since DuckDB has much to say when the one that has imported it ends.
    """
    script = "\n".join([*_blocks("python"), _REPORT])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout.splitlines()[-1])
    assert left["candles"] == left["frame"] == 350
    assert (left["then"], left["made_up"], left["calm"], left["returns"]) == (0, 10, 349, 5)
    assert left["hours"] == [60, 60, 60, 50, 59, 60]
    assert datetime.fromisoformat(left["first_hour"]) == SPAN.start
    assert left["closes"] == {"candles": [60, 60, 60, 50, 60, 60], "close": left["of_hours"]}
    hourly = left["hourly"]
    assert hourly["candles"] == [60, 60, 60, 50, 60, 60] * 2
    assert hourly["close"][:6] == left["of_hours"]
    assert max(hourly["high"]) == 122.0


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
