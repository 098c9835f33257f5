"""Maintenance in a real Airflow, and the warning of a load whose Parquet could not be written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etl.audit import audit, is_sound
from etl.feeds_file import load_settings
from etl.maintenance import STEPS
from etl.replay import RecordedMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import open_stores
from etl.warehouse import known_series, retired_ranges
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases

FEEDS = """
[keep]
warehouse = "1d"

[feeds.sound]
exchange = "sound"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[exchanges]
sound = { protocol = "binance" }
"""
BTC = Series.parse("sound:BTC/USDT:1m")
DAY = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
NIGHT = datetime(2024, 3, 5, 4, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A day loaded while a month cannot be written as Parquet, nights before and after it can, the day once more."""

    day: Run
    blocked: Run
    mended: Run
    again: Run
    fallback: Path
    settings: Settings


@pytest.fixture(scope="module")
def outcome(postgres: str, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Let a folder stand where the file of a month should be, which keeps root off, too; then take it away."""
    home = tmp_path_factory.mktemp("airflow")
    file = home / "chandler" / "archive" / "candles" / BTC.path / "2024-03.parquet"
    in_the_way = file / "in the way"
    in_the_way.mkdir(parents=True)
    with ReplayServer(RecordedMarket(recording)) as server, fresh_databases(postgres, 1) as [url]:
        environment = {"CHANDLER_EXCHANGES__SOUND__BASE_URL": server.url}
        with AirflowProcess(home, FEEDS, url, environment) as airflow:
            day = airflow.run("ingest_sound", DAY.end)
            blocked = airflow.run("maintain_stores", NIGHT)
            in_the_way.rmdir()
            file.rmdir()
            mended = airflow.run("maintain_stores", NIGHT)
            again = airflow.run("ingest_sound", DAY.end)
        settings = load_settings(home / "feeds.toml", home=home / "chandler", warehouse_url=url)
        yield Outcome(day, blocked, mended, again, file.with_suffix(".jsonl"), settings)


def test_a_load_that_had_to_fall_back_is_green_and_warns(outcome: Outcome) -> None:
    """The run has succeeded and nothing is lost; one red task names the file and the command that converts it."""
    assert outcome.day.state == "success"
    assert [outcome.day.tasks["partition.load", index]["state"] for index in (0, 1)] == ["success", "success"]
    assert outcome.day.states() == {"list_series": "success", "account": "success", "warn": "failed"}
    assert outcome.day.tasks["warn", -1]["tries"] == 1, "no retry helps"
    assert f"the candles are kept in {outcome.fallback}; run chandler archive convert" in outcome.day.log


def test_a_night_in_which_something_is_wrong_is_red_and_does_the_rest(outcome: Outcome) -> None:
    """The step fails that cannot be done, and those that it concerns; the others are done, the summary tells all."""
    states = outcome.blocked.states()
    assert outcome.blocked.state == "failed"
    failed = {step for step in STEPS if states[step] == "failed"}
    assert {"convert", "retire"} <= failed <= {"convert", "retire", "check_sample"}
    assert {states[step] for step in set(STEPS) - failed} == {"success"}
    assert (states["summary"], states["finished"]) == ("success", "upstream_failed")
    assert f"convert: {outcome.fallback} still waits" in outcome.blocked.log
    assert "0 empty chunks dropped" in outcome.blocked.log


def test_once_it_can_be_written_all_is_green(outcome: Outcome) -> None:
    """The next night converts, and retires what it had to leave; the warning, asked for again, has nothing to say."""
    assert outcome.mended.state == "success", outcome.mended.log[-3000:]
    assert set(outcome.mended.states().values()) == {"success"}
    assert "1 fallbacks made Parquet" in outcome.mended.log
    assert not outcome.fallback.exists()
    assert outcome.again.state == "success"
    assert set(outcome.again.states().values()) == {"success"}


def test_what_was_retired_is_accounted_for_and_comes_back_when_it_is_loaded(outcome: Outcome) -> None:
    """The nights took the day out of the warehouse, the rerun found each candle equal; nothing is revised."""
    for night in (outcome.blocked, outcome.mended):
        assert "1,395 candles from before 2024-03-04 retired from the warehouse" in night.log
    with open_stores(outcome.settings) as stores:
        with stores.warehouse.begin() as connection:
            assert retired_ranges(connection, known_series(connection)[BTC]) == []
            assert connection.exec_driver_sql("SELECT count(*) FROM candle_revisions").scalar_one() == 0
        assert is_sound(audit(stores))
