"""feeds.toml and the environment, validated and frozen.

The environment wins over the file. Every problem is reported at once, a line each, with the nearest name that would
have been right. Whether an exchange lists a symbol is for the exchange to say: see `chandler feeds --check`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from etl.errors import ConfigError
from etl.exchanges import ANY, EXCHANGES, Traits
from etl.homes import HOME, likely_home, read_note
from etl.keeping import Keep
from etl.learning import Learning
from etl.probing import SETTLE
from etl.rules import Rules
from etl.series import Series, check_symbol
from etl.spelling import Duration, Moment, nearest, problem_lines, read_toml
from etl.timeframe import Timeframe

ANY_PROTOCOL = "ccxt"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExchangeSettings(_Frozen):
    """How to reach one exchange, and how much of it to use.

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


class Feed(_Frozen):
    """A set of series that are loaded together.

    Attributes:
        start: The first day that is kept up to date; what is older is history.
        settle: How far before its interval each run fetches again, for candles that the exchange corrected late.
    """

    exchange: str
    symbols: tuple[str, ...] = Field(min_length=1)
    timeframes: tuple[Timeframe, ...] = Field(min_length=1)
    start: Moment
    settle: Duration = timedelta(hours=24)

    @field_validator("timeframes", mode="before")
    @classmethod
    def _are_timeframes(cls, names: object) -> object:
        for name in names if isinstance(names, list) else []:
            if name not in list(Timeframe):
                raise ValueError(f"{name!r} is no timeframe{nearest(str(name), Timeframe)}")
        return names

    @field_validator("symbols", "timeframes")
    @classmethod
    def _are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice")
        return names

    @property
    def series(self) -> tuple[Series, ...]:
        """Every symbol at every timeframe."""
        return tuple(Series(self.exchange, symbol, tf) for symbol in self.symbols for tf in self.timeframes)


