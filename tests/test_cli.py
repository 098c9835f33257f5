"""The command as its user types it, against the replay exchange over real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from etl.cli import main
from etl.replay import FaultPlan, MadeUpMarket, RecordedMarket, ReplayServer
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import open_warehouse
from tests.conftest import REPOSITORY
from tests.databases import folder_for_postgres
from tests.markets import DAYS, HOLE
from tests.patience import PATIENCE_S

CHANDLER = Path(sys.executable).with_name("chandler")


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of a command: its exit status and what it printed, in one line."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def exchange(recording: Path) -> Iterator[ReplayServer]:
    """The recording behind Binance's protocol."""
    with ReplayServer(RecordedMarket(recording)) as server:
        yield server


@pytest.fixture
def run(
    settings: Settings, exchange: ReplayServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs the command in this process, on stores of the test's own."""
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", exchange.url)

    def chandler(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["chandler", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        status = ended.value.code
        return Ended(status if isinstance(status, int) else 0, printed.out, " ".join(printed.err.split()))

    return chandler


SPAN = ["--start", f"{DAYS.start:%Y-%m-%dT%H:%M}", "--end", f"{DAYS.end:%Y-%m-%dT%H:%M}"]
LOST = HOLE.count(Timeframe.M1) + 1  # the hole, and the row that cannot be true


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for everything that the embedded default writes."""
    with folder_for_postgres() as folder:
        yield folder


def test_from_nothing_to_a_proven_account(exchange: ReplayServer, home: Path, tmp_path: Path) -> None:
    """Two commands on nothing but a folder: the embedded server starts for each, and is stopped when it has left."""
    address = {"CHANDLER_EXCHANGES__BINANCE__BASE_URL": exchange.url, "CHANDLER_HOME": str(home)}

    def chandler(*arguments: str) -> str:
        environment = os.environ | address
        return subprocess.run(
            [CHANDLER, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    loads = json.loads(chandler("ingest", "binance:BTC/USDT:1m", *SPAN, "--json"))["loads"]
    assert len(loads) == 3, "cut at the end of the month, and before the day that it ends in"
    assert sum(load["rows"] + load["absent"] for load in loads) == DAYS.count(Timeframe.M1)
    assert json.loads(chandler("audit", "--json"))["sound"]
    assert not (home / "postgres/postmaster.pid").exists()


def test_what_was_ingested_is_told_by_status_and_left_out_the_next_time(run: Run) -> None:
    """Status counts what ingest loaded; ingesting again fetches nothing; the audit agrees."""
    assert "Nothing is loaded yet" in run("status").err
    first = run("ingest", "binance:BTC/USDT:1m", "binance:ETH/USDT:1m", *SPAN)
    assert first.status == 0
    assert "candles/s" in first.err
    assert "accounted for already" in run("ingest", "binance:BTC/USDT:1m", *SPAN).err
    btc, eth = json.loads(run("status", "--json").out)
    assert btc["series"] == "binance:BTC/USDT:1m"
    assert btc["candles"] == eth["candles"] == DAYS.count(Timeframe.M1) - LOST
    assert btc["absent"] == {"refused": 1, "outage": LOST - 1}
    assert btc["quarantined"] == 1
    assert btc["refused"] == {"not_positive": 1}
    assert btc["watermark"] == DAYS.end.isoformat()
    assert "binance:ETH/USDT:1m" in run("status").out
    audit = run("audit")
    assert (audit.status, audit.out.count("accounted for")) == (0, 2)


def test_an_audit_that_fails_is_exit_status_1(run: Run, settings: Settings) -> None:
    """A spoilt archive fails the audit with the range and a command; that command mends it, and says what it did."""
    run("ingest", "binance:ETH/USDT:1m", *SPAN)
    path = settings.home / "archive/candles/exchange=binance/symbol=ETH-USDT/timeframe=1m/2024-03.parquet"
    path.unlink()
    failed = run("audit", "binance:ETH/USDT:1m")
    assert failed.status == 1
    assert "candles that the warehouse has are not in the archive" in failed.err
    (remedy,) = set(re.findall(r"chandler (audit \S+ --fix)", failed.err))
    mended = run(*remedy.split())
    assert mended.status == 0
    assert "the archive's file written anew" in mended.err
    assert run("audit").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["ingest", "binance:../../etc/x:1m", *SPAN], 2, "'../../etc/x' is no symbol"),
        (["ingest", "binance:BTC/USDT:USDT:1m", *SPAN], 2, "is a perpetual or a future, and only spot candles"),
        (["import", "x.csv", "binance:BTC/USDT:USDT:1m"], 2, "is a perpetual or a future, and only spot candles"),
        (["ingest", "binance:BTC/USDT:7m", *SPAN], 2, "'binance:BTC/USDT:7m': '7m' is no timeframe; nearest: 5m"),
        (["ingest", "binanse:BTC/USDT:1m", *SPAN], 2, "nearest: binance"),
        (["ingest", "binance:BTC/USDT:1m"], 2, "say from when"),
        (["ingest", "binance:BTC/USDT:1m", "--start", "soon"], 2, "'soon' is no moment"),
        (
            ["ingest", "binance:BTC/USDT:1m", "--start", "2024-02-01", "--end", "2024-01-01"],
            2,
            "is not after the start",
        ),
        (["ingest", "--feed", "majors"], 2, "no feed 'majors'"),
        (["ingest"], 2, "name either series"),
        (["ingest", "binance:BTC/USDX:1m", *SPAN], 1, "nearest: BTC/USDT"),
        (["audit", "binance:DOGE/USDT:1m"], 2, "never loaded"),
        (["replay", "--data", "nowhere"], 2, "nowhere"),
        (["replay", "--fault", "http_42"], 2, "nearest: http_429"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], status: int, complaint: str, run: Run) -> None:
    """A command that cannot be meant ends with a line that says so and an exit status, never with a traceback."""
    ended = run(*arguments)
    assert ended.status == status
    assert complaint in ended.err


def test_a_series_that_fails_does_not_keep_its_neighbours(run: Run) -> None:
    """The unknown symbol is reported and the exit status says so; the other series is loaded."""
    ended = run("ingest", "binance:NONE/USDT:1m", "binance:BTC/USDT:1m", *SPAN, "--json")
    assert ended.status == 1
    outcome = json.loads(ended.out)
    assert {load["series"] for load in outcome["loads"]} == {"binance:BTC/USDT:1m"}
    assert "NONE/USDT" in outcome["failures"][0]


def test_feeds_are_checked_against_their_exchange(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`feeds --check` names what the exchange does not list, and an exchange that cannot be reached."""
    (tmp_path / "feeds.toml").write_text(
        '[feeds.some]\nexchange = "binance"\nsymbols = ["BTC/USDT", "ETC/USDT"]\n'
        'timeframes = ["1m"]\nstart = 2024-01-01\n'
    )
    assert json.loads(run("feeds", "--json").out)["feeds"]["some"]["symbols"] == ["BTC/USDT", "ETC/USDT"]
    ended = run("feeds", "--check")
    assert ended.status == 1
    assert "binance lists no ETC/USDT; nearest: ETH/USDT" in ended.err
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", "http://127.0.0.1:9")
    ended = run("feeds", "--check")
    assert ended.status == 1
    assert "binance: the exchange cannot be reached; check the network" in ended.err


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["ingest", "--feed", "bad"], True),
        (["ingest", "--feed", "kraken"], True),
        (["ingest", "kraken:BTC/USD:1h", "--start", "2024-01-01"], True),
        (["exchanges", "kraken"], True),
        (["exchanges", "kraken", "--check"], True),
        (["exchanges"], False),
        (["status"], False),
        (["feeds"], True),
    ],
)
def test_a_mistake_is_told_once(arguments: list[str], needed: bool, run: Run, tmp_path: Path) -> None:
    """A feed that is left out is a line, also where the command needs it: then one sentence more says so."""
    (tmp_path / "feeds.toml").write_text(
        '[feeds.bad]\nexchange = "binance"\nsymbols = ["BTCUSDT"]\ntimeframes = ["1m"]\nstart = 2024-01-01\n'
        '[feeds.kraken]\nexchange = "kraken"\nsymbols = ["BTC/USD"]\ntimeframes = ["1h"]\nstart = 2024-01-01\n'
        "[exchanges.kraken]\nshare = 7\n"
    )
    ended = run(*arguments)
    assert [ended.err.count(one) for one in ("'BTCUSDT' is no symbol", "7 is out of bounds")] == [1, 1], ended.err
    assert ("This needs what is left out" in ended.err) == (needed and arguments[0] != "feeds")
    assert (ended.status == 2) == needed
    assert str(tmp_path / "feeds.toml") in ended.err


