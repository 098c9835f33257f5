"""Every block of shell and of Python in docs/guides runs, and prints what the guide shows."""

from __future__ import annotations

import io
import logging
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from etl.feeds_file import load_settings
from etl.ingest import clean_pages, fetch, load
from etl.pipeline import Wanted, ingest_all
from etl.progress import Bars
from etl.replay import MadeUpMarket, RecordedMarket, ReplayServer
from etl.series import Series, TimeRange, symbol_to_path
from etl.spelling import parse_moment
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import Timeframe
from tests.conftest import BTC, REPOSITORY
from tests.guides.blocks import Block, command_of, is_assignment, read_blocks, statements, words
from tests.guides.commands_server import command_folder
from tests.guides.sessions import is_as_shown, run_guide
from tests.guides.shown import CHECKS, unknown_commands
from tests.markets import DAYS

GUIDES = sorted((REPOSITORY / "docs" / "guides").glob("*.md"))
# Days that have an hour and more without any trade.
RECORDED = TimeRange(parse_moment("2024-01-01"), parse_moment("2024-01-07"))
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
LIVE = {"exchanges-and-keys"}  # guides that ask an exchange what it does now
STARTS_REPLAY = "chandler replay "
STORELESS = {"exchanges", "feeds", "replay"}  # commands that open no stores
EXCHANGES = ("binance", "coinbase", "kraken", "replay")


def is_run(block: Block) -> bool:
    """Return whether a block is run: it is Python, or shell of which no line is on the closed list."""
    if block.language == "sh":
        return not any(prefix_of(one) for one in statements(block.body))
    return block.language == "python"


