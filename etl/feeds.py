"""One feed and one exchange as feeds.toml describes them, and what can be wrong with a feed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import combinations, product
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from etl.errors import ConfigError
from etl.exchanges import EXCHANGES, Traits
from etl.series import Series, check_is_loadable, check_symbol
from etl.spelling import Duration, Moment, as_written, nearest
from etl.timeframe import BEGINNING, Timeframe, parse_timeframe

ANY_PROTOCOL = "ccxt"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
_ANNOUNCED_BEFORE = timedelta(days=366)
_TIME_ZONES = timedelta(days=1)  # where it is tomorrow already, so is the day that is meant


def _to_timeframe(name: object) -> object:
    if isinstance(name, str):
        try:
            return parse_timeframe(name)
        except ConfigError as error:
            raise ValueError(error.message) from error
    raise ValueError(f"{as_written(name)} is no text; write it in quotes")


def _is_market(name: str) -> str:
    exchange, _, symbol = name.partition(":")
    bare, _, last = symbol.rpartition(":")
    if last.lower() in list(Timeframe):
        raise ValueError(f'a split holds for every timeframe; leave "{last}" out and write "{exchange}:{bare}"')
    try:
        check_is_loadable(Series(exchange, symbol, Timeframe.D1).symbol)
    except ConfigError as error:
        raise ValueError(f'{error.message}; a key is such as "binance:LUNA/USDT"') from error
    return name


def _are_once(moments: tuple[datetime, ...]) -> tuple[datetime, ...]:
    if twice := sorted({one for one in moments if moments.count(one) > 1}):
        raise ValueError(f"{', '.join(map(as_written, twice))} stands there twice")
    return tuple(sorted(moments))


Market = Annotated[str, AfterValidator(_is_market)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExchangeSettings(_Frozen):
    """Access to one exchange: its address, and the share of its limit to use.

    Attributes:
        protocol: Whose protocol it speaks, when it is no exchange that Chandler knows by name (a replay, a testnet);
            or `ccxt`, for an exchange of this name in ccxt that Chandler's table lacks.
        base_url: Its address instead of the real one, without a path: `http://127.0.0.1:8900`.
        bulk_url: Where its archives of whole months lie instead; none are asked for at a `base_url` without this.
        bulk: Whether to use such archives.
        share: What we may spend of the exchange's limit; the rest is left to others at this address.
        repair_share: What of the limit repairs may spend at most, within `share`.
        weight_limit: That limit, where it is not the table's: what the exchange lets this address spend.
        pages_at_once: Requests under way side by side.
        ohlc_tolerance_pct: Instead of the one in [rules], for an exchange whose candles are less exact.
    """

    protocol: str | None = None
    base_url: AnyHttpUrl | None = None
    bulk_url: AnyHttpUrl | None = None
    bulk: bool = True
    share: float = Field(default=0.9, gt=0, le=1)
    repair_share: float = Field(default=0.1, gt=0, le=1)
    weight_limit: int | None = Field(default=None, gt=0)
    pages_at_once: int = Field(default=16, ge=1, le=64)
    ohlc_tolerance_pct: float | None = Field(default=None, ge=0, lt=100)

    @field_validator("protocol")
    @classmethod
    def _is_spoken(cls, protocol: str | None) -> str | None:
        if protocol is not None and protocol != ANY_PROTOCOL and protocol not in EXCHANGES:
            raise ValueError(f"no adapter speaks {protocol!r}{nearest(protocol, {*EXCHANGES, ANY_PROTOCOL})}")
        return protocol

    def bulk_address(self, usual: str | None) -> str | None:
        """Return where the archives lie, `usual` being the exchange's own place; None if none are to be used."""
        if self.bulk_url is not None:
            usual = str(self.bulk_url)
        elif self.base_url is not None:
            usual = None
        return usual.rstrip("/") if usual is not None and self.bulk else None


class SeriesSettings(_Frozen):
    """Facts about a symbol of an exchange, at any timeframe.

    Attributes:
        split: When the exchange gave the symbol to another coin: there one series of candles ends and another begins.
            Ascending, in whatever order they are written.
    """

    split: Annotated[tuple[Moment, ...], AfterValidator(_are_once)] = ()


