"""Homes: commands find the stores and the stack that are there, and make none by looking."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import etl
from etl.archive import Archive
from etl.errors import ConfigError, LostWarehouseError, StoreError
from etl.feeds_file import load_settings
from etl.homes import read_note, write_note
from etl.lost import open_or_make
from etl.plan import check_feed
from etl.replay import MadeUpMarket, ReplayServer
from etl.series import TimeRange
from etl.stores import Stores, open_stores
from tests.clocks import set_clock
from tests.commands import Run, runner
from tests.conftest import BTC
from tests.databases import empty_database, folder_for_postgres
from tests.markets import candles_over

DAY = TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
COMMANDS = (
    *("audit", "audit --fix", "status", "quality", "repair", "maintain", "anomalies", "incidents", "alerts"),
    *("archive check", "models list"),
)
READING = (
    *("status", "quality", "revisions", "archive check", "warehouse", "quarantine"),
    *("incidents", "anomalies", "models", "alerts"),
)

FEEDS = """
[feeds.demo]
exchange = "replay"
symbols = ["BTC/USDT"]
timeframes = ["1h"]
start = 2024-01-01

[exchanges.replay]
protocol = "binance"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which no home is named."""
    for name in ("CHANDLER_HOME", "CHANDLER_FEEDS", "CHANDLER_WAREHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def chandler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command."""
    return runner(monkeypatch, capsys)


def a_home(folder: Path, name: str) -> Path:
    """Make what a stack leaves behind: a home with an embedded warehouse in it."""
    home = folder / ".chandler" / name
    (home / "postgres").mkdir(parents=True)
    return home


def noted(home: Path, folder: Path, url: str) -> None:
    """Let this process be the stack of `home`."""
    (folder / "demo.toml").write_text(FEEDS, encoding="utf-8")
    addresses = {"replay": {"base_url": url, "bulk_url": f"{url}/data"}}
    write_note(home, "make demo", folder / "demo.toml", addresses)


def test_looking_makes_no_store(folder: Path, chandler: Run) -> None:
    """A command or a reader that finds nothing says what to do, and leaves nothing behind."""
    done = chandler("status")
    assert done.status == 2
    assert "nothing is loaded yet: there is no store in" in done.err
    with pytest.raises(ConfigError, match="nothing is loaded yet"):
        etl.read_candles("binance:BTC/USDT:1h", ("2024-01-01", "2024-01-02"))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_lost_warehouse_is_not_taken_for_one_that_was_never_made(command: str, folder: Path, chandler: Run) -> None:
    """Each command that looks says how many files the archive holds, and what builds the warehouse again."""
    home = folder / ".chandler"
    Archive(str(home / "archive"), home / "fallback").write(BTC, DAY, candles_over(DAY))
    done = chandler(*command.split())
    assert done.status == 2
    assert f"there is no store in {home}, and the archive {home}/archive/candles holds 1 file of 1 series" in done.err
    assert "chandler warehouse rebuild" in done.err
    assert not (home / "postgres").exists()


LOADING = (
    f"ingest {BTC} --start 2024-01-02 --end 2024-01-03",
    f"import binance.csv {BTC}",
)


def files_below(home: Path) -> dict[Path, bytes]:
    """Return every file of a home."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_embedded", [True, False])
def test_what_loads_makes_no_warehouse_where_one_was_lost(
    is_embedded: bool, postgres: str, folder: Path, monkeypatch: pytest.MonkeyPatch, chandler: Run
) -> None:
    """Neither a store nor the tables of an empty database; only the rebuild does, and then loading goes on."""
    rows = "\n".join(f"{at},100,101,99,100,5" for at in range(DAY.end_ms, DAY.end_ms + 600_000, 60_000))
    (folder / "binance.csv").write_text(f"open_time,open,high,low,close,volume\n{rows}\n", encoding="utf-8")
    with folder_for_postgres() as home, empty_database(postgres) as url:
        monkeypatch.setenv("CHANDLER_HOME", str(home))
        missing = f"there is no store in {home}"
        if not is_embedded:
            monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", url)
            missing = "has no tables"
        Archive(str(home / "archive"), home / "fallback").write(BTC, DAY, candles_over(DAY))
        before = files_below(home)
        for command in LOADING:
            done = chandler(*command.split())
            assert (done.status, missing in done.err) == (2, True), done.err
            assert f"{home}/archive/candles holds 1 file of 1 series; put a backup" in done.err
            assert "chandler warehouse rebuild" in done.err
        # As Airflow's tasks open it, those of a stack, and what makes a database ready for them.
        for opened in (open_stores, open_or_make):
            with pytest.raises(LostWarehouseError, match="the warehouse is lost"), opened(load_settings()):
                pass
        assert files_below(home) == before
        assert chandler("warehouse", "rebuild").status == 0
        assert chandler(*LOADING[1].split()).status == 0
        done = chandler("status", "--json")
        assert [one["candles"] for one in json.loads(done.raw)] == [1450]
        assert chandler("audit").status == 0


def test_an_archive_that_does_not_answer_is_not_taken_for_an_empty_one(
    postgres: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No warehouse is made until it says what it holds."""
    with empty_database(postgres) as url:
        monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", url)
        (folder / ".chandler" / "archive").mkdir(parents=True)
        (folder / ".chandler" / "archive" / "candles").write_text("no folder")
        with pytest.raises(StoreError, match="cannot be listed"), open_stores(load_settings()):
            pass


