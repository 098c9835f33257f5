"""The settings of a run, validated and frozen.

They are those of feeds.toml, which etl.feeds_file reads, and of the environment, which wins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from etl.errors import ConfigError
from etl.exchanges import ANY, EXCHANGES, Traits
from etl.feeds import (
    ANY_PROTOCOL,
    ExchangeSettings,
    Feed,
    Market,
    SeriesSettings,
    lacks,
    markets_of,
)
from etl.homes import HOME, feeds_path
from etl.keeping import Keep
from etl.learning import Learning
from etl.probing import SETTLE
from etl.problems import EXCHANGE_TABLES, FEEDS, SERIES_TABLES, Fault, refuse
from etl.rules import Rules
from etl.series import Series, check_is_loadable, is_exchange_name
from etl.spelling import Duration, as_written, close_to, nearest
from etl.timeframe import to_ms

ENVIRONMENT = "CHANDLER_"


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
        clock_skew: How far the clock of an exchange may be from ours; for a replay of another time it is to be longer.
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT, env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = HOME
    warehouse_url: str | None = None
    archive_url: str | None = None
    archive_fallback: Path | None = None
    max_quarantined_pct: float = Field(default=5.0, ge=0, le=100)
    max_quarantined_rows: int = Field(default=5, ge=0)
    clock_skew: Duration = timedelta(days=1)
    rules: Rules = Rules()
    keep: Keep = Keep()
    models: Learning = Learning()
    exchanges: Mapping[str, ExchangeSettings] = Field(default_factory=dict)
    series: Mapping[Market, SeriesSettings] = Field(default_factory=dict)
    feeds: Mapping[str, Feed] = Field(default_factory=dict)
    _path: Path | None = PrivateAttr(default=None)
    _faults: tuple[Fault, ...] = PrivateAttr(default=())
    _shared: tuple[Fault, ...] = PrivateAttr(default=())
    _tables: Mapping[str, Mapping[str, Any]] = PrivateAttr(default_factory=dict)

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

    def of_file(
        self,
        path: Path,
        *,
        faults: Iterable[Fault] = (),
        shared: Iterable[Fault] = (),
        tables: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Settings:
        """Return the same settings, read from a file.

        Args:
            faults: The mistakes in it.
            shared: The series that stand in two of its feeds.
            tables: Its feeds as they stand there, those with mistakes too.
        """
        settings = self.model_copy()
        settings._path, settings._faults, settings._shared = path, tuple(faults), tuple(shared)
        settings._tables = tables or {}
        return settings

    def with_found_home(self, home: Path) -> Settings:
        """Return the same settings with a home that no setting names."""
        settings = self.model_copy(update={"home": home})
        settings.model_fields_set.discard("home")
        return settings

    @property
    def path(self) -> Path:
        """The feeds file: the one that was read, else where it would be."""
        return self._path or feeds_path()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The mistakes in the file, whose places are left out here."""
        return self._faults

    @property
    def shared_series(self) -> tuple[Fault, ...]:
        """Series that stand in two feeds: both load them, which does no harm and is seldom meant."""
        return self._shared

    def unused_splits(self, stored: Iterable[Series]) -> list[Fault]:
        """Return the splits of symbols that no feed has, and no store.

        Args:
            stored: The series of the warehouse: a split counts for them, though no feed has them any more.
        """
        fed = set().union(*map(markets_of, self._tables.values()))
        known = fed | {f"{one.exchange}:{one.symbol}" for one in stored}
        return [
            Fault(
                (SERIES_TABLES, market),
                f"no feed has it, and no candle of it is stored{close_to(market, known)}",
                str(self.path),
            )
            for market in self.series
            if market not in known
        ]

    @property
    def exchanges_in_use(self) -> list[str]:
        """The exchanges of all feeds, ascending; of those left out too, where nothing is wrong with the exchange."""
        left_out = {str(table.get("exchange")) for name, table in self._tables.items() if name not in self.feeds}
        return sorted(
            {feed.exchange for feed in self.feeds.values()} | {one for one in left_out if self.is_usable(one)}
        )

    def is_usable(self, exchange: str) -> bool:
        """Return whether an exchange can be spoken to, as far as the settings say."""
        try:
            self.traits(exchange)
        except ConfigError:
            return False
        return True

    def check(self) -> None:
        """Check that nothing is wrong in the file.

        Raises:
            ConfigError: A line for each mistake.
        """
        refuse(self._faults)

    def check_warehouse(self) -> None:
        """Check that the warehouse is the one that the file means, though something else in the file is wrong.

        Raises:
            ConfigError: Nothing says where it is, and the part of the file that may cannot be read.
        """
        if self.warehouse_url is None and f"{ENVIRONMENT}HOME" not in os.environ:
            refuse(fault for fault in self._faults if not fault.place or fault.place[0] in {"warehouse_url", "home"})

    def check_stores(self) -> None:
        """Check the same, and that the archive is the one that the file means.

        Raises:
            ConfigError: Nothing says where one of them is, or the part of the file that may cannot be read.
        """
        self.check_warehouse()
        refuse(fault for fault in self._faults if fault.place[:1] in {("archive_url",), ("archive_fallback",)})

    @property
    def is_home_chosen(self) -> bool:
        """True if a setting names `home`; else it is the default, or was found."""
        return "home" in self.model_fields_set

    def exchange(self, name: str) -> ExchangeSettings:
        """Return the settings of exchange `name`; the defaults if none are given.

        Raises:
            ConfigError: Those that are given are wrong.
        """
        refuse(fault for fault in self._faults if fault.place[:2] == (EXCHANGE_TABLES, name))
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
            hint = f'; if ccxt knows it, say so in {self.path}: [exchanges.{name}] protocol = "{ANY_PROTOCOL}"'
            problem = f"no adapter for exchange {as_written(name)}{nearest(name, known)}"
            raise ConfigError(problem + (hint if is_exchange_name(name) else ""))
        return traits if own.weight_limit is None else replace(traits, weight_limit=own.weight_limit)

    def settle_of(self, series: Series) -> timedelta:
        """Return how long the candles of `series` stay young: the longest `settle` of its feeds, or the usual one."""
        return max((feed.settle for feed in self.feeds.values() if feed.has(series)), default=SETTLE)

    def splits_of(self, series: Series) -> tuple[int, ...]:
        """Return the slots at which `series` became another coin's: milliseconds since the epoch, ascending."""
        own = self.series.get(f"{series.exchange}:{series.symbol}", SeriesSettings())
        return tuple(sorted({to_ms(series.timeframe.floor(moment)) for moment in own.split}))

    def flagging_of(self, series: Series) -> str:
        """Return a name for the rules and parameters that flag the candles of `series`; see `Rules.flagging`."""
        return self.rules_of(series.exchange).flagging(self.splits_of(series))

    def check_series(self, series: Series) -> None:
        """Check that the exchange can be spoken to and serves the timeframe, and that such a symbol can be loaded.

        Raises:
            ConfigError: It does not; with the nearest that it does.
        """
        check_is_loadable(series.symbol)
        traits = self.traits(series.exchange)
        if series.timeframe not in traits.timeframes:
            raise ConfigError(lacks(series.exchange, series.timeframe, traits))

    def feed(self, name: str) -> Feed:
        """Return feed `name`.

        Raises:
            ConfigError: There is none, or something is wrong with it.
        """
        if name not in self.feeds:
            refuse(fault for fault in self._faults if fault.place[:2] == (FEEDS, name))
        if name not in self.feeds:
            raise ConfigError(f"no feed {name!r} in {self.path}{nearest(name, self.feeds)}")
        return self.feeds[name]