def test_a_split_that_nothing_has_is_told_by_feeds_and_status(run: Run, tmp_path: Path) -> None:
    """A warning, with what was meant; once a candle is stored the split is in use, whatever the feeds say."""
    (tmp_path / "feeds.toml").write_text(
        '[feeds.a]\nexchange = "binance"\nsymbols = ["ETH/USDT"]\ntimeframes = ["1m"]\nstart = 2024-01-01\n'
        '[feeds.b]\nexchange = "binance"\nsymbols = ["ETH/USDT"]\ntimeframes = ["1m"]\nstart = 2024-01-01\n'
        '[series."binance:BTC/USDT"]\nsplit = [2022-05-31T06:00:00Z]\n'
    )
    says = "series.binance:BTC/USDT: no feed has it, and no candle of it is stored"
    shared = "feeds.b: feed a has binance:ETH/USDT:1m too; leave it out of one"
    ended = run("feeds")
    assert (ended.status, says in ended.err, shared in ended.err) == (0, True, True)
    assert len(json.loads(run("feeds", "--json").out)["warnings"]) == 2
    assert run("feeds", "--check").status == 1
    assert says in run("status").err
    run("ingest", "binance:BTC/USDT:1m", *SPAN)
    assert says not in run("status").err
    ended = run("feeds", "--check")
    assert (ended.status, says in ended.err) == (0, False)