class Feed(_Frozen):
    """A set of series that are loaded together.

    Attributes:
        start: The first day that is kept up to date; what is older is history.
        settle: How far before its interval each run fetches again, for candles that the exchange corrected late.
    """

    exchange: str
    symbols: tuple[str, ...] = Field(min_length=1)
    timeframes: tuple[Annotated[Timeframe, BeforeValidator(_to_timeframe)], ...] = Field(min_length=1)
    start: Moment
    settle: Duration = timedelta(hours=24)

    @field_validator("symbols", "timeframes")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            raise ValueError(f"{', '.join(twice)} stands there twice")
        return names

    @property
    def series(self) -> tuple[Series, ...]:
        """Every symbol at every timeframe."""
        return tuple(Series(self.exchange, symbol, tf) for symbol in self.symbols for tf in self.timeframes)

    def has(self, series: Series) -> bool:
        """Return whether a series is one of `series`, which may be thousands."""
        is_market = series.exchange == self.exchange and series.symbol in self.symbols
        return is_market and series.timeframe in self.timeframes


def feed_problems(
    name: str, table: Mapping[str, Any], traits_of: Callable[[str], Traits], now: datetime
) -> Iterator[str]:
    """Yield what is wrong with the values of a feed's table: its name, exchange, symbols, timeframes, start.

    What is of another type than it should be is left to `Feed`.

    Args:
        table: As feeds.toml has it.
        traits_of: Returns what an exchange does in its own way, or raises a ConfigError.
        now: A feed that starts later has nothing to load.
    """
    if not _NAME.fullmatch(name):
        yield f"{name!r} is no feed name; write lower case letters, digits and _"
    traits = None
    if isinstance(exchange := table.get("exchange"), str):
        try:
            traits = traits_of(exchange)
        except ConfigError as error:
            yield error.message
    for symbol in _texts(table, "symbols"):
        try:
            check_symbol(symbol)
        except ConfigError as error:
            yield error.message + slash_hint(symbol, traits)
            continue
        try:
            check_is_loadable(symbol)
        except ConfigError as error:
            yield error.message
    for timeframe in map(Timeframe, _timeframes(table)):
        if traits is not None and timeframe not in traits.timeframes:
            yield lacks(str(exchange), timeframe, traits)
    if (start := _moment(table.get("start"))) is not None and start > now + _TIME_ZONES:
        yield f"start = {as_written(table['start'])} is in the future; write a day that has begun"


def series_problems(
    market: str, own: SeriesSettings, traits_of: Callable[[str], Traits], now: datetime
) -> Iterator[str]:
    """Yield what is wrong with the table of a symbol: its exchange, moments at which no coin can be another.

    Args:
        market: `exchange:symbol`.
        traits_of: As for `feed_problems`.
        now: A split is announced no longer than a year ahead.
    """
    try:
        traits_of(market.partition(":")[0])
    except ConfigError as error:
        yield error.message
    for moment in own.split:
        if moment < BEGINNING:
            yield f"the split at {as_written(moment)} is before all candles, which begin at {BEGINNING:%Y-%m-%d}"
        elif moment > now + _ANNOUNCED_BEFORE:
            yield f"the split at {as_written(moment)} is more than a year ahead; correct the date"


def markets_of(table: Mapping[str, Any]) -> set[str]:
    """Return what a feed's table names as `exchange:symbol`, whatever else is wrong in it."""
    return {f"{table.get('exchange')}:{symbol}" for symbol in _texts(table, "symbols")}


def shared_series(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the names of each two feeds that have series in common, in the order of the file, and those series."""
    names = {
        name: [f"{market}:{timeframe}" for market, timeframe in product(sorted(markets_of(table)), _timeframes(table))]
        for name, table in tables.items()
    }
    # A feed may have thousands, and the file is read whenever Airflow parses a DAG.
    sets = {name: frozenset(series) for name, series in names.items()}
    for earlier, later in combinations(names, 2):
        if not sets[earlier].isdisjoint(sets[later]):
            yield earlier, later, [one for one in names[later] if one in sets[earlier]]


def lacks(exchange: str, timeframe: Timeframe, traits: Traits) -> str:
    """Return that an exchange does not serve a timeframe, and the nearest that it does."""
    return f"{exchange} has no {timeframe} candles{nearest(timeframe, traits.timeframes)}"


def slash_hint(symbol: str, traits: Traits | None) -> str:
    """Return how a symbol is written whose base and quote are not told apart; nothing where that is not known."""
    bare = re.sub(r"[\W_]", "", symbol.upper())
    for quote in traits.quotes if traits else ():
        if bare.endswith(quote) and len(bare) > len(quote):
            return f"; nearest: {bare.removesuffix(quote)}/{quote}"
    return ""


def _timeframes(table: Mapping[str, Any]) -> list[str]:
    return [one for one in _texts(table, "timeframes") if one in list(Timeframe)]


def _moment(value: object) -> datetime | None:
    try:
        return _MOMENT.validate_python(value)
    except ValidationError:
        return None


def _texts(table: Mapping[str, Any], key: str) -> Iterable[str]:
    names = table.get(key)
    return [one for one in names if isinstance(one, str)] if isinstance(names, list | tuple) else []
