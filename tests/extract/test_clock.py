"""An exchange's clock: it says what has closed, so one that cannot be is refused."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from etl.errors import MalformedPayloadError
from etl.extract.clock import read_clock
from etl.replay import MadeUpMarket, ReplayServer
from etl.timeframe import to_ms
from tests.commands import runner

OURS = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "told",
    [None, "soon", float("nan"), float("inf"), 10**300, -1, to_ms(OURS + DAY) + 1, to_ms(OURS - DAY) - 1],
)
def test_a_clock_that_cannot_be_is_refused(told: object) -> None:
    """It is no number, or further from ours than it may be."""
    with pytest.raises(MalformedPayloadError):
        read_clock("kraken", told, to_ms(OURS), DAY)


def test_minutes_of_skew_are_used_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is right to the minute needs no word."""
    caplog.set_level(logging.INFO, logger="etl")
    for skew in (timedelta(seconds=59), timedelta(seconds=-59), timedelta(minutes=5), -timedelta(hours=3)):
        assert read_clock("kraken", str(to_ms(OURS + skew)), to_ms(OURS), DAY) == to_ms(OURS + skew)
    assert [record.getMessage() for record in caplog.records] == [
        "the clock of kraken is 5 minutes ahead of ours; what has closed goes by it",
        "the clock of kraken is 180 minutes behind ours; what has closed goes by it",
    ]


@pytest.mark.parametrize(
    ("exchange", "clock_ms", "told"),
    [
        ("binance", to_ms(datetime(2100, 1, 1, tzinfo=UTC)), "it is 2100-01-01 00:00, by ours 20"),
        ("kraken", to_ms(datetime(2100, 1, 1, tzinfo=UTC)), "it is 2100-01-01 00:00, by ours 20"),
        ("binance", 253_402_300_800_000, "it is 253402300800000 ms since 1970, by ours 20"),  # the year 10000
    ],
)
def test_nothing_is_planned_by_a_clock_of_another_century(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exchange: str, clock_ms: int, told: str
) -> None:
    """The command says both times, and what to do."""
    with ReplayServer(MadeUpMarket(), clock=lambda: clock_ms) as server:
        monkeypatch.setenv(f"CHANDLER_EXCHANGES__{exchange.upper()}__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_CLOCK_SKEW", "1d")
        done = runner(monkeypatch, capsys)("ingest", f"{exchange}:BTC/USDT:1m", "--start", "2024-01-01")
    assert done.status == 1
    assert told in done.err
    assert "clock_skew" in done.err
    assert "Traceback" not in done.err
