"""Metrics for Prometheus, read back by its own parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, insert, text

from etl.accounting import account_for_loads
from etl.answers import Answers, Outcome
from etl.feeds import Feed
from etl.feeds_file import load_settings, load_what_is_right
from etl.ingest import ingest
from etl.metrics import metrics_text
from etl.replay import RecordedMarket, ReplayServer
from etl.series import TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe
from etl.warehouse import Quality, add_requests, ensure_series, fold_requests, read_pauses
from etl.warehouse.incident_tables import channels
from etl.warehouse.quality import write_quality
from etl.warehouse.tables import pauses
from models.registry import Draft, State
from models.registry import decide as decide_model
from tests.conftest import BTC, REPOSITORY
from tests.made_incidents import PEAK, found, have, send
from tests.markets import DAYS, HOLE
from tests.models.artifacts import LIMIT, made_artifact

NOW = DAYS.end + timedelta(hours=6)
LOST = HOLE.count(Timeframe.M1)
EXPECTED = DAYS.count(Timeframe.M1)
OF_BTC = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}

Scraped = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(stores: Stores, settings: Settings, now: datetime = NOW) -> Scraped:
    """Return what Prometheus would read."""
    families = text_string_to_metric_families(metrics_text(stores.warehouse, settings, now).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(scraped: Scraped, name: str, **labels: str) -> float:
    """Return a sample."""
    return scraped[name, frozenset(labels.items())]


@pytest.fixture
def loaded(stores: Stores, recording: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """Two days of BTC, fetched over HTTP, with a hole and a row that cannot be true."""
    with ReplayServer(RecordedMarket(recording)) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        ingest(ready, Partition(BTC, DAYS), "test")
        account_for_loads(ready, "binance", "test")
        yield ready


def fed(settings: Settings) -> Settings:
    """Return the settings with a feed of BTC, and of a symbol that was never loaded."""
    feed = Feed(exchange="binance", symbols=("BTC/USDT", "ADA/USDT"), timeframes=(Timeframe.M1,), start=DAYS.start)
    return settings.model_copy(update={"feeds": {"majors": feed}})


def test_a_scrape_gives_what_the_warehouse_holds(loaded: Stores) -> None:
    """Each series' candles by what became of them, how far it is, its loads; and how its exchange has answered."""
    seen = scrape(loaded, fed(loaded.settings))
    assert value(seen, "chandler_candles_expected", **OF_BTC) == EXPECTED
    assert value(seen, "chandler_candles_stored", **OF_BTC) == EXPECTED - LOST - 1
    absent = {
        dict(labels)["kind"]: count for (name, labels), count in seen.items() if name == "chandler_candles_absent"
    }
    assert sum(absent.values()) == LOST + 1
    assert value(seen, "chandler_rows_refused", **OF_BTC, rule="not_positive") == 1
    assert value(seen, "chandler_revisions", **OF_BTC) == 0
    assert value(seen, "chandler_watermark_timestamp_seconds", **OF_BTC) == DAYS.end.timestamp()
    assert value(seen, "chandler_lag_seconds", **OF_BTC) == 6 * 3600
    last = DAYS.end - Timeframe.M1.delta
    assert value(seen, "chandler_last_candle_timestamp_seconds", **OF_BTC) == last.timestamp()
    assert value(seen, "chandler_lag_seconds", **{**OF_BTC, "symbol": "ADA/USDT"}) == (NOW - DAYS.start).total_seconds()
    assert value(seen, "chandler_loads_total", **OF_BTC) == 1
    assert value(seen, "chandler_loaded_rows_total", **OF_BTC, change="new") == EXPECTED - LOST - 1
    assert value(seen, "chandler_loaded_rows_total", **OF_BTC, change="refused") == 1
    asked = value(seen, "chandler_requests_total", exchange="binance", outcome="ok")
    assert asked >= 5, "the clock, the market, and three pages at least"
    assert value(seen, "chandler_request_duration_seconds_count", exchange="binance") == asked
    assert value(seen, "chandler_request_duration_seconds_bucket", exchange="binance", le="+Inf") == asked
    assert 0 < value(seen, "chandler_request_duration_seconds_sum", exchange="binance") < 60
    assert value(seen, "chandler_budget_limit", exchange="binance") == 6000
    assert 0 < value(seen, "chandler_budget_spent", exchange="binance") < 600
    assert value(seen, "chandler_pause_seconds", exchange="binance") == 0


