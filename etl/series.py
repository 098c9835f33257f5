"""Series and time ranges: whose candles, and from when to when."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import unquote

from etl.errors import ConfigError
from etl.spelling import nearest
from etl.timeframe import Timeframe, from_ms, parse_timeframe, to_ms

_EXCHANGE = re.compile(r"[a-z][a-z0-9]{0,31}")
# Currencies: ASCII letters, digits and dots; of other scripts what `_is_of_currency` lets through.
_PART = r"[A-Za-z0-9\u0080-\U0010ffff][A-Za-z0-9.\u0080-\U0010ffff]{0,31}"
_SYMBOL = re.compile(rf"{_PART}/{_PART}(:{_PART}(-{_PART}){{0,3}})?")
_ASCII_PATH = re.compile(r"[A-Za-z0-9._-]+")
_ESCAPED_PATH = re.compile(r"(?:[A-Z0-9._-]|%[0-9A-F]{2})+")
_UNESCAPED = frozenset(string.ascii_uppercase + string.digits + "._-")
# Letters, numbers and signs of any script, and the marks that belong to them; nothing that is not seen, or is a space.
_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Mn", "Mc", "So", "Sc", "Sk"})
_MOST_OF_PATH = 200  # bytes, so that a file system takes it with what stands before it


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One exchange's candles of one symbol at one timeframe.

    Attributes:
        exchange: The exchange's name in feeds.toml, `binance` for example.
        symbol: ccxt's unified symbol: `BTC/USDT`, or `BTC/USDT:USDT` for a derivative.
        timeframe: The candle's width.

    Raises:
        ConfigError: The exchange or the symbol is not of that form. Whoever holds a Series may use it in a path.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe

    def __post_init__(self) -> None:
        if not is_exchange_name(self.exchange):
            raise ConfigError(f"{self.exchange!r} is no exchange name; write it in lower case, such as 'binance'")
        check_symbol(self.symbol)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}:{self.timeframe}"

    @classmethod
    def parse(cls, text: str) -> Series:
        """Read `exchange:symbol:timeframe`, such as `binance:BTC/USDT:1m`; the symbol as it is written.

        Upper and lower case count, since an exchange may list a symbol in both. What `check_is_loadable` refuses is
        read all the same, so that whatever an earlier version has stored can be looked at.

        Raises:
            ConfigError: `text` is not of that form.
        """
        exchange, _, rest = text.partition(":")
        symbol, _, timeframe = rest.rpartition(":")
        if not (exchange and symbol and timeframe):
            raise ConfigError(f"{text!r} is no series; write exchange:symbol:timeframe, such as binance:BTC/USDT:1m")
        try:
            return cls(exchange, symbol, parse_timeframe(timeframe))
        except ConfigError as error:
            raise ConfigError(f"{text!r}: {error.message}") from error

    @property
    def path(self) -> str:
        """The series as hive-style folders, for every store that keeps files."""
        return f"exchange={self.exchange}/symbol={symbol_to_path(self.symbol)}/timeframe={self.timeframe}"


def is_exchange_name(name: str) -> bool:
    """Return whether an exchange may be called so, in settings and in paths."""
    return _EXCHANGE.fullmatch(name) is not None


def check_symbol(symbol: str) -> str:
    """Return `symbol` if it is of ccxt's unified form.

    Raises:
        ConfigError: It is not; whatever could escape from a path is refused here.
    """
    if not _SYMBOL.fullmatch(symbol) or not all(map(_is_of_currency, symbol)):
        raise ConfigError(f"{symbol!r} is no symbol; write BASE/QUOTE, such as BTC/USDT")
    if len(_to_path(symbol)) > _MOST_OF_PATH:
        raise ConfigError(f"{symbol!r} is too long for the name of a folder; no exchange lists such a symbol")
    return symbol


def _is_of_currency(character: str) -> bool:
    return character.isascii() or unicodedata.category(character) in _CATEGORIES


def check_is_loadable(symbol: str) -> None:
    """Check that candles of `symbol` can be loaded: the rule of all that loads, be it from a feed, a command or a file.

    What is stored of another stays readable; see `Series.parse`.

    Raises:
        ConfigError: It is a derivative, which no source asks for yet, or written in lower case.
    """
    if ":" in symbol:
        problem = f"{symbol!r} is a perpetual or a future, and only spot candles are loaded so far"
        raise ConfigError(f"{problem}; write a spot symbol, such as BTC/USDT")
    if symbol == symbol.lower() != symbol.upper():
        raise ConfigError(f"{symbol!r} is in lower case; write {symbol.upper()}")


def spelled_as(series: Series, held: Iterable[Series]) -> str:
    """Return a hint at the series that is meant by one that was never loaded: it may be held in other letters."""
    names = sorted(map(str, held))
    same = [name for name in names if name.casefold() == str(series).casefold()]
    return f"; it is held as {same[0]}" if same else nearest(str(series), names)


def symbol_to_path(symbol: str) -> str:
    """Return the path-safe name: `BTC/USDT` as `BTC-USDT`, `BTC/USDT:USDT` as `BTC-USDT_USDT`.

    A symbol that is not ASCII is written in percent-encoded UTF-8, as hive-style readers decode it, its small letters
    too: such names stay apart where upper and lower case are one, or where a file system normalises Unicode.

    Raises:
        ConfigError: The symbol is not of ccxt's form, so the name could not be turned back.
    """
    return _to_path(check_symbol(symbol))


def _to_path(symbol: str) -> str:
    name = symbol.replace("/", "-", 1).replace(":", "_", 1)
    if name.isascii():
        return name
    return "".join(chr(byte) if chr(byte) in _UNESCAPED else f"%{byte:02X}" for byte in name.encode())


def symbol_from_path(name: str) -> str:
    """Return the symbol that `symbol_to_path` wrote as `name`.

    Raises:
        ConfigError: It never wrote such a name.
    """
    plain = name
    if _ESCAPED_PATH.fullmatch(name):
        plain = unquote(name, errors="replace")
    elif not _ASCII_PATH.fullmatch(name):
        raise ConfigError(f"{name!r} is no symbol's path name")
    symbol = plain.replace("-", "/", 1).replace("_", ":", 1)
    try:
        is_ours = symbol_to_path(symbol) == name
    except ConfigError:
        is_ours = False
    if not is_ours:
        raise ConfigError(f"{name!r} is no symbol's path name")
    return symbol


@dataclass(frozen=True, slots=True, order=True)
class TimeRange:
    """A half-open UTC range `[start, end)` that is not empty.

    Raises:
        ValueError: A bound is naive, or the range is empty or reversed.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is UTC and self.end.tzinfo is UTC and self.start < self.end:
            return
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a TimeRange needs aware bounds")
        if self.start >= self.end:
            raise ValueError(f"a TimeRange needs start < end, not {self.start} and {self.end}")
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound.tzinfo is not UTC:
                in_utc = bound.astimezone(UTC) if bound.utcoffset() else bound.replace(tzinfo=UTC)
                object.__setattr__(self, name, in_utc)

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%d %H:%M}, {self.end:%Y-%m-%d %H:%M})"

    @classmethod
    def from_ms(cls, start_ms: int, end_ms: int) -> TimeRange:
        """Return `[start_ms, end_ms)`, both milliseconds since the epoch."""
        return cls(from_ms(start_ms), from_ms(end_ms))

    @property
    def start_ms(self) -> int:
        """The inclusive start, milliseconds since the epoch."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """The exclusive end, milliseconds since the epoch."""
        return to_ms(self.end)

    def count(self, timeframe: Timeframe) -> int:
        """Return how many candles open in the range."""
        width_ms = timeframe.ms
        return -(-to_ms(self.end) // width_ms) + -to_ms(self.start) // width_ms

    def windows(self, width_ms: int) -> Iterator[TimeRange]:
        """Yield consecutive ranges of `width_ms` from the start; the last one may be shorter."""
        for start_ms in range(self.start_ms, self.end_ms, width_ms):
            yield TimeRange.from_ms(start_ms, min(start_ms + width_ms, self.end_ms))

    def to_dict(self) -> dict[str, str]:
        """Return the bounds as ISO 8601, for JSON."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}