@pytest.mark.parametrize("mistake", ['[series."binance:BTC/USDT"]\nsplit = ["yesterday"]', "[rules]\nlookback = -1"])
def test_a_mistake_in_a_rule_stops_what_acts_and_not_what_reads(
    mistake: str, stores: Stores, folder: Path, chandler: Run
) -> None:
    """Commands that look go on and show it; nothing is mended, loaded or tidied by another rule than the file's."""
    stores.archive.write(BTC, DAY, candles_over(DAY))
    assert chandler("audit", "--fix").status == 0
    (folder / "feeds.toml").write_text(mistake, encoding="utf-8")
    for command in (*READING, "audit binance:BTC/USDT:1m"):
        done = chandler(*command.split())
        assert (done.status, "left out: " in done.err) == (0, True), (command, done.err)
    for command in ("audit --fix", "maintain", "repair", "warehouse rebuild", "archive convert"):
        done = chandler(*command.split())
        assert (done.status, "feeds.toml" in done.err) == (2, True), (command, done.err)


def test_an_empty_warehouse_beside_an_archive_is_no_beginning(stores: Stores, chandler: Run) -> None:
    """Lost tables on a server that is there are told the same way."""
    for command in ("status", "quality", "repair"):
        assert "Nothing is loaded yet" in chandler(command).err
    stores.archive.write(BTC, DAY, candles_over(DAY))
    for command in ("status", "quality", "repair"):
        done = chandler(command)
        assert "knows nothing of 1 file of 1 series that the archive holds; chandler warehouse rebuild" in done.err


def test_the_only_store_is_found_and_of_several_none_is_guessed(folder: Path, chandler: Run) -> None:
    """Beside one stack its home is meant; beside two the user is asked, and an environment variable says it."""
    assert not load_settings().is_home_chosen, "the default"
    demo = a_home(folder, "demo")
    found = load_settings()
    assert (found.home, found.is_home_chosen) == (demo, False)
    a_home(folder, "run")
    done = chandler("status")
    assert done.status == 2
    assert "several stores could be meant: .chandler/run, .chandler/demo; say which" in done.err
    (folder / "feeds.toml").write_text('[series."binance:LUNA/USDT"]\nsplit = [2022-05-31T06:00:00Z]\n')
    done = chandler("feeds")
    assert "is not checked against the warehouse: several stores could be meant" in done.err
    assert "no candle of it is stored" not in done.err, "which nobody has looked for"


def test_a_home_that_is_named_is_not_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home that the environment names wins, and an address of a warehouse leaves the home alone."""
    a_home(folder, "demo")
    monkeypatch.setenv("CHANDLER_HOME", str(folder / "mine"))
    settings = load_settings()
    assert (settings.home, settings.is_home_chosen) == (folder / "mine", True)
    monkeypatch.delenv("CHANDLER_HOME")
    monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", "postgresql://127.0.0.1:1/none")
    assert load_settings().home == folder / ".chandler"


def test_a_terminal_of_the_stack_talks_to_the_stack(folder: Path) -> None:
    """Feeds and addresses are those that the stack has noted; nobody else is asked."""
    with ReplayServer(MadeUpMarket()) as server:
        noted(a_home(folder, "demo"), folder, server.url)
        settings = load_settings()
        assert check_feed(settings, settings.feed("demo")) == []
        assert str(settings.exchange("replay").base_url).rstrip("/") == server.url
        assert server.requests


def test_a_stack_that_is_down_is_named(folder: Path) -> None:
    """Its exchange is not looked for elsewhere: the message says what starts it."""
    home = a_home(folder, "demo")
    noted(home, folder, "http://127.0.0.1:1")
    note = json.loads((home / "stack.json").read_text())
    (home / "stack.json").write_text(json.dumps({**note, "process": "another"}))
    assert not read_note(home).is_running  # type: ignore[union-attr]
    settings = load_settings()
    with pytest.raises(
        ConfigError, match=r"the stack that serves replay does not run: .*demo; start it with `make demo`"
    ):
        check_feed(settings, settings.feed("demo"))


def test_a_stack_runs_on_when_the_clock_is_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system then says of every process that it has started at another time."""
    home = a_home(folder, "demo")
    noted(home, folder, "http://127.0.0.1:1")
    set_clock(monkeypatch, 3600.0)
    assert read_note(home).is_running  # type: ignore[union-attr]


def test_an_exchange_of_an_unknown_name_needs_an_address(folder: Path) -> None:
    """It never falls back on the address of the exchange whose protocol it speaks."""
    (folder / "feeds.toml").write_text(FEEDS, encoding="utf-8")
    settings = load_settings()
    with pytest.raises(ConfigError, match=r"no address for exchange 'replay', .* CHANDLER_EXCHANGES__REPLAY__BASE_URL"):
        check_feed(settings, settings.feed("demo"))
