"""Commands that log for machines: a JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from etl.cli.logs import JsonLines, Stderr, log_format, set_up_logs
from etl.errors import ConfigError, SourceError
from etl.ingest import clean_pages, load
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.schema import empty_candles
from etl.series import TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores
from tests.conftest import BTC
from tests.markets import DAYS, kline, put_pages

CHANDLER = str(Path(sys.executable).with_name("chandler"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [CHANDLER, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_each_line_of_a_command_is_an_object(settings: Settings) -> None:
    """Steps, failures and reasons, and no bar; results stay on stdout."""
    faults = FaultPlan()
    faults.add("http_503", times=1)
    with ReplayServer(MadeUpMarket(), faults=faults) as server:
        where = {"CHANDLER_EXCHANGES__BINANCE__BASE_URL": server.url, "CHANDLER_LOG_FORMAT": "json"}
        span = ["--start", "2024-03-01", "--end", "2024-03-01T02:00"]
        done = run("-v", "ingest", str(BTC), "binance:FOO/USDT:1m", *span, "--json", **where)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert json.loads(done.stdout)["loads"][0]["new"] == 120
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    (failed,) = [line for line in lines if line["level"] == "error"]
    assert (failed["logger"], failed["series"]) == ("chandler", "binance:FOO/USDT:1m")
    assert failed["start"] == "2024-03-01T00:00:00+00:00"
    assert "lists no FOO/USDT" in failed["message"]
    assert any(line.get("run", "").startswith("cli ") for line in lines)
    assert any(line["level"] == "warning" and "try 2 of 5" in line["message"] for line in lines)


def test_an_unknown_format_is_refused(settings: Settings) -> None:
    """With what would have been right, and the status of a wrong setting."""
    done = run("feeds", CHANDLER_LOG_FORMAT="jsn")
    assert done.returncode == 2
    assert "'jsn' is no format; nearest: json" in " ".join(done.stderr.split())


def test_a_record_carries_what_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series and range of what was logged, of an error likewise; a traceback in one line; nothing that is not there."""
    error = SourceError("it fails", series=BTC, time_range=DAYS)
    place = {"series": str(BTC), "start": "2024-02-29T12:00:00+00:00", "end": "2024-03-02T12:00:00+00:00"}
    logger = logging.getLogger("etl.somewhere")
    for args, expected in (
        ((BTC, DAYS), place),
        ((error,), place),
        (({"one": BTC},), {"series": str(BTC)}),
        ((TimeRange(DAYS.start, DAYS.end),), {key: place[key] for key in ("start", "end")}),
        ((1, "two"), {}),
    ):
        message = "%(one)s" if isinstance(args[0], dict) else "%s " * len(args)
        record = logger.makeRecord("etl.somewhere", logging.INFO, "", 0, message, args, None)
        line = json.loads(JsonLines().format(record))
        assert {key: line[key] for key in line if key in place} == expected
    try:
        raise error
    except SourceError:
        broken = logger.makeRecord("etl.somewhere", logging.ERROR, "", 0, "broken", (), sys.exc_info())
    text = JsonLines().format(broken)
    assert "\n" not in text
    assert "it fails" in json.loads(text)["traceback"]
    monkeypatch.setenv("CHANDLER_LOG_FORMAT", "yaml")
    with pytest.raises(ConfigError, match="write text or json"):
        log_format()


def test_words_for_people_go_into_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without their markup, and without being asked for; in what colour they stand is how bad it is. Bars do not."""
    caplog.set_level(logging.NOTSET, logger="chandler")
    monkeypatch.setenv("CHANDLER_LOG_FORMAT", "json")
    err = Stderr()
    set_up_logs(err, verbose=False)
    with err.status("asking"):
        err.print("[bold]Nothing[/bold] is loaded yet")
    err.print("Serving [feeds.x]", markup=False)
    err.print("it waits", style="yellow")
    err.print(Text("it is gone", style="red").append("; look", style="default"), "for it")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "Nothing is loaded yet"),
        ("INFO", "Serving [feeds.x]"),
        ("WARNING", "it waits"),
        ("ERROR", "it is gone; look"),
        ("INFO", "for it"),
    ]


def test_what_an_audit_finds_is_an_error_in_the_log(stores: Stores) -> None:
    """Whoever collects logs learns of it though nobody looks at the table."""
    put_pages(stores.raw, BTC, DAYS, [kline(at) for at in range(DAYS.start_ms, DAYS.end_ms, 60_000)])
    clean_pages(stores, Partition(BTC, DAYS))
    load(stores, Partition(BTC, DAYS), "test")
    stores.archive.write(BTC, DAYS, empty_candles())
    done = run("audit", CHANDLER_LOG_FORMAT="json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert any(line["level"] == "error" and f"chandler audit {BTC}" in line["message"] for line in lines), lines
