"""A whole stack, started once. Behind one exchange is a week with a hole, a failure and a crash, to be looked at.

Behind two others, what there was years ago: days that are recorded, and months.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from etl.replay import FaultPlan, MadeUpMarket, RecordedMarket, ReplayServer
from etl.schema import to_columns
from etl.series import Series, TimeRange
from stack.home import Home
from stack.local import Stack, ensure_pool, local_stack, wait_for_dag, wait_for_runs
from stack.screen import Screen
from tests.databases import folder_for_postgres
from tests.models.made_up import walk
from tests.stack.sparing import SPARING

MAJORS, OTHERS = "ingest_majors", "ingest_others"
RECORDED, HISTORY = "ingest_recorded", "history_past"
BTC, ETH, SOL, XRP = (Series.parse(f"binance:{base}/USDT:1m") for base in ("BTC", "ETH", "SOL", "XRP"))
FEEDS = """
[feeds.majors]
exchange = "binance"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = {start:%Y-%m-%d}

[feeds.others]
exchange = "binance"
symbols = ["SOL/USDT", "XRP/USDT"]
timeframes = ["1m"]
start = {start:%Y-%m-%d}

[feeds.recorded]
exchange = "replay"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.past]
exchange = "madeup"
symbols = ["BTC/USDT"]
timeframes = ["15m"]
start = 2024-06-01

[exchanges]
replay = {{ protocol = "binance" }}
madeup = {{ protocol = "binance" }}
"""
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
CRASH_VOLUME = 12.0
"""How many times the usual volume is traded while it crashes."""

_RECORDED_DAYS = 14
_POLL_S = 0.5
_PRICES = {BTC: 60_000, ETH: 3_000, SOL: 150, XRP: 2}
_PRICE_COLUMNS = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Days:
    """Days of the last two weeks, by what they show. None of them is fetched again to settle the day that follows it.

    Attributes:
        red: Yesterday: XRP could not be fetched.
        holed: When it was loaded the exchange left candles of BTC out.
        three: Nobody has loaded them.
        crash: One of the three; at noon BTC falls by a sixth.
    """

    red: datetime
    holed: datetime
    three: tuple[datetime, datetime, datetime]
    crash: datetime

    @classmethod
    def before(cls, today: datetime) -> Days:
        """Return the days as seen from `today`, a midnight."""
        ago = [today - number * DAY for number in range(_RECORDED_DAYS)]
        return cls(red=ago[1], holed=ago[3], three=(ago[7], ago[6], ago[5]), crash=ago[6])

    @property
    def peak(self) -> datetime:
        """The first candle of the crash."""
        return self.crash + timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stack that is up, behind it exchanges.

    Attributes:
        feeds: The file that configures the feeds.
        faults: What the exchange of this week does wrong from now on.
        faults_then: What that of the recorded days does.
        made_up: The exchange that has a past.
        passwords: Of each user.
        strangers: Processes that were there before it.
        stop: Stops it.
    """

    stack: Stack
    feeds: Path
    faults: FaultPlan
    faults_then: FaultPlan
    made_up: ReplayServer
    days: Days
    passwords: dict[str, str]
    strangers: list[psutil.Process]
    stop: ExitStack

    @property
    def url(self) -> str:
        """The address of Airflow's UI."""
        return self.stack.api.url


