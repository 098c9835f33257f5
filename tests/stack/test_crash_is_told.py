"""From load to message, through a real Airflow, on recordings: the flash crash of 2021-12-04, loaded as if live.

A month of the past is backfilled and trained on; then the day is loaded. The same asset on another exchange is made of
the same recording, with a little noise.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from etl.incidents import Incident, Scope, Severity
from etl.ingest import clean_pages, fetch, load
from etl.replay import RecordedMarket, ReplayServer
from etl.series import Series, TimeRange, clip
from etl.stores import Partition, open_stores
from etl.warehouse import Warehouse, Wish, list_incidents, open_warehouse
from stack.backfill import Backfill, run_backfill
from stack.home import Home
from stack.local import Stack, ensure_pool, local_stack, wait_for_dag
from stack.screen import Screen
from tests.alerts.receivers import MailReceiver, WebReceiver, mail_receiver, web_receiver
from tests.databases import folder_for_postgres
from tests.patience import PATIENCE_S
from tests.stack.sparing import SPARING

SYMBOLS = ("BTC/USDT", "ETH/USDT", "XRP/USDT")
CRASH_DAY = TimeRange(datetime(2021, 12, 4, tzinfo=UTC), datetime(2021, 12, 5, tzinfo=UTC))
CRASH = TimeRange(CRASH_DAY.start + timedelta(hours=4, minutes=50), CRASH_DAY.start + timedelta(hours=5, minutes=40))
DAYS_BEFORE = TimeRange(datetime(2021, 12, 1, tzinfo=UTC), CRASH_DAY.start)
RECORDED = TimeRange(datetime(2021, 11, 12, tzinfo=UTC), CRASH_DAY.end)
FEEDS = """
[models]
history = "22d"
least_history = "20d"
held_out = "9d"
epochs = 2

[feeds.live]
exchange = "live"
symbols = ["BTC/USDT", "ETH/USDT", "XRP/USDT"]
timeframes = ["1m"]
start = 2021-11-01

[feeds.witness]
exchange = "witness"
symbols = ["BTC/USDT", "ETH/USDT", "XRP/USDT"]
timeframes = ["1m"]
start = 2021-11-01

[exchanges]
live = { protocol = "binance" }
witness = { protocol = "binance" }
"""
# The day is long gone by the clock, and is loaded as if it had just ended.
ALERTS = """
news = "36500d"

[channels]
hook = { allow_private = true }
mail = { allow_private = true }
chat = { allow_private = true }