def test_what_is_strange_and_what_waits_is_counted(loaded: Stores) -> None:
    """Incidents but those of history, messages by state, channels that fail; and the champion with what it is worth."""
    warehouse = loaded.warehouse
    have(warehouse, found(at=PEAK), is_told=True)
    have(warehouse, found(at=PEAK + timedelta(days=1), is_over=False))
    have(warehouse, found(at=PEAK + timedelta(days=2), is_over=False), is_history=True)
    send(warehouse, 1, "desk", "dead", "")
    metrics = {"model": "a", "summaries": [{"model": "b", "vus_pr": 0.9}, {"model": "a", "vus_pr": 0.5}]}
    draft = Draft(made_artifact(1), State.CHAMPION, "it is good", metrics, "<p></p>")
    decide_model(warehouse, [draft], against=None, run="night", max_bytes=LIMIT, environment={})
    with warehouse.begin() as connection:
        connection.execute(insert(channels).values(name='the "desk"\n', failing_since=NOW - timedelta(minutes=5)))
        connection.execute(insert(pauses).values(exchange="binance", until=NOW + timedelta(seconds=90)))
    seen = scrape(loaded, loaded.settings)
    of = {"severity": "critical", "scope": "market"}
    assert value(seen, "chandler_incidents", **of, state="closed") == 1
    assert value(seen, "chandler_incidents", **of, state="open") == 1
    assert value(seen, "chandler_incidents_open", severity="critical") == 1
    assert value(seen, "chandler_incidents_open", severity="low") == 0
    assert value(seen, "chandler_alerts_undecided") == 1
    assert value(seen, "chandler_messages", state="dead") == 1
    assert value(seen, "chandler_messages", state="waiting") == 0
    assert value(seen, "chandler_channel_failing_seconds", channel='the "desk"\n') == 300
    assert value(seen, "chandler_pause_seconds", exchange="binance") == 90
    assert value(seen, "chandler_scorings_waiting") == 1
    champion = {"timeframe": "1m", "scope": "all", "scorer": "seasonal_z"}
    assert value(seen, "chandler_champion_version", **champion) == 1
    assert value(seen, "chandler_champion_vus_pr", **champion) == 0.5
    later = scrape(loaded, loaded.settings, datetime.now(UTC) + timedelta(days=1))
    assert 86_400 <= value(later, "chandler_champion_age_seconds", **champion) < 86_460
    assert value(later, "chandler_pause_seconds", exchange="binance") == 0


def test_totals_never_fall(stores: Stores) -> None:
    """Old hours become one sum, since a counter that falls looks to Prometheus like one that began again."""
    slow, quick = Answers(), Answers()
    slow.take(40.0)
    quick.take(0.05)
    quick.take(0.2)
    with stores.warehouse.begin() as connection:
        for days, answers in ((100, slow), (95, slow), (1, quick)):
            hour = NOW.replace(minute=0) - timedelta(days=days)
            add_requests(connection, "kraken", {(hour, Outcome.OK): answers})
    before = scrape(stores, stores.settings)
    with stores.warehouse.begin() as connection:
        assert fold_requests(connection, NOW - timedelta(days=90)) == 2
        assert connection.execute(text("SELECT count(*) FROM requests")).scalar() == 2
        assert fold_requests(connection, NOW - timedelta(days=90)) == 0
        assert read_pauses(connection, NOW) == {}
    assert scrape(stores, stores.settings) == before
    of = {"exchange": "kraken"}
    buckets = [value(before, "chandler_request_duration_seconds_bucket", **of, le=le) for le in ("0.05", "0.1", "0.25")]
    assert buckets == [1, 1, 2]
    assert value(before, "chandler_request_duration_seconds_sum", **of) == pytest.approx(80.25)


def test_a_scrape_is_of_one_moment(stores: Stores) -> None:
    """A series that is committed once the series are read belongs to the next scrape."""

    def commit_another(*what: Any) -> None:
        if "FROM series" in what[2] and not done:
            done.append(True)
            with stores.warehouse.begin() as connection:
                days = TimeRange(DAYS.start, DAYS.start + timedelta(days=1))
                write_quality(connection, ensure_series(connection, BTC), days, {DAYS.start.date(): Quality(1, 1)})

    done: list[bool] = []
    event.listen(stores.warehouse.engine, "after_cursor_execute", commit_another)
    names = [{name for name, _ in scrape(stores, stores.settings)} for _ in range(2)]
    assert ["chandler_candles_expected" in each for each in names] == [False, True]


def test_the_guide_names_what_is_there(loaded: Stores) -> None:
    """Every metric in the guide is exported, and every one that is exported stands in the guide with its labels."""
    guide = (REPOSITORY / "docs" / "guides" / "metrics.md").read_text()
    families = list(text_string_to_metric_families(metrics_text(loaded.warehouse, fed(loaded.settings), NOW).decode()))
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    named = set(re.findall(r"\bchandler_[a-z_]+\b", guide))
    suffixes = ("_bucket", "_sum", "_count")
    assert {name.removesuffix(next((s for s in suffixes if name.endswith(s)), "")) for name in named} == exported
    for family in families:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        row = next(line for line in guide.splitlines() if line.startswith("|") and f"`{family.name}" in line)
        assert labels <= set(re.findall(r"\w+", row)), family.name


def test_mistakes_in_the_settings_are_counted_by_what_is_left_out(stores: Stores, tmp_path: Path) -> None:
    """A feed or an exchange by its name, any other table as a whole."""
    path = tmp_path / "feeds.toml"
    path.write_text("[exchanges.kraken]\nshare = 7\n[rules]\njump = 1\nprice = 2\n")
    seen = scrape(stores, load_what_is_right(path))
    counts = {
        dict(labels)["table"]: count for (name, labels), count in seen.items() if name.endswith("settings_faults")
    }
    assert counts == {"exchanges.kraken": 1, "rules": 2}