def test_a_failure_names_the_range_that_was_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange fails at a page; the line begins with the range, and says which page at its end."""
    market = MadeUpMarket(7, ["BTC/USDT"])
    with ReplayServer(market, faults=FaultPlan.parse(["http_404:*/klines"])) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        ended = run("ingest", "binance:BTC/USDT:1m", "--start", "2024-02-01", "--end", "2024-02-03")
    assert ended.status == 1
    assert "binance:BTC/USDT:1m [2024-02-01 00:00, 2024-02-03 00:00): " in ended.err
    assert "(page [2024-02-01 00:00, 2024-02-01 16:40))" in ended.err


def test_a_gap_is_told_once(exchange: ReplayServer, warehouse_url: str, tmp_path: Path) -> None:
    """Its candles are absent in the outcome of the load; the pages that lack them, asked for twice, are no warning."""
    environment = {
        "CHANDLER_EXCHANGES__BINANCE__BASE_URL": exchange.url,
        "CHANDLER_WAREHOUSE_URL": warehouse_url,
        "CHANDLER_HOME": str(tmp_path),
        "CHANDLER_LOG_FORMAT": "json",
    }
    span = ["--start", f"{HOLE.start:%Y-%m-%dT%H:%M}", "--end", f"{HOLE.end:%Y-%m-%dT%H:%M}"]
    command = [CHANDLER, "ingest", "binance:BTC/USDT:1m", *span, "--json"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    absent = sum(load["absent"] for load in json.loads(ended.stdout)["loads"])
    assert absent == HOLE.count(Timeframe.M1)
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert not [line for line in said if line["level"] == "warning"]


def test_the_replay_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """`chandler replay` says where it serves, answers there, and ends cleanly on SIGINT."""
    command = [CHANDLER, "replay", "--port", "0", "--symbols", "BTC/USDT"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert "Serving 1 symbol at http://127.0.0.1:" in line
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE_S) == 0


def test_what_was_refused_is_looked_at_and_decided(run: Run) -> None:
    """The list counts by rule, a row is shown with its reason and its surroundings, and a decision is made once."""
    run("ingest", "binance:BTC/USDT:1m", *SPAN)
    listed = json.loads(run("quarantine", "list", "binance:BTC/USDT:1m", "--state", "open", "--json").out)
    assert listed["counts"] == {"not_positive": 1}
    (row,) = listed["rows"]
    number = str(row["id"])
    assert "1 row in quarantine: 1 not_positive" in run("quarantine").err
    shown = run("quarantine", "show", number).out
    for part in ("A price is zero or below", "as received", "closes around it", "can never be a candle", "absent"):
        assert part in shown
    assert json.loads(run("quarantine", "show", number, "--json").out)["cells"]["low"] == row["cells"]["low"]
    refused = run("quarantine", "release", number)
    assert (refused.status, "no store holds a price of zero or below" in refused.err) == (1, True)
    assert run("quarantine", "confirm", number, "--note", "a [bad] print").status == 0
    assert "a [bad] print" in run("quarantine", "list", "--state", "confirmed").out
    again = run("quarantine", "confirm", number)
    assert (again.status, "was confirmed at" in again.err) == (2, True)
    assert "No refused row matches; leave out a filter" in run("quarantine", "list", "--rule", "ohlc").err


def test_quality_sums_up_and_revisions_are_listed(run: Run, settings: Settings) -> None:
    """Days, months and series add up to what is expected; a replaced value is shown beside the one after it."""
    run("ingest", "binance:BTC/USDT:1m", "binance:ETH/USDT:1m", *SPAN)
    reports = {by: json.loads(run("quality", "--by", by, "--json").out) for by in ("day", "month", "all")}
    assert [len(report[0]["periods"]) for report in reports.values()] == [3, 2, 1]
    assert reports["day"][0]["sum"] == reports["month"][0]["sum"] == reports["all"][0]["sum"]
    whole = reports["day"][0]["sum"]
    assert whole["expected"] == whole["stored"] + sum(whole["absent"].values()) == DAYS.count(Timeframe.M1)
    lines = run("quality", "--start", "2024-03-01", "--end", "2024-03-02").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["binance:BTC/USDT:1m", "2024-03-01"],
        ["binance:ETH/USDT:1m", "2024-03-01"],
        ["all", "sum"],
    ]
    assert "No candle was revised" in run("revisions").err
    with open_warehouse(settings) as warehouse, warehouse.begin() as connection:
        connection.exec_driver_sql("UPDATE candles SET close = close + 0.25, volume = 7 WHERE open_time = '2024-03-02'")
    run("ingest", "binance:ETH/USDT:1m", *SPAN, "--again")
    (revision,) = json.loads(run("revisions", "binance:ETH/USDT:1m", "--json").out)
    assert set(revision["changed"]) == {"close", "volume"}
    assert revision["changed"]["volume"]["before"] == 7
    assert "volume 7 -> " in run("revisions").out
    assert "never loaded" in run("revisions", "binance:DOGE/USDT:1m").err


@pytest.mark.parametrize("command", ["ingest", "status", "quality", "revisions", "audit", "feeds", "replay"])
def test_help_teaches_with_an_example(command: str, run: Run) -> None:
    """Every command's help has an example of itself."""
    assert f"Example: chandler {command}" in " ".join(run(command, "--help").out.replace("│", " ").split())