[[routes]]
channels = ["hook", "mail", "chat"]
exchanges = ["live"]
"""


@dataclass(frozen=True, slots=True)
class Told:
    """Messages and incidents of the day.

    Attributes:
        before: How many messages had arrived when the past was loaded, trained on and scored.
        after: How many had when the day was loaded once more, as a backfill.
        stages: When what happened, in seconds since the load of the first series was committed.
    """

    hook: WebReceiver
    mail: MailReceiver
    chat: WebReceiver
    before: int
    after: int
    past: list[Incident]
    day: list[Incident]
    stages: dict[str, float]


@pytest.fixture(scope="module")
def told(real_data: Path) -> Iterator[Told]:
    """Load the past, train, load the day, and wait until it is told."""
    with ExitStack() as stop:
        hook, chat = (stop.enter_context(web_receiver()) for _ in range(2))
        mail = stop.enter_context(mail_receiver())
        folder = stop.enter_context(folder_for_postgres())
        (folder / "feeds.toml").write_text(FEEDS, encoding="utf-8")
        (folder / "alerts.toml").write_text(ALERTS, encoding="utf-8")
        _record(real_data, folder / "recording")
        stack = _start(stop, folder, hook, mail, chat)
        warehouse = stop.enter_context(open_warehouse(stack.settings, creates=True))
        _load_the_past(stack)
        _train(stack, warehouse)
        before, past = len(hook.requests) + len(chat.requests) + len(mail.mails), _incidents(warehouse)
        _load_the_day(stack)
        _wait(stack, lambda: bool(hook.requests and chat.requests and mail.mails), 120)
        _settle(stack)
        day = [one for one in _incidents(warehouse) if one.found.time_range.start >= CRASH_DAY.start]
        stages = _stages(warehouse, hook.requests[0].arrived_at)
        arrived = [*hook.requests], [*mail.mails], [*chat.requests]
        _backfill(stack, "ingest_live", CRASH_DAY, is_again=True)
        _settle(stack)
        after = len(hook.requests) + len(chat.requests) + len(mail.mails) - sum(map(len, arrived))
        yield Told(hook, mail, chat, before, after, past, day, stages)


def test_the_crash_is_one_market_incident_a_symbol_in_one_message_a_channel(told: Told) -> None:
    """Ten symbols that crash together are one message that lists them, with what the other exchange did."""
    crash = [one for one in told.day if clip(one.found.time_range, CRASH) is not None]
    assert {one.found.series.symbol for one in crash} == set(SYMBOLS), _facts(told.day)
    # An echo more than half an hour later is an incident of its own, and part of the same message.
    assert len(crash) <= len(SYMBOLS) + 1, _facts(told.day)
    assert {one.found.scope for one in crash} == {Scope.MARKET}, _facts(told.day)
    assert Severity.CRITICAL in {one.found.severity for one in crash}
    for bodies in (
        [request.json["message"] for request in told.hook.requests],
        [json.loads(request.body)["text"] for request in told.chat.requests],
        [mail.get_body(("html", "plain")).get_content() for mail in told.mail.mails],  # type: ignore[union-attr]
    ):
        crashed = [body for body in bodies if "05:0" in body]
        assert len(crashed) == 1, bodies
        assert all(symbol in crashed[0].replace("\\/", "/") for symbol in SYMBOLS), crashed[0]
    assert any(part.get_content_type() == "image/png" for mail in told.mail.mails for part in mail.walk())


def test_each_stage_follows_the_one_before(told: Told) -> None:
    """From the commit of the load to the message; `pytest -s` shows how long each took, and the message."""
    print(told.hook.requests[0].json["title"], told.hook.requests[0].json["message"], sep="\n")  # noqa: T201
    print(json.dumps(told.stages, indent=1))  # noqa: T201  # what a person who measures reads
    stages = ("loaded", "alerted", "composed", "sending", "received")
    times = [told.stages[stage] for stage in stages]
    assert times == sorted(times)


def test_the_past_and_a_backfill_of_the_same_day_are_told_to_nobody(told: Told) -> None:
    """There are incidents in the past month, all of them history, and no message; nor is one of a backfill."""
    assert told.past
    assert all(one.is_history for one in told.past)
    assert told.before == 0
    assert told.after == 0


def _facts(found: list[Incident]) -> str:
    """Return incidents as a person reads them in a failed test."""
    one_line = "{0.series} {0.time_range} {0.kind} {0.scope} {0.severity}".format
    return "\n".join(one_line(one.found) for one in sorted(found, key=lambda one: one.found.peak))


def _record(recordings: Path, folder: Path) -> None:
    """Write what two exchanges serve: the recording, and the same with prices a little off."""
    for seed, symbol in enumerate(SYMBOLS):
        name = symbol.replace("/", "-")
        table = pq.read_table(recordings / "binance" / name / "1m.parquet", partitioning=None)
        opens = table["open_time"]
        first, end = (pa.scalar(bound, type=opens.type) for bound in (RECORDED.start, RECORDED.end))
        table = table.filter(pc.and_(pc.greater_equal(opens, first), pc.less(opens, end)))
        off = pa.array(np.exp(np.random.default_rng(seed).normal(0, 3e-5, table.num_rows)))
        other = table
        for price in ("open", "high", "low", "close"):
            other = other.set_column(other.column_names.index(price), price, pc.multiply(table[price], off))
        for exchange, candles in (("live", table), ("witness", other)):
            path = folder / exchange / name / "1m.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(candles, path)


def _start(stop: ExitStack, folder: Path, hook: WebReceiver, mail: MailReceiver, chat: WebReceiver) -> Stack:
    patch = stop.enter_context(pytest.MonkeyPatch.context())
    for name, value in SPARING.items():
        patch.setenv(name, value)
    patch.setenv("CHANDLER_FEEDS", str(folder / "feeds.toml"))
    patch.setenv("CHANDLER_ALERTS", str(folder / "alerts.toml"))
    patch.setenv("CHANDLER_CHANNEL_HOOK", hook.url("json"))
    patch.setenv(
        "CHANDLER_CHANNEL_CHAT", hook.url("mmost", "/abcdefghijklmnop").replace(str(hook.port), str(chat.port))
    )
    patch.setenv("CHANDLER_CHANNEL_MAIL", mail.url)
    for exchange in ("live", "witness"):
        server = stop.enter_context(ReplayServer(RecordedMarket(folder / "recording", exchange), limits=False))
        patch.setenv(f"CHANDLER_EXCHANGES__{exchange.upper()}__BASE_URL", server.url)
    screen = Screen(Console(file=io.StringIO()))
    starting = local_stack(
        Home(folder / "home"), screen, threading.Event(), with_replay=False, is_paused_at_creation=True
    )
    stack = stop.enter_context(starting)
    for exchange in ("live", "witness"):
        ensure_pool(stack.api, exchange)
    for dag in ("ingest_live", "history_live", "train_models", "score_anomalies", "deliver_alerts"):
        wait_for_dag(stack, dag)
    return stack


def _load_the_past(stack: Stack) -> None:
    """Backfill November of one exchange by the month, what follows by the day; the other just has its last days."""
    month = {"from_date": "2021-11-01T00:00:00Z", "to_date": "2021-11-01T00:00:00Z"}
    stack.api.post("/backfills", {"dag_id": "history_live", **month, "reprocess_behavior": "none"})
    with open_stores(stack.settings) as stores:
        for series in stack.settings.feed("witness").series:
            partition = Partition(series, TimeRange(CRASH_DAY.start - timedelta(days=2), CRASH_DAY.end))
            fetch(stores, partition)
            clean_pages(stores, partition)
            load(stores, partition, "witness", is_history=True)
    _backfill(stack, "ingest_live", DAYS_BEFORE)
    _settle(stack)


def _backfill(stack: Stack, dag: str, days: TimeRange, *, is_again: bool = False) -> None:
    if is_again:
        body = {"dag_id": dag, "from_date": days.start.isoformat(), "to_date": days.start.isoformat()}
        stack.api.post("/backfills", {**body, "reprocess_behavior": "completed"})
        _settle(stack, dag)
        return
    assert run_backfill(stack.api, Backfill(dag, days, len(SYMBOLS)), lambda _: None, stack.processes.pause)


def _train(stack: Stack, warehouse: Warehouse) -> None:
    """Train up to the crash day, and wait until all of the past is scored by what it made."""
    run = {"logical_date": (CRASH_DAY.start + timedelta(hours=4, minutes=30)).isoformat(), "dag_run_id": "night"}
    stack.api.post("/dags/train_models/dagRuns", run)
    _settle(stack, "train_models", 400)

    def is_scored() -> bool:
        with warehouse.begin() as connection:
            left = (
                "SELECT count(*) FROM loads JOIN series s ON s.id = series_id WHERE exchange = 'live' AND NOT is_scored"
            )
            return connection.exec_driver_sql(left).scalar_one() == 0

    _wait(stack, is_scored, 120)
    _settle(stack)


def _load_the_day(stack: Stack) -> None:
    """Let the feed's DAG load the day that ends at the logical date: a run by hand, and no backfill."""
    stack.api.post("/dags/ingest_live/dagRuns", {"logical_date": CRASH_DAY.end.isoformat(), "dag_run_id": "live"})