@contextmanager
def raised_stage(recording: Path) -> Iterator[Stage]:
    """Start everything, and load yesterday, of which one series is red, and a day with a hole.

    Args:
        recording: Of two days.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = Days.before(today)
    strangers = psutil.Process().children(recursive=True)
    with ExitStack() as stop:
        folder = stop.enter_context(folder_for_postgres())
        (folder / "feeds.toml").write_text(FEEDS.format(start=today - 13 * DAY), encoding="utf-8")
        _record(folder / "recording", TimeRange(today - _RECORDED_DAYS * DAY, today + DAY), days.peak)
        faults, faults_then = FaultPlan(), FaultPlan()
        market = RecordedMarket(folder / "recording")
        server = stop.enter_context(ReplayServer(market, faults=faults, limits=False))
        then = stop.enter_context(ReplayServer(RecordedMarket(recording), faults=faults_then))
        made_up = stop.enter_context(ReplayServer(MadeUpMarket()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHANDLER_FEEDS", str(folder / "feeds.toml"))
            for name, value in SPARING.items():
                patch.setenv(name, value)
            patch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
            patch.setenv("CHANDLER_EXCHANGES__REPLAY__BASE_URL", then.url)
            patch.setenv("CHANDLER_EXCHANGES__MADEUP__BASE_URL", made_up.url)
            patch.setenv("CHANDLER_EXCHANGES__MADEUP__BULK_URL", made_up.url + "/data")
            home = Home(folder / "home")
            screen = Screen(Console(file=io.StringIO()))
            starting = local_stack(home, screen, threading.Event(), with_replay=False, is_paused_at_creation=True)
            stack = stop.enter_context(starting)
        stage = Stage(
            stack, folder / "feeds.toml", faults, faults_then, made_up, days, home.passwords(()), strangers, stop
        )
        _load(stage)
        yield stage


def _load(stage: Stage) -> None:
    stack = stage.stack
    for exchange in ("binance", "replay", "madeup"):
        ensure_pool(stack.api, exchange)
    stage.faults.add("http_451", times=None, symbol=XRP.symbol)
    for dag in (MAJORS, OTHERS):
        wait_for_dag(stack, dag)
        # Switched on, the DAG loads yesterday by itself.
        stack.api.patch(f"/dags/{dag}", {"is_paused": False})
    _wait_for(stack, f"/dags/{MAJORS}/dagRuns/~/taskInstances", 2, task_id="partition.fetch", state="success")
    stage.faults.add("missing", times=None, symbol=BTC.symbol)
    day = stage.days.holed
    interval = {"data_interval_start": day.isoformat(), "data_interval_end": (day + DAY).isoformat()}
    stack.api.post(
        f"/dags/{MAJORS}/dagRuns",
        {"dag_run_id": f"manual__{day:%Y-%m-%d}", "logical_date": day.isoformat(), **interval},
    )
    wait_for_runs(stack, MAJORS)
    _wait_for(stack, f"/dags/{OTHERS}/dagRuns", 1, state="failed")
    stage.faults.clear()


def _wait_for(stack: Stack, path: str, count: int, **query: str) -> None:
    while stack.api.get(path, **query)["total_entries"] < count:
        stack.processes.pause(_POLL_S)


def _record(folder: Path, time_range: TimeRange, peak: datetime) -> None:
    """Write what the exchange serves: calm walks, in that of BTC a crash at `peak`."""
    count = (time_range.end - time_range.start) // MINUTE
    for seed, (series, price) in enumerate(_PRICES.items(), start=1):
        columns = to_columns(walk(count, seed))
        columns["open_time"] += time_range.start_ms - columns["open_time"][0]
        if series == BTC:
            _crash(columns, peak)
        columns |= {name: np.round(columns[name] * price / 100, 5 - int(np.log10(price))) for name in _PRICE_COLUMNS}
        columns["volume"] = np.round(columns["volume"], 5)
        times = pa.array(columns["open_time"], pa.timestamp("ms", tz="UTC"))
        table = pa.table({"open_time": times, **{name: columns[name] for name in (*_PRICE_COLUMNS, "volume")}})
        path = folder / "binance" / series.symbol.replace("/", "-") / "1m.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)


def _crash(columns: dict[str, Any], peak: datetime) -> None:
    """Let the price fall by a sixth within the candle at `peak`, and come back, half of the way in ten minutes."""
    minutes = (columns["open_time"] - int(peak.timestamp() * 1000)) / 60_000
    share = np.where(minutes >= 0, 1 - np.exp2(-np.maximum(minutes, 0) / 10) / 6, 1.0)
    columns["open"] = columns["open"] * np.roll(share, 1)
    columns["close"] = columns["close"] * share
    columns["high"] = np.maximum(columns["high"] * share, columns["open"])
    columns["low"] = np.minimum(columns["low"] * share, columns["open"])
    columns["volume"] = columns["volume"] * np.where((minutes >= 0) & (minutes < 10), CRASH_VOLUME, 1.0)
