"""Series, ranges and the candle's columns."""

from __future__ import annotations

import pickle
import unicodedata
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etl.errors import ConfigError, RateLimitError
from etl.schema import content_hash, from_columns, to_columns
from etl.series import Series, TimeRange, symbol_from_path, symbol_to_path
from etl.timeframe import Timeframe, from_ms, to_ms
from tests.candles import candle_tables
from tests.conftest import BTC

part = st.from_regex(r"[A-Za-z0-9É币é][A-Za-z0-9.É币é人ß\u0301\U0001f600]{0,6}", fullmatch=True)
symbols = st.one_of(
    st.tuples(part, part).map("/".join),
    st.tuples(part, part, part).map(lambda p: f"{p[0]}/{p[1]}:{p[2]}"),
    st.tuples(part, part, part, part).map(lambda p: f"{p[0]}/{p[1]}:{p[2]}-{p[3]}"),
)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # aware below


@given(symbols)
def test_a_symbol_has_one_path_name_and_back(symbol: str) -> None:
    """Every symbol of ccxt's form turns into a path-safe name and back."""
    name = symbol_to_path(symbol)
    assert symbol_from_path(name) == symbol
    assert name.isascii()
    assert not set(name) & set("/:\\ ")
    series = Series("binance", symbol, Timeframe.M1)
    assert Series.parse(str(series)) == series


@given(symbols, symbols)
def test_no_file_system_takes_two_symbols_for_one(one: str, other: str) -> None:
    """The folders of symbols that are not ASCII stay apart if case does not count, or Unicode is normalised."""
    assume(one != other and not (one.isascii() and other.isascii()))
    names = symbol_to_path(one), symbol_to_path(other)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        first, second = (unicodedata.normalize(form, name).casefold() for name in names)
        assert first != second


@given(st.text(max_size=20))
def test_what_could_escape_from_a_path_is_no_symbol(text: str) -> None:
    """Whatever text stands for a symbol either is one that comes back from its path name, or is refused."""
    try:
        name = symbol_to_path(text)
    except ConfigError:
        return
    assert symbol_from_path(name) == text
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize(
    "text",
    [
        *("币/..", "币\u202e/USDT", "a\u200db/USDT", "\u3000币/USDT", "%2e%2e/USDT", "币/USDT\n", "币/USDT\ud800"),
        *("../../etc/x", "BTC/USDT/../../x", "BTC/..", "BTC USDT", "/etc/passwd", "BTC/USDT\n", "BTC/USDT\0", "", "."),
    ],
)
def test_a_hostile_symbol_is_refused(text: str) -> None:
    """Symbols that would leave the archive's folder are refused wherever a series is made."""
    with pytest.raises(ConfigError, match="is no symbol"):
        Series("binance", text, Timeframe.M1)
    with pytest.raises(ConfigError):
        Series.parse(f"binance:{text}:1m")


@pytest.mark.parametrize(
    "name",
    ["%E5%B8%81-usdt", "%e5%b8%81-USDT", "%41-USDT", "%FF-USDT", "%2E%2E-USDT", "BTC%2FUSDT", "%E5%B8%81%2DUSDT"],
)
def test_a_path_name_that_we_never_wrote_is_refused(name: str) -> None:
    """There is one name for a symbol: another spelling of it is no folder of ours."""
    with pytest.raises(ConfigError, match="is no symbol's path name"):
        symbol_from_path(name)


@given(moments, st.sampled_from(Timeframe))
def test_the_grid_runs_through_midnight(moment: datetime, timeframe: Timeframe) -> None:
    """A moment lies in the candle that floor opens and ceil ends, and midnight always opens one."""
    opened = timeframe.floor(moment)
    assert opened <= moment < opened + timeframe.delta
    assert timeframe.ceil(moment) in {opened, opened + timeframe.delta}
    assert timeframe.ceil(opened) == opened
    midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    assert timeframe.floor(midnight) == midnight
    assert from_ms(to_ms(moment)) <= moment < from_ms(to_ms(moment) + 1)


@given(moments, st.integers(1, 5000), st.sampled_from(Timeframe), st.integers(1, 1000))
def test_windows_cut_a_range_without_rest(start: datetime, count: int, timeframe: Timeframe, limit: int) -> None:
    """Windows touch, end where the range ends, and hold together as many candles as it."""
    span = TimeRange(timeframe.floor(start), timeframe.floor(start) + count * timeframe.delta)
    assert span.count(timeframe) == count
    windows = list(span.windows(limit * timeframe.ms))
    assert [windows[0].start, windows[-1].end] == [span.start, span.end]
    assert all(one.end == other.start for one, other in zip(windows, windows[1:], strict=False))
    assert sum(window.count(timeframe) for window in windows) == count


def test_a_range_is_aware_and_not_empty() -> None:
    """Naive bounds and empty ranges are refused at once."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="start < end"):
        TimeRange(now, now)
    with pytest.raises(ValueError, match="aware"):
        TimeRange(now.replace(tzinfo=None), now)
    elsewhere = now.astimezone(ZoneInfo("Asia/Tokyo"))
    assert TimeRange(elsewhere, elsewhere + timedelta(days=1)).start.tzinfo is UTC


@given(candle_tables())
def test_candles_survive_numpy_and_are_known_by_their_content(table: object) -> None:
    """Columns and back give the same table; the content's hash moves with any value."""
    again = from_columns(to_columns(table))
    assert again.equals(table)
    assert content_hash(again) == content_hash(table)
    if again.num_rows:
        columns = to_columns(table)
        columns["close"] = columns["close"] + 1
        assert content_hash(from_columns(columns)) != content_hash(table)


def test_errors_say_where_and_cross_processes() -> None:
    """An error names series and range, and is the same after pickling."""
    error = RateLimitError("slow down", retry_after_s=2.5, series=BTC, time_range=TimeRange.from_ms(0, 60_000))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert str(again) == str(error) == "binance:BTC/USDT:1m [1970-01-01 00:00, 1970-01-01 00:01): slow down"
    assert (again.retry_after_s, again.series, again.is_retryable) == (2.5, BTC, True)
