"""feeds.toml and the environment: what is wrong is said in a line each, with the nearest right name."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from etl.alerting import Alerting, Opinion, Route
from etl.errors import ConfigError
from etl.exchanges import EXCHANGES
from etl.feeds import ExchangeSettings, Feed
from etl.keeping import Keep
from etl.learning import Learning
from etl.problems import problems_of
from etl.rules import Rules
from etl.series import Series
from etl.settings import Settings, load_settings, load_what_is_right
from etl.timeframe import Timeframe, to_ms
from tests.conftest import REPOSITORY

FEED = """
[feeds.majors]
exchange = "binance"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m", "1h"]
start = 2024-01-01
settle = "36h"
"""


def write(folder: Path, content: str) -> Path:
    """Write a feeds file and return its path."""
    path = folder / "feeds.toml"
    path.write_text(content, encoding="utf-8")
    return path


def mistakes(path: Path) -> list[str]:
    """Return what is wrong in a feeds file, a line each."""
    return [str(fault) for fault in load_what_is_right(path).faults]


def test_a_feed_is_its_symbols_at_its_timeframes(tmp_path: Path) -> None:
    """A feed gives one series for each symbol and timeframe; dates are UTC, durations as written."""
    feed = load_settings(write(tmp_path, FEED)).feed("majors")
    assert feed.series[:2] == (Series.parse("binance:BTC/USDT:1m"), Series.parse("binance:BTC/USDT:1h"))
    assert feed.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert feed.settle == timedelta(hours=36)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("settle", "setle", "feeds.majors.setle: unknown key; nearest: settle"),
        (
            "[feeds.majors]",
            "max_quarantine_pct = 1\n[feeds.majors]",
            "max_quarantine_pct: unknown key; nearest: max_quarantined_pct",
        ),
        ('"binance"', '"binanse"', "no adapter for exchange 'binanse'; nearest: binance"),
        ('"BTC/USDT"', '"BTCUSDT"', "'BTCUSDT' is no symbol; write BASE/QUOTE, such as BTC/USDT; nearest: BTC/USDT"),
        ('"BTC/USDT"', '"../../etc/x"', "'../../etc/x' is no symbol"),
        ('"ETH/USDT"', '"BTC/USDT"', "BTC/USDT stands there twice"),
        ('"1h"', '"1hr"', "'1hr' is no timeframe; nearest: 1h"),
        ('"36h"', '"36 hours"', "'36 hours' is no duration"),
        ("2024-01-01", '"soon"', "'soon' is no moment"),
        ("start = 2024-01-01", "", "feeds.majors.start: missing"),
        ("[feeds.majors]", "[feeds.Majors]", "'Majors' is no feed name"),
        ('exchange = "binance"', 'exchange = "mine"', "no adapter for exchange 'mine'"),
        ("[feeds.majors]", '[exchanges.mine]\nprotocol = "binanc"\n[feeds.majors]', "no adapter speaks 'binanc'"),
        ("[feeds.majors]", "[feeds.majors", "cannot be read"),
        ("[feeds.majors]", "[rules]\njump = 1\n[feeds.majors]", "rules.jump: unknown key; nearest: jump_pct"),
        ("[feeds.majors]", "[rules]\noff = ['jumps']\n[feeds.majors]", "no rule 'jumps' flags candles; nearest: jump"),
        ("[feeds.majors]", "[rules]\noff = ['ohlc']\n[feeds.majors]", "what refuses rows cannot be off"),
        (
            "[feeds.majors]",
            "[rules]\nfrozen_after = 130\n[feeds.majors]",
            "rules: frozen_after = 130 does not fit into lookback = 120",
        ),
    ],
)
def test_each_mistake_is_a_clear_line(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    """A mistake in the file is one line with the place, and with what would have been right where that can be told."""
    path = write(tmp_path, FEED.replace(old, new, 1))
    (line,) = [line for line in mistakes(path) if complaint in line]
    assert line.startswith(str(path))


def test_a_timeframe_that_the_exchange_lacks_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that serves few timeframes is asked for no other, neither by a feed nor by a series."""
    few = replace(EXCHANGES["binance"], timeframes=frozenset({Timeframe.M1, Timeframe.D1}))
    monkeypatch.setattr("etl.settings.EXCHANGES", {"binance": few})
    path = write(tmp_path, FEED)
    (line,) = mistakes(path)
    assert line == f"{path}: feeds.majors: binance has no 1h candles; nearest: 1m"
    settings = load_settings(write(tmp_path, FEED.replace(', "1h"', "")))
    with pytest.raises(ConfigError, match="binance has no 1h candles; nearest: 1m"):
        settings.check_series(Series.parse("binance:BTC/USDT:1h"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Every mistake of every feed is a line of its own, of whatever sort, and in the order of the file."""
    path = write(
        tmp_path,
        """
[feeds.Worst]
exchange = "Binance"
symbols = ["eth/usdt", "BTCUSDT", "BTC/USDT:USDT", "BTC/USDT ", 7]
timeframes = ["1M", "1w", "1s", "60m", "1H", "7m", "odd"]
start = "01/02/2026"
settle = "1w"
coins = 3

[feeds.fine]
exchange = "binance"
symbols = ["BTC/USDT"]
timeframes = ["1h"]
start = 2026-01-01

[feeds.other]
exchange = "kraken"
symbols = "BTC/USD"
timeframes = []

[keep]
raw = 7
""",
    )
    assert [line.removeprefix(f"{path}: ") for line in mistakes(path)] == [
        "keep.raw: 7 is no duration; write a number and m, h or d, such as '24h'",
        "feeds.Worst.symbols.4: 7 is no text; write it in quotes",
        "feeds.Worst.timeframes.0: '1M' is no timeframe; the coarsest is 1d",
        "feeds.Worst.timeframes.1: '1w' is no timeframe; the coarsest is 1d",
        "feeds.Worst.timeframes.2: '1s' is no timeframe; the finest is 1m",
        "feeds.Worst.timeframes.3: '60m' is no timeframe; nearest: 1h",
        "feeds.Worst.timeframes.4: '1H' is no timeframe; nearest: 1h",
        "feeds.Worst.timeframes.5: '7m' is no timeframe; nearest: 5m",
        f"feeds.Worst.timeframes.6: 'odd' is no timeframe; one of {', '.join(Timeframe)}",
        "feeds.Worst.start: '01/02/2026' is no moment; write 2024-01-31 or 2024-01-31T12:00",
        "feeds.Worst.settle: '1w' is no duration; write a number and m, h or d, such as '7d'",
        "feeds.Worst.coins: unknown key; known: exchange, settle, start, symbols, timeframes",
        "feeds.Worst: 'Worst' is no feed name; write lower case letters, digits and _",
        "feeds.Worst: no adapter for exchange 'Binance'; nearest: binance; "
        'if ccxt knows it, say so in feeds.toml: [exchanges.Binance] protocol = "ccxt"',
        "feeds.Worst: 'eth/usdt' is in lower case; write ETH/USDT",
        "feeds.Worst: 'BTCUSDT' is no symbol; write BASE/QUOTE, such as BTC/USDT",
        "feeds.Worst: 'BTC/USDT:USDT' is a perpetual or a future, and only spot candles are loaded so far; "
        "write a spot symbol, such as BTC/USDT",
        "feeds.Worst: 'BTC/USDT ' is no symbol; write BASE/QUOTE, such as BTC/USDT",
        "feeds.other.symbols: 'BTC/USD' is no list; write one in brackets, such as [\"BTC/USDT\"]",
        "feeds.other.timeframes: empty; name at least one",
        "feeds.other.start: missing",
    ]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (
            '[feeds.bad]\nexchange = "binance"\nsymbols = ["BTC/USDT"\ntimeframes = ["1h"]\nstart = 2026-01-01',
            "feeds.bad: cannot be read as TOML",
        ),
        ("[feeds.bad\nstart = 2026-01-01", "feeds.bad: cannot be read as TOML"),
        ("[feeds.bad]\nstart = 2026-01-01\nstart = 2026-01-02", "feeds.bad: cannot be read as TOML"),
        (f"{FEED.replace('majors', 'bad')}{FEED.replace('majors', 'bad')}", "feeds.bad: the table stands there twice"),
        (FEED.replace("majors", "bad").replace("BTC/", "BTC"), "'BTCUSDT' is no symbol"),
        (FEED.replace("majors", "bad").replace("settle", "sttle"), "unknown key"),
        (FEED.replace("majors", "bad").replace("binance", "binanse"), "no adapter for exchange"),
        (FEED.replace("majors", "bad").replace("1h", "1M"), "'1M' is no timeframe"),
        ("[exchanges.kraken]\nshare = 7\n" + FEED.replace("majors", "bad").replace("binance", "kraken"), "share"),
        ("[feeds]\nbad = 7", "feeds.bad: 7 is no table"),
        ("[\"feeds\".'bad'] # a table\nstart = [", "feeds.bad: cannot be read as TOML"),
    ],
)
def test_a_mistake_in_one_feed_leaves_the_others(table: str, complaint: str, tmp_path: Path) -> None:
    """A feed that is wrong is left out, even where TOML cannot be read, and those around it are as without."""
    after = FEED.replace("majors", "after").replace("36h", "1h")
    whole = load_settings(write(tmp_path, FEED + after))
    path = write(tmp_path, f"{FEED}\n{table}\n{after}")
    settings = load_settings(path)
    assert settings.feeds == whole.feeds
    assert any(complaint in line for line in mistakes(path)), mistakes(path)
    with pytest.raises(ConfigError, match="bad"):
        settings.feed("bad")
    with pytest.raises(ConfigError, match="bad"):
        settings.check()


def test_repair_goes_on_where_a_feed_is_left_out(tmp_path: Path) -> None:
    """The exchange of a feed with a mistake is in use still, unless the mistake is the exchange's."""
    kraken = FEED.replace("majors", "bad").replace("binance", "kraken").replace("36h", "36 hours")
    assert load_settings(write(tmp_path, FEED + kraken)).exchanges_in_use == ["binance", "kraken"]
    wrong = "[exchanges.kraken]\nshare = 7\n"
    settings = load_settings(write(tmp_path, FEED + kraken + wrong))
    assert settings.exchanges_in_use == ["binance"]
    with pytest.raises(ConfigError, match="7 is out of bounds; write a number of at most 1"):
        settings.exchange("kraken")


def test_a_mistake_that_is_of_all_stops_all_but_the_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong rules load nothing by other ones; alerts and pages go on, if the mistake hides no warehouse."""
    monkeypatch.delenv("CHANDLER_HOME", raising=False)
    monkeypatch.delenv("CHANDLER_WAREHOUSE_URL", raising=False)
    path = write(tmp_path, "[rules]\njump_pct = 0\n" + FEED)
    with pytest.raises(ConfigError, match="rules.jump_pct: 0 is out of bounds; write a number above 0"):
        load_settings(path)
    settings = load_what_is_right(path)
    settings.check_warehouse()
    assert list(settings.feeds) == ["majors"]
    path = write(tmp_path, 'warehouse_url = "postgresql://a/b\n' + FEED)
    with pytest.raises(ConfigError, match="cannot be read as TOML, at line 1"):
        load_what_is_right(path).check_warehouse()
    monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", "postgresql://a/b")
    load_what_is_right(path).check_warehouse()


def test_the_environment_s_mistakes_are_the_environment_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that cannot be meant is told by its name, beside what is wrong in the file."""
    monkeypatch.setenv("CHANDLER_MAX_QUARANTINED_PCT", "lots")
    with pytest.raises(ConfigError) as caught:
        load_what_is_right(write(tmp_path, FEED.replace("1h", "1M")))
    lines = str(caught.value).splitlines()
    assert "CHANDLER_MAX_QUARANTINED_PCT: 'lots' is no number" in lines
    assert len(lines) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_from_any_editor_is_read(encoding: str, newline: str, tmp_path: Path) -> None:
    """A byte order mark and the ends of lines of another system are none of the file's matter."""
    path = tmp_path / "feeds.toml"
    path.write_bytes(FEED.replace("\n", newline).encode(encoding))
    assert load_settings(path).feeds == load_settings(write(tmp_path, FEED)).feeds
    path.write_bytes(FEED.encode("utf-16"))
    assert [line for line in mistakes(path) if "not UTF-8; save the file as UTF-8" in line]


LIBRARIES = re.compile(r"Input|should|valid |instance|expected|cannot be meant|secret")
NONSENSE = ("nonsense", 7, -1.5, True, ["x"], [], {"x": 1}, "", float("nan"), "http://user:secret@[", "//me:p@secret@h")


@pytest.mark.parametrize("model", [Feed, ExchangeSettings, Rules, Keep, Learning, Alerting, Route, Opinion, Settings])
def test_mistakes_are_told_in_our_words(model: type[BaseModel]) -> None:
    """Whatever stands at any key of any table, no line of a library's reaches a person, and no login."""
    for key in model.model_fields:
        for value in NONSENSE:
            try:
                model.model_validate({key: value})
            except ValidationError as error:
                for _, problem in problems_of(error, lambda _: ()):
                    assert not LIBRARIES.search(problem), problem


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and stores set in the environment win over the file; the rest of the exchange's table stays."""
    exchange = '[exchanges.binance]\nbase_url = "http://127.0.0.1:1"\npages_at_once = 7\n'
    monkeypatch.setenv("CHANDLER_FEEDS", str(write(tmp_path, FEED + exchange)))
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", "http://127.0.0.1:2")
    monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", "postgresql://elsewhere/db")
    monkeypatch.setenv("CHANDLER_ARCHIVE_URL", "s3://bucket/candles")
    monkeypatch.setenv("CHANDLER_HOME", "somewhere")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert str(settings.exchange("binance").base_url) == "http://127.0.0.1:2/"
    assert settings.exchange("binance").pages_at_once == 7
    assert settings.warehouse_url == "postgresql://elsewhere/db"
    assert settings.archive_url == "s3://bucket/candles"
    assert settings.home == tmp_path / "somewhere"


def test_an_exchange_may_have_a_tolerance_of_its_own(tmp_path: Path) -> None:
    """The rules are the file's for every exchange, but for the tolerance where an exchange states its own."""
    tables = "[rules]\njump_pct = 5\nohlc_tolerance_pct = 0.2\n[exchanges.kraken]\nohlc_tolerance_pct = 1\n"
    settings = load_settings(write(tmp_path, FEED + tables))
    assert settings.rules_of("binance") == Rules(jump_pct=5, ohlc_tolerance_pct=0.2)
    assert settings.rules_of("kraken") == Rules(jump_pct=5, ohlc_tolerance_pct=1)


def test_a_symbol_that_became_another_coin_s_is_split(tmp_path: Path) -> None:
    """A split is of an exchange's symbol at every timeframe, at the slot in which it lies; a wrong one is told."""
    table = '[series."binance:LUNA/USDT"]\nsplit = [2022-05-31T06:00:00Z, "2021-01-01T00:30"]\n'
    settings = load_settings(write(tmp_path, FEED + table))
    midnights = [datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 5, 31, tzinfo=UTC)]
    assert settings.splits_of(Series.parse("binance:LUNA/USDT:1d")) == tuple(map(to_ms, midnights))
    assert settings.splits_of(Series.parse("binance:LUNA/USDT:1m"))[1] == to_ms(midnights[1]) + 6 * 3_600_000
    assert settings.splits_of(Series.parse("kraken:LUNA/USDT:1d")) == ()
    for wrong, complaint in (("LUNA/USDT", 'a key is such as "binance:LUNA/USDT"'), ("binance:LUNA", "is no symbol")):
        lines = mistakes(write(tmp_path, FEED + table.replace("binance:LUNA/USDT", wrong)))
        assert [line for line in lines if complaint in line], lines


def test_the_guide_states_the_defaults_of_the_rules(tmp_path: Path) -> None:
    """The example of feeds.toml in docs/running.md loads, and its [rules] are what counts without them."""
    guide = (REPOSITORY / "docs" / "running.md").read_text(encoding="utf-8")
    example = guide.partition("```toml\n")[2].partition("```")[0]
    rules = load_settings(write(tmp_path, example)).rules
    assert rules.model_copy(update={"off": frozenset()}) == Rules()


def test_a_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a feeds file there are no feeds; one that CHANDLER_FEEDS names and is not there is an error."""
    monkeypatch.chdir(tmp_path)
    assert not load_settings().feeds
    monkeypatch.setenv("CHANDLER_FEEDS", "nowhere.toml")
    with pytest.raises(ConfigError, match="which is not there"):
        load_settings()


@pytest.mark.parametrize("name", ["feeds.toml", "feeds.demo.toml"])
def test_the_files_that_come_with_chandler_are_right(name: str) -> None:
    """What a user starts from has no mistake in it."""
    assert load_settings(REPOSITORY / name).feeds