def prefix_of(statement: str) -> str | None:
    """Return by which entry of the closed list a statement is checked; None if it is to be run."""
    command = command_of(statement)
    return next((prefix for prefix in (*CHECKS, "airflow") if command.startswith(f"{prefix} ")), None)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayServer]:
    """Some days of the made-up market, recorded: an exchange that need not make up the years before it."""
    folder = tmp_path_factory.mktemp("recorded")
    market = MadeUpMarket(symbols=SYMBOLS)
    days = range(RECORDED.start_ms // Timeframe.D1.ms, RECORDED.end_ms // Timeframe.D1.ms)
    for symbol in SYMBOLS:
        columns = market.columns(symbol, Timeframe.M1, days)._asdict()
        times = columns.pop("open_time_ms").cast(pa.timestamp("ms", tz="UTC"))
        values = {
            name: column.cast(pa.int64() if name == "trades" else pa.float64()) for name, column in columns.items()
        }
        path = folder / "binance" / symbol_to_path(symbol) / "1m.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"open_time": times, **values}), path)
    with ReplayServer(RecordedMarket(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def live() -> Iterator[ReplayServer]:
    """The made-up market, of today."""
    with ReplayServer(MadeUpMarket(symbols=SYMBOLS)) as server:
        yield server


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that `chandler` is in."""
    with command_folder(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.fixture
def reader(tmp_path: Path, warehouse_url: str, exchange: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of someone who has run the demo: what is edited, .venv, and a day of candles."""
    for name in ("feeds.toml", "feeds.demo.toml", "alerts.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    # All that it would do is done: it would put the slow command first on PATH.
    (tmp_path / ".venv" / "bin" / "activate").touch()
    monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", warehouse_url)
    for name in EXCHANGES:
        monkeypatch.setenv(f"CHANDLER_EXCHANGES__{name.upper()}__BASE_URL", exchange.url)
    monkeypatch.setenv("CHANDLER_EXCHANGES__REPLAY__PROTOCOL", "binance")
    monkeypatch.chdir(tmp_path)
    demo = Series.parse("replay:BTC/USDT:1m")
    settings = load_settings(tmp_path / "feeds.demo.toml", home=tmp_path / ".chandler" / "demo")
    day = TimeRange(parse_moment("2024-01-04"), parse_moment("2024-01-05"))
    with open_stores(settings) as stores, Bars([demo], Console(file=io.StringIO())) as bars:
        ingest_all(stores, Wanted([demo], day.start, day.end, None, "demo"), bars)
    assert not bars.outcome.failures
    return tmp_path


@pytest.mark.parametrize(
    "guide", [guide for guide in GUIDES if any(map(is_run, read_blocks(guide)))], ids=lambda g: g.stem
)
def test_a_guide_does_what_it_says(
    guide: Path,
    reader: Path,
    commands: Path,
    exchange: ReplayServer,
    live: ReplayServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commands run in the order of the page, in one shell, and print what is shown.

    Two addresses are others here: that of `chandler replay`, and the port at which a guide listens for messages.
    """
    if guide.stem in LIVE:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", live.url)
    blocks = [block for block in read_blocks(guide) if is_run(block)]
    swaps = {"127.0.0.1:8900": exchange.url.removeprefix("http://"), "9000": str(free_port())}
    if any(STARTS_REPLAY in block.body for block in blocks):
        port = free_port()
        # A guide that starts an exchange asks that one, once it listens.
        swaps |= {STARTS_REPLAY: f"{STARTS_REPLAY}--port {port} ", "127.0.0.1:8900": f"127.0.0.1:{port}"}
        swaps |= {"sleep 2": f"until (: > /dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.1; done"}
    run_guide(blocks, reader, commands, swaps)


@pytest.mark.parametrize(
    "page", [REPOSITORY / "README.md", REPOSITORY / "docs" / "running.md", *GUIDES], ids=lambda g: g.stem
)
def test_commands_work_on_the_stores_that_the_page_has_named(page: Path) -> None:
    """Before the first command that opens stores stands which: else it would make empty ones, and report success."""
    lines = [one for block in read_blocks(page) if block.language == "sh" for one in statements(block.body)]
    named = next((n for n, one in enumerate(lines) if "CHANDLER_HOME=" in one), len(lines))
    calls = [[word for word in words(command_of(one)) if not word.startswith("-")][:2] for one in lines[:named]]
    assert [call for call in calls if call[:1] == ["chandler"] and call[1] not in STORELESS] == []


def test_what_is_not_run_is_checked_otherwise() -> None:
    """A block with a command of the closed list has no others, and each names what is there."""
    shown = [
        (block, statement)
        for guide in GUIDES
        for block in read_blocks(guide)
        if block.language == "sh" and not is_run(block)
        for statement in statements(block.body)
    ]
    problems, of_airflow = [], []
    for block, statement in shown:
        prefix = prefix_of(statement)
        if prefix == "airflow":
            of_airflow.append(statement)
        elif prefix is not None:
            problem = CHECKS[prefix](command_of(statement))
            problems += [f"{block}: {problem}"] if problem else []
        elif not is_assignment(statement):
            problems.append(f"{block}: is neither run nor checked: {statement}")
    assert problems == []
    assert of_airflow == [] or unknown_commands(of_airflow) is None


def test_the_log_is_the_one_that_is_shown(
    stores: Stores, recording: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each line that logs.md explains is printed, in this order, by a day with a hole and a row that is wrong."""
    partition = Partition(BTC, TimeRange(DAYS.start, parse_moment("2024-03-01")))
    with ReplayServer(RecordedMarket(recording)) as server, caplog.at_level(logging.INFO):
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = replace(stores, settings=load_settings())
        fetch(stores, partition)
        clean_pages(stores, partition)
        load(stores, partition, "test")
    printed = [f"{one.levelname} {one.name} {one.getMessage()}" for one in caplog.records]
    (guide,) = [guide for guide in GUIDES if guide.stem == "logs"]
    quoted = [line for block in read_blocks(guide) if block.language == "text" for line in block.body.splitlines()]
    places = [
        next((n for n, line in enumerate(printed) if is_as_shown(line, shown.replace("...", "\n...\n"))), None)
        for shown in quoted
    ]
    assert None not in places, (quoted[places.index(None)], printed)
    assert places == sorted(places, key=lambda place: place or 0)


def test_only_known_languages_stand_in_guides() -> None:
    """A block is run, or is what one prints, writes into a file or asks a database: none escapes by its name."""
    languages = {block.language for guide in GUIDES for block in read_blocks(guide)}
    assert languages <= {"sh", "python", "text", "toml", "yaml", "sql", "json", "promql", "ini"}


@pytest.mark.parametrize(
    ("printed", "shown", "is_same"),
    [
        ("1,440 candles in 0.3 s", "9 candles  in\n12 s", True),
        ("one\ntwo\nthree", "one\n...\nthree", True),
        ("1 outage", "1 halted", False),
        ("one\ntwo", "one", False),
    ],
)
def test_numbers_and_white_space_alone_may_differ(printed: str, shown: str, is_same: bool) -> None:
    """The output is as shown, but for numbers, white space, and what `...` stands for."""
    assert is_as_shown(printed, shown) is is_same


def free_port() -> int:
    """Return a port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
