"""A night of training in a real Airflow, with every scorer there is, and the page that its button leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from etl.feeds_file import load_settings
from etl.settings import Settings
from etl.warehouse import open_warehouse
from models.registry import champion
from models.scorers import LEARNED, SCORERS
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases
from tests.models.nights import BTC, DAYS, END, TARGET, market, store

FEEDS = """
[models]
history = "24d"
least_history = "18d"
held_out = "15d"
epochs = 1

[feeds.sound]
exchange = "binance"
symbols = ["BTC/USDT"]
timeframes = ["5m", "1h"]
start = 2024-01-01
"""
LATER = timedelta(days=60)  # than other tests' market: Airflow runs nothing from before a DAG begins
MIDNIGHT = END + LATER
SITE = "http://airflow.example:8080"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A night, and its report as one who is logged in sees it, or who is not, or who asks for another."""

    night: Run
    pages: dict[str, tuple[int, str]]
    settings: Settings


@pytest.fixture(scope="module")
def outcome(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Train on some weeks at 5m; at 1h there is nothing."""
    home = tmp_path_factory.mktemp("airflow")
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, FEEDS, url, {}) as airflow:
        settings = load_settings(home / "feeds.toml", home=home / "chandler", warehouse_url=url)
        with open_warehouse(settings) as warehouse:
            store(warehouse, BTC, market(1, days=DAYS + 1, later=LATER))
        night = airflow.run("train_models", MIDNIGHT + timedelta(hours=5))
        assert "train 0" in night.links, night.log[-3000:]
        page = night.links["train 0"].removeprefix(SITE)
        asked = {"seen": (page, "viewer"), "hidden": (page, None), "none": (f"{page}999", "viewer")}
        yield Outcome(night, {name: airflow.show(*one) for name, one in asked.items()}, settings)


def test_a_night_trains_up_to_the_end_of_its_interval(outcome: Outcome) -> None:
    """One task a timeframe, labelled by it; what it registers has learned from nothing later."""
    tasks = outcome.night.tasks
    assert {place: (task["label"], task["state"]) for place, task in tasks.items()} == {
        ("list_targets", -1): (None, "success"),
        ("train", 0): ("5m", "success"),
        ("train", 1): ("1h", "skipped"),
    }
    with open_warehouse(outcome.settings) as warehouse, warehouse.begin() as connection:
        now = champion(connection, TARGET)
    assert now is not None
    assert now.held_out.end == outcome.night.interval[1] == MIDNIGHT + timedelta(hours=4, minutes=30)
    assert {one["model"] for one in now.metrics["summaries"]} == set(SCORERS)
    assert f"{now.name} ({now.scorer}) is champion." in outcome.night.log
    assert f"{LEARNED}: epoch 1 of 1" in outcome.night.log


def test_too_little_history_is_a_square_that_is_skipped_and_says_why(outcome: Outcome) -> None:
    """A timeframe that is new is not red for weeks."""
    assert "too little of 1h to learn from: there are no candles" in outcome.night.log


def test_the_report_is_for_who_is_logged_in(outcome: Outcome) -> None:
    """The button leads to the night's whole comparison; whoever is not logged in sees nothing of it."""
    status, body = outcome.pages["seen"]
    assert status == 200
    assert all(name in body for name in SCORERS)
    assert outcome.pages["hidden"] == (401, '{"detail":"Not authenticated"}')
    assert outcome.pages["none"][0] == 404
