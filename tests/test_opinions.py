"""Second opinions in the warehouse: asked once, within a budget a day, and the alert stays what it was."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from etl import opinions as asking
from etl.alerting import Alerting
from etl.alerts.opinion import Problem
from etl.errors import ConfigError
from etl.incidents import Detector, Evidence, Fired, Found, Incident, Kind, Numbers, Scope, Severity, Witness
from etl.opinions import Asked, ask_opinions
from etl.schema import Flag
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Stores
from etl.warehouse import (
    Warehouse,
    ensure_series,
    find_incident,
    open_incident,
    open_warehouse,
    put_incident_alert,
    read_incident_changes,
)
from etl.warehouse.incident_tables import alerts, opinions
from etl.warehouse.tables import candles
from tests.alerts.language_model import SAID, LanguageModel, Reply, completion, language_model
from tests.alerts.test_opinion import BAD, LOUD
from tests.snapshots import tables_of

BTC, OTHER = Series.parse("binance:BTC/USDT:1m"), Series.parse("kraken:BTC/USD:1m")
START = datetime(2024, 3, 1, 5, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 6, tzinfo=UTC)
KEY = "sk-very-secret"


@pytest.fixture
def model() -> Iterator[LanguageModel]:
    """A server that answers as it should until a test wants otherwise."""
    with language_model() as running:
        yield running


def alerting_of(model: LanguageModel, **changes: Any) -> Alerting:
    """Return what alerts.toml says of a server on this machine."""
    own = {"url": model.url, "model": "tiny", "timeout_s": 60, "allow_private": True, **changes}
    return Alerting.model_validate({"opinion": own})


def put_incident(warehouse: Warehouse, severity: Severity = Severity.CRITICAL, minutes: int = 0) -> int:
    """Write an incident with an alert that nobody was told of; return its number."""
    start = START + timedelta(minutes=minutes)
    numbers = Numbers(100.0, 101.0, 87.0, 90.0, 12.5, 77)
    evidence = Evidence(
        numbers,
        last_close=100.123456789,
        usual_volume=3.0,
        move_pct=-13.1,
        shares={"return": 1.0},
        fired=(Fired(Kind.CRASH, "low 87.00 is 13.1 % below the last close"),),
        witnesses=(Witness(OTHER, numbers, -12.0, True, LOUD),),
    )
    found = Found(
        BTC,
        Detector.MODEL,
        TimeRange(start, start + timedelta(minutes=3)),
        start,
        Kind.CRASH,
        Scope.MARKET,
        severity,
        evidence,
        is_over=True,
    )
    with warehouse.begin() as connection:
        number = open_incident(connection, ensure_series(connection, BTC), found, "run", is_history=False)
        assert put_incident_alert(connection, number, found)
    return number


def ask(stores: Stores, alerting: Alerting, now: datetime = NOW) -> Asked:
    """Ask of all that is to be asked of."""
    return ask_opinions(stores.warehouse, alerting, KEY, now, "asking")


def incident_of(stores: Stores, number: int) -> Incident:
    """Return an incident as it is."""
    with stores.warehouse.begin() as connection:
        return find_incident(connection, number)


def alerts_of(stores: Stores) -> list[Any]:
    """Return the outbox as it is."""
    with stores.warehouse.begin() as connection:
        return list(connection.execute(select(alerts).order_by(alerts.c.id)))


def rows_of(stores: Stores) -> list[Any]:
    """Return the rows of the table opinions."""
    with stores.warehouse.begin() as connection:
        return list(connection.execute(select(opinions).order_by(opinions.c.id)))


def test_an_opinion_stands_beside_the_incident(stores: Stores, model: LanguageModel) -> None:
    """With the name of who gave it, on record, once; the alert waits as it did, and the key is kept nowhere."""
    number = put_incident(stores.warehouse)
    before = alerts_of(stores)
    assert str(ask(stores, alerting_of(model))) == "1 second opinions"
    assert ask(stores, alerting_of(model)) == Asked(0, {}, 0)
    assert incident_of(stores, number).opinion == {**SAID, "model": "tiny"}
    assert alerts_of(stores) == before
    [row] = rows_of(stores)
    assert (row.tokens, row.answer, row.problem) == (1234, SAID, "")
    with stores.warehouse.begin() as connection:
        change = read_incident_changes(connection, number)[-1]
    assert (change.change, change.detail) == ("second opinion", "tiny: crash, confidence 0.9: keep")
    assert KEY not in str(rows_of(stores))


def test_the_evidence_is_a_closed_set(stores: Stores, model: LanguageModel) -> None:
    """Numbers, our rules' words and flags by name: no text that came from outside. Nothing of the candles changes."""
    put_incident(stores.warehouse)
    prices = {"open": 100.0, "high": 101.0, "low": 87.0, "close": 100 / 3, "volume": 12.5}
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        for minute in (-50, -2, 0):  # the first is too long ago
            row = {"open_time": START + timedelta(minutes=minute), "flags": int(Flag.JUMP | Flag.PRICE_OUTLIER)}
            connection.execute(candles.insert().values(series_id=series_id, source=1, **row, **prices))
    before = tables_of(stores)
    ask(stores, alerting_of(model))
    assert tables_of(stores) == before
    [row] = rows_of(stores)
    assert "evil" not in str(row.evidence), "what a witness says may be worded by others one day"
    assert row.evidence["last_close"] == 100.12346
    assert row.evidence["other_exchanges"][0]["peak_candle"]["low"] == 87.0
    numbers = [100.0, 101.0, 87.0, 33.333333, 12.5, "price_outlier jump"]
    assert row.evidence["candles"] == [[-2, *numbers], [0, *numbers]]
    assert json.loads(model.asked[0]["messages"][1]["content"]) == row.evidence