def _settle(stack: Stack, dag: str = "~", timeout_s: float = PATIENCE_S) -> None:
    """Wait until no run is under way, and none has begun a moment later."""
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        busy = stack.api.get(f"/dags/{dag}/dagRuns", state=["queued", "running"], limit=1)["total_entries"]
        quiet = 0 if busy else quiet + 1
        return quiet > 8

    _wait(stack, is_quiet, timeout_s)


def _wait(stack: Stack, is_done: Any, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, "it takes too long"
        stack.processes.pause(0.5)


def _incidents(warehouse: Warehouse) -> list[Incident]:
    series = [Series.parse(f"live:{symbol}:1m") for symbol in SYMBOLS]
    with warehouse.begin() as connection:
        return list_incidents(connection, Wish(series=series))


def _stages(warehouse: Warehouse, received_at: float) -> dict[str, float]:
    query = """
        SELECT (SELECT min(loaded_at) FROM loads WHERE run = 'live') AS loaded,
            (SELECT max(loaded_at) FROM loads WHERE run = 'live') AS all_loaded,
            (SELECT min(created_at) FROM alerts WHERE incident_id IS NOT NULL) AS alerted,
            (SELECT max(created_at) FROM alerts WHERE incident_id IS NOT NULL) AS all_alerted,
            (SELECT min(created_at) FROM messages) AS composed,
            (SELECT min(began_at) FROM message_tries) AS sending
    """
    with warehouse.begin() as connection:
        row = connection.exec_driver_sql(query).one()
    stages = {name: round((at - row.loaded).total_seconds(), 1) for name, at in row._mapping.items()}
    return stages | {"received": round(received_at - row.loaded.timestamp(), 1)}
