"""The ingest DAG in a real Airflow, against a real exchange's protocol and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from etl.feeds import ExchangeSettings
from etl.feeds_file import load_settings
from etl.ingest import ingest
from etl.judging import judge_loads
from etl.plan import settling
from etl.replay import FaultPlan, RecordedMarket, ReplayServer
from etl.replay.faults import Fault
from etl.series import TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.warehouse import unjudged_loads
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases
from tests.snapshots import archive_of, tables_of

DAYS = [datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)]
FEEDS = """
[feeds.sound]
exchange = "sound"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.typo]
exchange = "typo"
symbols = ["BTC/USDT", "BTD/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.flaky]
exchange = "flaky"
symbols = ["BTC/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[exchanges]
sound = { protocol = "binance" }
typo = { protocol = "binance" }
flaky = { protocol = "binance" }
"""
PASSWORD = "nobody-may-see-this"  # noqa: S105  # the test's server lets in without one
# A day is two pages, each of which a task asks for four times: so many, and one of the two is given up.
REFUSALS = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of the runs, pages by who asks for them, the stores they filled, and Airflow's own folder."""

    sound: list[Run]
    typo: Run
    flaky: Run
    pages: Mapping[str, tuple[int, str]]
    settings: Settings
    airflow_home: Path


@pytest.fixture(scope="module")
def databases(postgres: str) -> Iterator[list[str]]:
    """The addresses of two databases: one for Airflow's way, one for the other."""
    with fresh_databases(postgres, 2) as urls:
        yield urls


@pytest.fixture(scope="module")
def outcome(databases: list[str], recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Run two days of the sound feed, and one of each of the others."""
    home = tmp_path_factory.mktemp("airflow")
    faults = FaultPlan(Fault("http_500", times=REFUSALS))
    market = RecordedMarket(recording)
    with ReplayServer(market) as sound, ReplayServer(market, faults=faults) as flaky:
        environment = {
            "AIRFLOW_CONN_CHANDLER_EXCHANGE_FLAKY": flaky.url + "/http",
            "CHANDLER_EXCHANGES__SOUND__BASE_URL": sound.url,
            "CHANDLER_EXCHANGES__TYPO__BASE_URL": sound.url,
        }
        # Run by hand, a DAG's interval is the one that ended last.
        days = [day + timedelta(days=1) for day in DAYS]
        wanted = [("sound", days[0]), ("sound", days[1]), ("typo", days[1]), ("flaky", days[1])]
        guarded = make_url(databases[0]).set(password=PASSWORD).render_as_string(hide_password=False)
        with AirflowProcess(home, FEEDS, guarded, environment) as airflow:
            *sound_runs, typo_run, flaky_run = [airflow.run(f"ingest_{name}", day) for name, day in wanted]
            page = sound_runs[0].links["account -1"].removeprefix("http://airflow.example:8080")
            asked = {"seen": (page, "viewer"), "hidden": (page, None), "odd": (f"{page}&series=<b>", "viewer")}
            pages = {name: airflow.show(*one) for name, one in asked.items()}
        addresses = {name: {"protocol": "binance", "base_url": sound.url} for name in ("sound", "typo", "flaky")}
        exchanges = {name: ExchangeSettings.model_validate(own) for name, own in addresses.items()}
        settings = load_settings(
            home / "feeds.toml", home=home / "chandler", warehouse_url=databases[0], exchanges=exchanges
        )
        yield Outcome(sound_runs, typo_run, flaky_run, pages, settings, home)


def test_runs_take_their_window_from_the_data_interval(outcome: Outcome) -> None:
    """A run loads the day of its interval, and a later one settles the day before it again."""
    assert [run.state for run in outcome.sound] == ["success", "success"]
    for run, day in zip(outcome.sound, DAYS, strict=True):
        assert run.interval == (day, day + timedelta(days=1))
    starts = [{event["start"] for event in run.events} for run in outcome.sound]
    assert starts == [{DAYS[0].isoformat()}, {DAYS[0].isoformat()}]


def test_a_load_announces_series_and_range(outcome: Outcome) -> None:
    """Whoever listens to the asset is told what was loaded, once for each series."""
    day = {"start": "2024-02-29T00:00:00+00:00", "end": "2024-03-01T00:00:00+00:00"}
    assert sorted(outcome.sound[0].events, key=lambda event: event["series"]) == [
        {"asset": "candles", "series": f"sound:{symbol}:1m", **day} for symbol in ("BTC/USDT", "ETH/USDT")
    ]


def test_mapped_tasks_are_labelled_with_their_series(outcome: Outcome) -> None:
    """A square in the grid says which series it is, a red one too."""
    labels = {place: task["label"] for place, task in outcome.sound[0].tasks.items() if place[1] >= 0}
    assert labels == {
        (f"partition.{step}", index): f"sound:{symbol}:1m"
        for step in ("fetch", "clean", "load")
        for index, symbol in enumerate(("BTC/USDT", "ETH/USDT"))
    }
    assert outcome.typo.tasks["partition.fetch", 1]["label"] == "typo:BTD/USDT:1m"


def test_every_run_tells_the_quality_of_its_series(outcome: Outcome) -> None:
    """The log of a run has a table with a row a series, judged, and tasks have a link to the same by day."""
    lines = [
        line.split(" [chandler_airflow")[0] for line in outcome.sound[1].log.splitlines() if "  2024-03-01" in line
    ]
    row = "sound:BTC/USDT:1m 2024-03-01 1,440 1,395 45 outage 0 0 0 0"
    assert " ".join(lines[-2].split()).endswith(row)
    assert "sound:ETH/USDT:1m  2024-03-01" in lines[-1]
    series = "series=sound%3ABTC%2FUSDT%3A1m&series=sound%3AETH%2FUSDT%3A1m"
    day = "start=2024-03-01T00%3A00%3A00%2B00%3A00&end=2024-03-02T00%3A00%3A00%2B00%3A00"
    links = outcome.sound[1].links
    assert links["account -1"] == f"http://airflow.example:8080/chandler/quality?{series}&{day}"
    assert set(links) == {"account -1", "partition.load 0", "partition.load 1"}


def test_the_page_of_quality_is_for_who_is_logged_in(outcome: Outcome) -> None:
    """The link leads to a table with the days of each series; whoever is not logged in sees nothing of it."""
    status, body = outcome.pages["seen"]
    assert status == 200
    assert (
        '<td>sound:BTC/USDT:1m</td><td>2024-02-29</td><td class="number">1,440</td><td class="number">689</td>' in body
    )
    assert '<td class="strange">720 no_trades, 30 outage, 1 refused</td><td class="wrong">1 not_positive</td>' in body
    assert outcome.pages["hidden"] == (401, '{"detail":"Not authenticated"}')
    assert outcome.pages["odd"][0] == 422


def test_airflow_leaves_what_the_library_leaves(outcome: Outcome, databases: list[str], tmp_path: Path) -> None:
    """Loaded through Airflow or by `etl`, the stores hold the same, judged absences and quarantine included."""
    by_hand = outcome.settings.model_copy(update={"home": tmp_path, "warehouse_url": databases[1]})
    with open_stores(by_hand) as stores:
        for day in DAYS:
            for name in ("sound", "typo", "flaky"):
                if name == "sound" or day == DAYS[1]:
                    _ingest_day(stores, name, day)
        judge_loads(stores, None, run="by hand")
        expected_tables, expected_files = _sorted_tables(stores), archive_of(stores)
    with open_stores(outcome.settings) as stores:
        assert _sorted_tables(stores) == expected_tables
        assert archive_of(stores) == expected_files
    assert expected_tables["absences"]
    assert expected_tables["quarantine"]


def test_an_unknown_symbol_fails_at_once_and_alone(outcome: Outcome) -> None:
    """A failure that no retry can help is tried once, and the neighbours are loaded."""
    tasks = outcome.typo.tasks
    assert outcome.typo.state == "failed"
    assert (tasks["partition.fetch", 1]["state"], tasks["partition.fetch", 1]["tries"]) == ("failed", 1)
    for step, before in (("clean", "fetch"), ("load", "clean")):
        after = tasks[f"partition.{step}", 1]
        assert (after["state"], after["tries"], after["label"]) == ("failed", 1, "typo:BTD/USDT:1m")
        assert f"clear partition.{before} of typo:BTD/USDT:1m with what follows" in outcome.typo.log
    assert [tasks["partition.load", index]["state"] for index in (0, 2)] == ["success", "success"]


def test_the_message_of_a_failure_is_a_line_of_its_own(outcome: Outcome) -> None:
    """Above the traceback, which Airflow's page cuts: final, retried, or with nothing to work on."""
    lines = outcome.typo.log.splitlines()
    for message in ("lists no BTD/USDT", "partition.fetch of typo:BTD/USDT:1m has", "partition.clean of typo:"):
        own = next(n for n, line in enumerate(lines) if message in line)
        assert "chandler_airflow.failures" in lines[own], lines[own]
        assert any("Traceback" in line for line in lines[own + 1 :])
    assert "[chandler_airflow.failures]" in outcome.flaky.log


def test_a_failed_run_is_accounted_for_and_stays_failed(outcome: Outcome) -> None:
    """The series loaded beside one that failed are judged and told of, and the run is red nevertheless."""
    assert outcome.typo.states() == {"list_series": "success", "account": "success", "warn": "success"}
    assert outcome.typo.state == "failed"
    with open_stores(outcome.settings) as stores, stores.warehouse.begin() as connection:
        assert unjudged_loads(connection) == []


def test_an_exchange_in_trouble_is_tried_again(outcome: Outcome) -> None:
    """A failure that a retry may help is retried by Airflow, with the exchange's address from a Connection."""
    fetch = outcome.flaky.tasks["partition.fetch", 0]
    assert outcome.flaky.state == "success"
    assert fetch["tries"] == 2


def _ingest_day(stores: Stores, feed: str, day: datetime) -> None:
    for series in stores.settings.feed(feed).series:
        if series.symbol != "BTD/USDT":
            wanted = Partition(series, TimeRange(day, day + timedelta(days=1)))
            ingest(stores, settling(stores, wanted, timedelta(days=1)), run="by hand")


def _sorted_tables(stores: Stores) -> dict[str, list[tuple[Any, ...]]]:
    """The feeds share symbols, which is what the tables are read in the order of."""
    return {name: sorted(rows, key=repr) for name, rows in tables_of(stores).items()}


def test_no_password_is_where_people_look(outcome: Outcome) -> None:
    """Of the Connection that tasks go by nothing is in logs, XCom, rendered templates or any other row of Airflow's."""
    written = [path for path in outcome.airflow_home.rglob("*") if path.is_file() and "chandler" not in path.parts]
    assert any(path.name == "airflow.db" for path in written)
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
    for run in (*outcome.sound, outcome.typo, outcome.flaky):
        assert PASSWORD not in run.log
    assert all(PASSWORD not in body for _, body in outcome.pages.values())
