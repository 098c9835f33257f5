"""feeds.toml and the environment: what is wrong is said in a line each, with the nearest right name."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from etl import errors
from etl.alerting import Alerting, ChannelSettings, Digest, Opinion, QuietHours, Route, Spread, load_alerting
from etl.errors import ConfigError
from etl.exchanges import EXCHANGES
from etl.feeds import ExchangeSettings, Feed, SeriesSettings
from etl.feeds_file import load_settings, load_what_is_right
from etl.keeping import Keep
from etl.learning import Learning
from etl.rules import Rules
from etl.series import Series
from etl.settings import Settings
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
        (
            "[feeds.majors]",
            '[models]\nleast_history = "14d"\n[feeds.majors]',
            "models.held_out: 21 days at 1m must be shorter than least_history, 14 days: the rest is learned; lower "
            "held_out, or raise least_history",
        ),
        (
            "[feeds.majors]",
            '[models]\nhistory = "25d"\n[feeds.majors]',
            "models.least_history: 28 days at 1m must not be longer than history, 25 days: a training reads no more; "
            "lower least_history, or raise history",
        ),
    ],
)
def test_each_mistake_is_a_clear_line(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    """A mistake in the file is one line with the place, and with what would have been right where that can be told."""
    path = write(tmp_path, FEED.replace(old, new, 1))
    (line,) = [line for line in mistakes(path) if complaint in line]
    assert line.startswith(str(path))


def test_lengths_of_a_training_are_judged_at_the_timeframes_of_the_feeds(tmp_path: Path) -> None:
    """Lengths that contradict each other at `1m` are raised at `1h` to what that needs."""
    models = '[models]\nleast_history = "14d"\nhistory = "20d"\n'
    assert mistakes(write(tmp_path, models + FEED.replace('"1m", ', "", 1))) == []
    assert len(mistakes(write(tmp_path, models + FEED))) == 1


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
        "feeds.Worst: no adapter for exchange 'Binance'; nearest: binance",
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


# Calls that say something to people, errors of every kind among them.
TELLS = {"print", "complain", "warning", "error", "info", "Notice", "Fault", "Text"} | {
    name for name in vars(errors) if name.endswith("Error")
}
LIBRARIES = re.compile(r"Input|should|valid |instance|expected|cannot be meant|secret")
PYTHON = re.compile(r"datetime|timedelta|tzinfo|True|False|None|frozenset|Path|\{'|<")
VALUES = (
    *(
        "7",
        "-1.5",
        "nan",
        "true",
        "''",
        "'nonsense'",
        "'http://user:secret@['",
        "'//me:p@secret@h'",
        "'http://me:p/secret@h'",
        "[]",
        "['x']",
        "[7]",
        "[[1]]",
    ),
    *("{x = 1}", "[{x = true}]", "2022-01-01", "[2022-01-01]", "12:00:00", "2022-01-01T00:00:00Z"),
)
# The line above the keys of each table, and the model of what stands below it.
TABLES = {
    "[feeds.majors]": Feed,
    "[exchanges.kraken]": ExchangeSettings,
    '[series."binance:BTC/USDT"]': SeriesSettings,
    "[rules]": Rules,
    "[keep]": Keep,
    "[models]": Learning,
    "": Settings,
}
ALERTS = {
    "[channels.desk]": ChannelSettings,
    "[[routes]]": Route,
    "[quiet_hours]": QuietHours,
    "[digest]": Digest,
    "[spread]": Spread,
    "[opinion]": Opinion,
    "": Alerting,
}


@pytest.mark.parametrize("header", [*TABLES, *ALERTS])
def test_mistakes_are_told_in_our_words(header: str, tmp_path: Path) -> None:
    """Whatever stands at any key of any table of either file, a line has no library's words, no Python and no login."""
    for read, tables in ((mistakes, TABLES), (_alert_mistakes, ALERTS)):
        for key, value in product(tables[header].model_fields if header in tables else (), VALUES):
            for line in read(write(tmp_path, f"{header}\n{key} = {value}")):
                told = line.removeprefix(str(tmp_path))
                assert not LIBRARIES.search(told), f"{key} = {value}: {told}"
                assert not PYTHON.search(told), f"{key} = {value}: {told}"


