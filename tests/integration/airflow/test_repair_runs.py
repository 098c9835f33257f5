"""The repair DAG in a real Airflow: what an exchange adds later is had, and whoever listens is told of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.audit import audit, is_sound
from etl.feeds import ExchangeSettings
from etl.feeds_file import load_settings
from etl.ingest import ingest
from etl.replay import FaultPlan, RecordedMarket, ReplayServer
from etl.replay.faults import Fault
from etl.replay.market import Market
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Partition, open_stores
from etl.timeframe import to_ms
from etl.warehouse import known_series, read_absences, unannounced_loads
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases

FEEDS = """
[feeds.gappy]
exchange = "gappy"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.away]
exchange = "away"
symbols = ["BTC/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[exchanges]
gappy = { protocol = "binance", repair_share = 1 }
away = { protocol = "binance" }
"""
AWAY = Series.parse("away:BTC/USDT:1m")
BTC, ETH = (Series.parse(f"gappy:{symbol}/USDT:1m") for symbol in ("BTC", "ETH"))
DAY = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
BEFORE = TimeRange(DAY.start - timedelta(days=1), DAY.start)
HOLE = TimeRange(datetime(2024, 3, 1, 6, tzinfo=UTC), datetime(2024, 3, 1, 8, tzinfo=UTC))
SETTLED = datetime(2024, 3, 3, 9, tzinfo=UTC)  # the exchange's time when it is asked first
LATER = SETTLED + timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The runs of a day with a hole, of an hour in which nothing is due, of one when the hole is filled, and after."""

    day: Run
    idle: Run
    filling: Run
    after: Run
    settings: Settings


@pytest.fixture(scope="module")
def outcome(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Load a day by Airflow, and more by hand; repair before and after the exchange fills its hole.

    The other exchange has the same hole, and at first talks nonsense when it is asked again.
    """
    home = tmp_path_factory.mktemp("airflow")
    addresses = {name: f"http://127.0.0.1:{_free_port()}" for name in ("gappy", "away")}
    environment = {f"CHANDLER_EXCHANGES__{name.upper()}__BASE_URL": url for name, url in addresses.items()}
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, FEEDS, url, environment) as airflow:
        exchanges = {
            name: ExchangeSettings.model_validate({"protocol": "binance", "base_url": address})
            for name, address in addresses.items()
        }
        settings = load_settings(home / "feeds.toml", home=home / "chandler", warehouse_url=url, exchanges=exchanges)
        with _serving(_market(home / "first", [HOLE]), SETTLED, addresses):
            day = airflow.run("ingest_gappy", DAY.end)
            with open_stores(settings) as stores:
                ingest(stores, Partition(BTC, BEFORE), run="by hand")
                ingest(stores, Partition(AWAY, DAY), run="by hand")
            idle = airflow.run("repair_gaps", SETTLED + timedelta(hours=2))
        with _serving(_market(home / "second", []), LATER, addresses, away=FaultPlan(Fault("html", times=None))):
            filling = airflow.run("repair_gaps", LATER + timedelta(hours=2))
        with _serving(_market(home / "third", []), LATER + timedelta(hours=1), addresses):
            after = airflow.run("repair_gaps", LATER + timedelta(hours=3))
        yield Outcome(day, idle, filling, after, settings)


def test_an_hour_in_which_nothing_is_due_is_green_and_says_so(outcome: Outcome) -> None:
    """A range that was asked for a moment ago is left alone; what a person has loaded is told of all the same."""
    assert outcome.idle.state == "success"
    assert "nothing to do: nothing of gappy is absent and due by 2024-03-03 10:20" in outcome.idle.log
    assert outcome.idle.events == [
        {"asset": "candles", "series": str(BTC), **BEFORE.to_dict()},
        {"asset": "candles", "series": str(AWAY), **DAY.to_dict()},
    ]


def test_what_the_exchange_adds_is_had_and_told_of_once(outcome: Outcome) -> None:
    """A later hour asks again: the candles are there, the absence is gone, an event says which range has changed."""
    assert outcome.day.state == "success"
    assert "120 outage" in outcome.day.log
    told = [{"asset": "candles", "series": str(series), **HOLE.to_dict()} for series in (BTC, ETH)]
    assert sorted(outcome.filling.events, key=lambda event: event["series"]) == told
    assert [event for event in outcome.after.events if event["series"] != str(AWAY)] == []
    with open_stores(outcome.settings) as stores:
        with stores.warehouse.begin() as connection:
            known = known_series(connection)
            assert [read_absences(connection, known[series], DAY) for series in (BTC, ETH)] == [[], []]
            assert unannounced_loads(connection) == []
        assert is_sound(audit(stores))


def test_an_exchange_that_fails_is_red_and_hinders_nobody(outcome: Outcome) -> None:
    """The others are repaired and told of; the run has failed; what is absent stays due and is asked for next time."""
    states = outcome.filling.states()
    assert outcome.filling.state == "failed"
    assert (states.pop("repair_away"), states.pop("finished")) == ("failed", "upstream_failed")
    assert set(states.values()) == {"success"}
    assert outcome.after.state == "success"
    assert outcome.after.events == [{"asset": "candles", "series": str(AWAY), **HOLE.to_dict()}]


@contextmanager
def _serving(market: Market, now: datetime, addresses: Mapping[str, str], **faults: FaultPlan) -> Iterator[None]:
    """Run an exchange at each address, all with the same market at the same time."""
    with ExitStack() as servers:
        for name, address in addresses.items():
            port = int(address.rpartition(":")[2])
            servers.enter_context(ReplayServer(market, port=port, clock=lambda: to_ms(now), faults=faults.get(name)))
        yield


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _market(folder: Path, lacks: list[TimeRange]) -> RecordedMarket:
    """Return a market of two symbols over two days, which lacks what is said."""
    times = np.arange(BEFORE.start_ms, DAY.end_ms, 60_000)
    for span in lacks:
        times = times[(times < span.start_ms) | (times >= span.end_ms)]
    for seed, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        price = 100 * np.exp(np.random.default_rng(seed).standard_normal(len(times)) * 1e-4)
        columns = {"open": price, "high": price * 1.001, "low": price * 0.999, "close": price, "volume": price}
        open_time = pa.array(times).cast(pa.timestamp("ms", tz="UTC"))
        path = folder / "binance" / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"open_time": open_time, **{name: pa.array(v) for name, v in columns.items()}}), path)
    return RecordedMarket(folder)