class _Environment(EnvSettingsSource):
    """The variables but for CHANDLER_FEEDS, which names the file and is no setting in it."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in super()._load_env_vars().items() if name != "chandler_feeds"}


class Settings(BaseSettings):
    """Everything a run needs to know; read once at the edge and passed in.

    Attributes:
        home: What the embedded default writes: database, archive, raw pages.
        warehouse_url: A PostgreSQL address; without one the embedded server under `home` is used.
        archive_url: A pyarrow filesystem URI or a folder; `home`/archive without one.
        archive_fallback: A folder, on another disk, for rows that the archive cannot take; `home`/fallback without one.
        max_quarantined_pct: The share of a partition's candles, in percent, of which only refused rows may come; more
            fail it, if they are also more than ...
        max_quarantined_rows: ... so many candles: of a few rows one is soon a large share.
    """

    model_config = SettingsConfigDict(env_prefix="CHANDLER_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = HOME
    warehouse_url: str | None = None
    archive_url: str | None = None
    archive_fallback: Path | None = None
    max_quarantined_pct: float = Field(default=5.0, ge=0, le=100)
    max_quarantined_rows: int = Field(default=5, ge=0)
    rules: Rules = Rules()
    keep: Keep = Keep()
    models: Learning = Learning()
    exchanges: Mapping[str, ExchangeSettings] = Field(default_factory=dict)
    feeds: Mapping[str, Feed] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which arrives as keyword arguments."""
        return _Environment(settings_cls), init_settings

    @field_validator("home", "archive_fallback")
    @classmethod
    def _is_absolute(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()

    @model_validator(mode="after")
    def _feeds_fit_their_exchanges(self) -> Self:
        problems = [
            f"feeds.{name}: {problem}" for name, feed in self.feeds.items() for problem in self._problems(name, feed)
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self, name: str, feed: Feed) -> Iterable[str]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"{name!r} is no feed name; write lower case letters, digits and _"
        try:
            traits = self.traits(feed.exchange)
        except ConfigError as error:
            yield error.message
            return
        for symbol in feed.symbols:
            try:
                check_symbol(symbol)
            except ConfigError as error:
                yield error.message + _slash_hint(symbol, traits)
        for timeframe in feed.timeframes:
            if timeframe not in traits.timeframes:
                yield _lacks(feed.exchange, timeframe, traits)

    @property
    def is_home_chosen(self) -> bool:
        """Whether `home` was named by somebody; else it is the default, or was found."""
        return "home" in self.model_fields_set

    def exchange(self, name: str) -> ExchangeSettings:
        """Return the settings of exchange `name`; the defaults if none are given."""
        return self.exchanges.get(name, ExchangeSettings())

    def rules_of(self, exchange: str) -> Rules:
        """Return what the rules go by for the candles of `exchange`."""
        tolerance_pct = self.exchange(exchange).ohlc_tolerance_pct
        return (
            self.rules if tolerance_pct is None else self.rules.model_copy(update={"ohlc_tolerance_pct": tolerance_pct})
        )

    def traits(self, name: str) -> Traits:
        """Return what exchange `name` does in its own way.

        Raises:
            ConfigError: No adapter speaks to such an exchange.
        """
        own = self.exchange(name)
        protocol = own.protocol or name
        if protocol == ANY_PROTOCOL:
            traits = replace(ANY, ccxt_id=name)
        elif protocol in EXCHANGES:
            traits = EXCHANGES[protocol]
        else:
            known = {*EXCHANGES, *self.exchanges}
            hint = f'if ccxt knows it, say so in feeds.toml: [exchanges.{name}] protocol = "{ANY_PROTOCOL}"'
            raise ConfigError(f"no adapter for exchange {name!r}{nearest(name, known)}; {hint}")
        return traits if own.weight_limit is None else replace(traits, weight_limit=own.weight_limit)

    def settle_of(self, series: Series) -> timedelta:
        """Return how long the candles of `series` stay young: the longest `settle` of its feeds, or the usual one."""
        return max((feed.settle for feed in self.feeds.values() if series in feed.series), default=SETTLE)

    def check_series(self, series: Series) -> None:
        """Check that the exchange can be spoken to and serves the timeframe.

        Raises:
            ConfigError: It does not; with the nearest that it does.
        """
        traits = self.traits(series.exchange)
        if series.timeframe not in traits.timeframes:
            raise ConfigError(_lacks(series.exchange, series.timeframe, traits))

    def feed(self, name: str) -> Feed:
        """Return feed `name`.

        Raises:
            ConfigError: There is none.
        """
        if name not in self.feeds:
            raise ConfigError(f"no feed {name!r} in {feeds_path()}{nearest(name, self.feeds)}")
        return self.feeds[name]


def _lacks(exchange: str, timeframe: Timeframe, traits: Traits) -> str:
    return f"{exchange} has no {timeframe} candles{nearest(timeframe, traits.timeframes)}"


def _slash_hint(symbol: str, traits: Traits) -> str:
    bare = re.sub(r"[^A-Z0-9]", "", symbol.upper())
    for quote in traits.quotes:
        if bare.endswith(quote) and len(bare) > len(quote):
            return f"; nearest: {bare.removesuffix(quote)}/{quote}"
    return ""


def feeds_path() -> Path:
    """Return where the feeds are configured.

    `CHANDLER_FEEDS` names the file; else it is the one that the stack of the home runs, or feeds.toml in the working
    directory.
    """
    if "CHANDLER_FEEDS" not in os.environ:
        note = read_note(likely_home())
        if note is not None and Path(note.feeds).is_file():
            return Path(note.feeds)
    return Path(os.environ.get("CHANDLER_FEEDS", "feeds.toml")).absolute()


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read the feeds file and the environment.

    Args:
        path: The file; `feeds_path()` without one. It need not exist unless `CHANDLER_FEEDS` names it.
        overrides: Settings that win over both, as an Airflow Connection does.

    Raises:
        ConfigError: A line for each thing that is wrong, with what would have been right.
    """
    path = path or feeds_path()
    content = read_toml(path, "CHANDLER_FEEDS")
    try:
        settings = Settings(**content).model_copy(update=overrides)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in problem_lines(error, _known_keys))) from error
    return _with_stack(settings)


def _with_stack(settings: Settings) -> Settings:
    """Return the settings with the home and the addresses of the local stack that they do not name themselves."""
    if not settings.is_home_chosen and settings.warehouse_url is None and (home := likely_home()) != settings.home:
        settings = settings.model_copy(update={"home": home})
    note = read_note(settings.home)
    if note is None:
        return settings
    exchanges = dict(settings.exchanges)
    for name, addresses in note.exchanges.items():
        own = settings.exchange(name)
        if name in exchanges and own.base_url is None:
            exchanges[name] = ExchangeSettings.model_validate({**own.model_dump(exclude_none=True), **addresses})
    return settings.model_copy(update={"exchanges": exchanges})


def _known_keys(place: tuple[int | str, ...]) -> Iterable[str]:
    if len(place) == 1:
        return Settings.model_fields
    tables: Mapping[int | str, type[BaseModel]] = {"feeds": Feed, "rules": Rules, "keep": Keep, "models": Learning}
    return tables.get(place[0], ExchangeSettings).model_fields