def _alert_mistakes(path: Path) -> list[str]:
    try:
        load_alerting(path)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_the_example_of_a_list_is_right_where_it_is_told(tmp_path: Path) -> None:
    """A key that wants a list shows one of its own; written there, the mistake is mended. So do tables."""
    told = set()
    for header, model in [*TABLES.items(), *ALERTS.items()]:
        read = mistakes if model in TABLES.values() else _alert_mistakes
        for key in model.model_fields:
            lines = [line for line in read(write(tmp_path, f"{header}\n{key} = 7")) if f"{key}: 7 is no " in line]
            for example in re.findall(r"such as (\[.*\])$", " ".join(lines)):
                is_table = "is no table" in lines[0]
                told.add(key)
                mended = f"{header}\n{example}" if is_table else f"{header}\n{key} = {example}"
                assert not [line for line in read(write(tmp_path, mended)) if f".{key}" in line and "is no " in line]
    assert told >= {"symbols", "timeframes", "split", "off", "channels", "kinds", "exchanges", "feeds", "series"}


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
    many = table.replace("split = [", 'split = ["2021-01-01T00:40", ')
    settings = load_settings(write(tmp_path, FEED + many))
    assert len(settings.splits_of(Series.parse("binance:LUNA/USDT:1m"))) == 3
    assert len(settings.splits_of(Series.parse("binance:LUNA/USDT:1d"))) == 2, "two in one candle are one"


@pytest.mark.parametrize(
    ("key", "split", "complaint"),
    [
        ("LUNA/USDT", "[]", 'a key is such as "binance:LUNA/USDT"'),
        ("binance:LUNA", "[]", "'LUNA' is no symbol"),
        ("binance:luna/usdt", "[]", "'luna/usdt' is in lower case; write LUNA/USDT"),
        ("binance:LUNA/USDT:1m", "[]", 'holds for every timeframe; leave "1m" out and write "binance:LUNA/USDT"'),
        ("binance:LUNA/USDT:USDT", "[]", "is a perpetual or a future"),
        ("Binance:LUNA/USDT", "[]", "'Binance' is no exchange name; write it in lower case"),
        ("binanse:LUNA/USDT", "[]", "no adapter for exchange 'binanse'; nearest: binance"),
        ("binance:LUNA/USDT", "2022-05-31", "2022-05-31 is no list; write one in brackets, such as [2022-05-31T06"),
        ("binance:LUNA/USDT", "[2022-05-31, 2022-05-31T00:00:00Z]", "2022-05-31T00:00:00Z stands there twice"),
        ("binance:LUNA/USDT", "[2027-01-02T00:00:01Z]", "is more than a year ahead; correct the date"),
        ("binance:LUNA/USDT", "[2009-01-02]", "is before all candles, which begin at 2009-01-03"),
    ],
)
def test_a_split_that_can_have_no_effect_is_told(key: str, split: str, complaint: str, tmp_path: Path) -> None:
    """Nothing loads by a [series] with a mistake in its key or its moments: two coins would become one series."""
    path = write(tmp_path, FEED + f'[series."{key}"]\nsplit = {split}\n')
    settings = load_what_is_right(path, now=datetime(2026, 1, 1, tzinfo=UTC))
    (line,) = map(str, settings.faults)
    assert line.startswith(f"{path}: series.{key}")
    assert complaint in line
    assert not settings.series
    if "ahead" not in complaint:
        with pytest.raises(ConfigError, match=re.escape(complaint)):
            load_settings(path)


def test_a_split_of_a_symbol_that_nothing_has_is_unused(tmp_path: Path) -> None:
    """A symbol may have left the feeds, or its feed be left out: then its split is in use as long as it is stored."""
    tables = '[series."binance:LUNA/USDT"]\nsplit = [2022-05-31]\n[series."binance:BTC/USDTT"]\nsplit = [2022-05-31]\n'
    left_out = FEED.replace("majors", "bad").replace("BTC", "LUNA").replace("36h", "36 hours")
    path = write(tmp_path, FEED + tables)
    luna, typo = map(str, load_settings(path).unused_splits(()))
    assert luna == f"{path}: series.binance:LUNA/USDT: no feed has it, and no candle of it is stored"
    assert typo.endswith("no feed has it, and no candle of it is stored; nearest: binance:BTC/USDT")
    assert [*map(str, load_settings(path).unused_splits([Series.parse("binance:LUNA/USDT:1h")]))] == [typo]
    assert [*map(str, load_settings(write(tmp_path, FEED + left_out + tables)).unused_splits(()))] == [typo]