def utc_day(day: date) -> TimeRange:
    """Return the range of a UTC day."""
    midnight = datetime.combine(day, time(), UTC)
    return TimeRange(midnight, midnight + timedelta(days=1))


def clip(span: TimeRange, other: TimeRange) -> TimeRange | None:
    """Return what two ranges have in common; None if nothing."""
    start, end = max(span.start, other.start), min(span.end, other.end)
    if start is span.start and end is span.end:
        return span
    return TimeRange(start, end) if start < end else None


def subtract(wanted: TimeRange, covered: Sequence[TimeRange]) -> list[TimeRange]:
    """Return what of `wanted` no range in `covered` (ascending, disjoint) holds."""
    rest, start = [], wanted.start
    for span in covered:
        if start < span.start and start < wanted.end:
            rest.append(TimeRange(start, min(span.start, wanted.end)))
        start = max(start, span.end)
    if start < wanted.end:
        rest.append(TimeRange(start, wanted.end))
    return rest


def united(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """Return what the ranges cover: ascending, those that touch as one."""
    whole: list[TimeRange] = []
    for one in sorted(ranges):
        if whole and one.start <= whole[-1].end:
            whole[-1] = TimeRange(whole[-1].start, max(whole[-1].end, one.end))
        else:
            whole.append(one)
    return whole
