"""feeds.toml and the environment: what is wrong is said in a line each, with the nearest right name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl.errors import ConfigError
from etl.exchanges import EXCHANGES
from etl.rules import Rules
from etl.series import Series
from etl.settings import load_settings
from etl.timeframe import Timeframe
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


def test_a_feed_is_its_symbols_at_its_timeframes(tmp_path: Path) -> None:
    """A feed gives one series for each symbol and timeframe; dates are UTC, durations as written."""
    feed = load_settings(write(tmp_path, FEED)).feed("majors")
    assert feed.series[:2] == (Series.parse("binance:BTC/USDT:1m"), Series.parse("binance:BTC/USDT:1h"))
    assert feed.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert feed.settle == timedelta(hours=36)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("settle", "setle", "unknown key feeds.majors.setle; nearest: settle"),
        (
            "[feeds.majors]",
            "max_quarantine_pct = 1\n[feeds.majors]",
            "max_quarantine_pct; nearest: max_quarantined_pct",
        ),
        ('"binance"', '"binanse"', "no adapter for exchange 'binanse'; nearest: binance"),
        ('"BTC/USDT"', '"BTCUSDT"', "'BTCUSDT' is no symbol; write BASE/QUOTE, such as BTC/USDT; nearest: BTC/USDT"),
        ('"BTC/USDT"', '"../../etc/x"', "'../../etc/x' is no symbol"),
        ('"ETH/USDT"', '"BTC/USDT"', "BTC/USDT stands there twice"),
        ('"1h"', '"1hr"', "'1hr' is no timeframe; nearest: 1h"),
        ('"36h"', '"36 hours"', "'36 hours' is no duration"),
        ("2024-01-01", '"soon"', "'soon' is no moment"),
        ("start = 2024-01-01", "", "feeds.majors.start is missing"),
        ("[feeds.majors]", "[feeds.Majors]", "'Majors' is no feed name"),
        ('exchange = "binance"', 'exchange = "mine"', "no adapter for exchange 'mine'"),
        ("[feeds.majors]", '[exchanges.mine]\nprotocol = "binanc"\n[feeds.majors]', "no adapter speaks 'binanc'"),
        ("[feeds.majors]", "[feeds.majors", "cannot be read"),
        ("[feeds.majors]", "[rules]\njump = 1\n[feeds.majors]", "unknown key rules.jump; nearest: jump_pct"),
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
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    (line,) = [line for line in str(caught.value).splitlines() if complaint in line]
    assert line.startswith(str(path))


def test_a_timeframe_that_the_exchange_lacks_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that serves few timeframes is asked for no other, neither by a feed nor by a series."""
    few = replace(EXCHANGES["binance"], timeframes=frozenset({Timeframe.M1, Timeframe.D1}))
    monkeypatch.setattr("etl.settings.EXCHANGES", {"binance": few})
    path = write(tmp_path, FEED)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(caught.value) == f"{path}: feeds.majors: binance has no 1h candles; nearest: 1m"
    settings = load_settings(write(tmp_path, FEED.replace(', "1h"', "")))
    with pytest.raises(ConfigError, match="binance has no 1h candles; nearest: 1m"):
        settings.check_series(Series.parse("binance:BTC/USDT:1h"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines."""
    path = write(tmp_path, FEED.replace("settle", "setle").replace('"1h"', '"7m"'))
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert len(str(caught.value).splitlines()) == 2


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