def test_help_is_as_wide_as_the_terminal(run: Run) -> None:
    """A paragraph is not broken where the source breaks it: each of its lines but the last is nearly full."""
    lines = [line.rstrip() for line in run("import", "--help").out.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.lstrip().startswith("Columns are known"))
    paragraph = lines[first : lines.index("", first)]
    assert len(paragraph) > 2
    longest = max(len(word) for word in " ".join(paragraph).split())
    assert all(len(line) > max(map(len, paragraph)) - longest - 2 for line in paragraph[:-1])


def test_help_is_quick_and_etl_is_light() -> None:
    """The command imports nothing heavy before it knows what to do, and etl knows neither Airflow nor TensorFlow."""
    code = "import sys, etl.cli; print([m for m in ('ccxt', 'pandas', 'airflow', 'tensorflow') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_an_exchange_that_the_table_lacks_names_the_way(run: Run) -> None:
    """The hint is printed as it is to be written, brackets and all."""
    ended = run("ingest", "mexc:BTC/USDT:1m", "--start", "2026-01-01")
    assert ended.status == 2
    assert 'feeds.toml: [exchanges.mexc] protocol = "ccxt"' in ended.err


def test_a_full_disk_is_one_line_whatever_was_to_be_written(tmp_path: Path) -> None:
    """The system's error, which any library may raise, is told as ours are."""
    command = [sys.executable, "-c", "from etl.cli import main; main()", "exchanges"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (
        1,
        "the disk is full: No space left on device; make room and run this again",
    )