def test_a_start_in_the_future_and_a_series_of_two_feeds_are_told(tmp_path: Path) -> None:
    """A feed that begins later would load nothing, without a word; one series in two feeds is loaded by both."""
    second = FEED.replace("majors", "again").replace('"BTC/USDT", ', "").replace("2024-01-01", "2026-03-03")
    path = write(tmp_path, FEED + second)
    settings = load_what_is_right(path, now=datetime(2026, 3, 1, tzinfo=UTC))
    (line,) = map(str, settings.faults)
    assert line == f"{path}: feeds.again: start = 2026-03-03 is in the future; write a day that has begun"
    assert list(settings.feeds) == ["majors"]
    settings = load_what_is_right(path, now=datetime(2026, 3, 2, tzinfo=UTC))
    assert not settings.faults, "somewhere that day has begun"
    (line,) = map(str, settings.shared_series)
    shared = "binance:ETH/USDT:1m, binance:ETH/USDT:1h"
    assert line == f"{path}: feeds.again: feed majors has {shared} too; leave it out of one"


def test_of_many_series_in_two_feeds_the_first_are_told(tmp_path: Path) -> None:
    """Two feeds of the same thousand coins are a line that can be read."""
    coins = ", ".join(f'"C{number:03}/USDT"' for number in range(1000))
    feed = FEED.replace('"BTC/USDT", "ETH/USDT"', coins)
    (line,) = map(str, load_settings(write(tmp_path, feed + feed.replace("majors", "again"))).shared_series)
    assert "feed majors has binance:C000/USDT:1m, binance:C000/USDT:1h, binance:C001/USDT:1m, " in line
    assert line.endswith(" and 1,992 more too; leave it out of one")


def test_how_long_candles_stay_young_is_asked_without_a_look_at_all_series_of_a_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging asks for each series of a market: to make all of them for each would take minutes."""
    settings = load_settings(write(tmp_path, FEED + FEED.replace("majors", "older").replace("36h", "48h")))
    monkeypatch.setattr(Feed, "series", property(lambda _: pytest.fail("all series are made")))
    told = [settings.settle_of(Series.parse(f"{one}:1m")) for one in ("binance:BTC/USDT", "kraken:BTC/USDT")]
    assert told == [timedelta(hours=48), timedelta(hours=24)]
    assert settings.settle_of(Series.parse("binance:BTC/USDT:5m")) == timedelta(hours=24)


def test_the_guide_states_the_defaults_of_the_rules(tmp_path: Path) -> None:
    """The example of feeds.toml in docs/running.md loads, and its [rules] are what counts without them."""
    guide = (REPOSITORY / "docs" / "running.md").read_text(encoding="utf-8")
    example = guide.partition("```toml\n")[2].partition("```")[0]
    rules = load_settings(write(tmp_path, example)).rules
    assert rules.model_copy(update={"off": frozenset()}) == Rules()


def test_no_message_guesses_the_name_of_a_file() -> None:
    """Feeds and alerts stand in the files that the environment names: what is raised or printed says which one."""
    guessed = []
    for path in (path for package in ("etl", "models", "plugins") for path in (REPOSITORY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_told = isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name | ast.Attribute)
                and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in TELLS
            )
            texts = [
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
            if is_told and any(name in text for text in texts for name in ("feeds.toml", "alerts.toml")):
                guessed.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert not guessed


def test_a_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a feeds file there are no feeds; one that CHANDLER_FEEDS names and is not there is an error."""
    monkeypatch.chdir(tmp_path)
    assert not load_settings().feeds
    monkeypatch.setenv("CHANDLER_FEEDS", "nowhere.toml")
    with pytest.raises(ConfigError, match="which is not there"):
        load_settings()


@pytest.mark.parametrize("name", ["feeds.toml", "feeds.demo.toml"])
def test_the_files_that_come_with_chandler_are_right(name: str) -> None:
    """The file that a user starts from has no mistake in it."""
    assert load_settings(REPOSITORY / name).feeds