@pytest.mark.parametrize("name", ["prose", "an unknown kind", "a refusal", "huge", "elsewhere", "broken"])
def test_without_an_answer_all_stays_as_it_was(stores: Stores, model: LanguageModel, name: str) -> None:
    """The incident has no opinion, its alert is the same, the reason is on record, and nobody is asked again."""
    number = put_incident(stores.warehouse)
    before = alerts_of(stores), incident_of(stores, number)
    model.reply, problem = BAD[name]
    asked = ask(stores, alerting_of(model))
    assert (asked.answered, [text.startswith(problem) for text in asked.problems]) == (0, [True])
    assert ask(stores, alerting_of(model)) == Asked(0, {}, 0)
    assert (alerts_of(stores), incident_of(stores, number)) == before
    [row] = rows_of(stores)
    assert row.answer is None
    assert row.problem.startswith(problem)


def test_whom_nobody_needs_an_opinion_of(stores: Stores, model: LanguageModel) -> None:
    """Without [opinion] nobody is asked; nor of what is less severe than it says, or was told already."""
    low, told = put_incident(stores.warehouse, Severity.LOW), put_incident(stores.warehouse, minutes=30)
    with stores.warehouse.begin() as connection:
        connection.execute(alerts.update().where(alerts.c.incident_id == told).values(planned_at=NOW))
    assert ask(stores, Alerting()) == Asked(0, {}, 0)
    assert ask(stores, alerting_of(model)) == Asked(0, {}, 0)
    assert ask(stores, alerting_of(model, severity="low")).answered == 1
    assert incident_of(stores, low).opinion is not None
    assert len(model.asked) == 1


def test_a_day_costs_no_more_than_its_budget(stores: Stores, model: LanguageModel) -> None:
    """By calls and by tokens, the worst first; the next UTC day has its own."""
    put_incident(stores.warehouse, Severity.HIGH)
    worst = put_incident(stores.warehouse, Severity.CRITICAL, minutes=30)
    asked = ask(stores, alerting_of(model, calls_per_day=1))
    assert str(asked) == "1 second opinions; 1 not asked for: the budget of the day is spent"
    assert incident_of(stores, worst).opinion is not None
    # What was asked for has cost 1,234, and no question fits into what is left of so few.
    assert ask(stores, alerting_of(model, tokens_per_day=2000)) == Asked(0, {}, 1)
    tomorrow = NOW + timedelta(days=1)
    assert ask(stores, alerting_of(model, calls_per_day=1), tomorrow).answered == 1
    assert [row.asked_at for row in rows_of(stores)] == [NOW, tomorrow]


def test_what_nobody_counts_costs_the_most(stores: Stores, model: LanguageModel) -> None:
    """A server that is late, or does not say what it took, is counted as if it had taken all that it could."""
    put_incident(stores.warehouse)
    model.reply = Reply({**completion(), "usage": {"total_tokens": -5}})
    assert ask(stores, alerting_of(model)).answered == 1
    put_incident(stores.warehouse, minutes=30)
    model.reply = Reply(pause_s=3)
    assert ask(stores, alerting_of(model, timeout_s=0.3)).problems == {Problem.TIMED_OUT: 1}
    assert all(row.tokens > 2000 for row in rows_of(stores))


def test_a_killed_asking_counts_as_spent(stores: Stores, model: LanguageModel) -> None:
    """Killed once the answer is there and before it is kept: no opinion, the budget is spent, the alert waits."""
    number = put_incident(stores.warehouse)
    before = alerts_of(stores)
    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=_ask_and_die, args=(stores.settings, alerting_of(model)))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(model.asked) == 1
    [row] = rows_of(stores)
    assert (row.answer, row.answered_at, row.tokens > 2000) == (None, None, True)
    assert ask(stores, alerting_of(model, calls_per_day=1)) == Asked(0, {}, 0)
    assert incident_of(stores, number).opinion is None
    assert alerts_of(stores) == before


def test_an_address_with_a_password_is_refused(stores: Stores, model: LanguageModel) -> None:
    """A key in alerts.toml would be in a file that everybody reads; the error does not repeat it."""
    url = model.url.replace("http://", "http://me:hunter2@")
    with pytest.raises(ConfigError, match="CHANDLER_OPINION_KEY") as caught:
        ask(stores, alerting_of(model, url=url))
    assert "hunter2" not in str(caught.value)


def _ask_and_die(settings: Settings, alerting: Alerting) -> None:
    asking._end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    with open_warehouse(settings) as warehouse:
        ask_opinions(warehouse, alerting, KEY, NOW, "killed")
