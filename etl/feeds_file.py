"""feeds.toml, read into Settings.

The environment wins over the file. Every mistake is found at once, a line each, with the nearest name that would have
been right. One in a feed leaves that feed out, one in an exchange's table the feeds of that exchange: the others go on.
Whether an exchange lists a symbol is for the exchange to say: see `chandler feeds --check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from etl.errors import ConfigError
from etl.exchanges import Traits
from etl.feeds import ExchangeSettings, Feed, SeriesSettings, feed_problems, series_problems, shared_series
from etl.homes import feeds_path, likely_home, read_note
from etl.keeping import Keep
from etl.learning import Learning
from etl.problems import (
    EXCHANGE_TABLES,
    FEEDS,
    SERIES_TABLES,
    Fault,
    Place,
    file_order,
    leave_out,
    problems_of,
    refuse,
    root_of,
)
from etl.rules import Rules
from etl.settings import ENVIRONMENT, Settings
from etl.toml_file import read_toml

_SHOWN = 8  # series that two feeds have


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read the feeds file and the environment. Feeds with a mistake are left out; `Settings.faults` has the mistakes.

    Args:
        path: The file; `feeds_path()` without one. It need not exist unless `CHANDLER_FEEDS` names it.
        overrides: Settings that win over both, as an Airflow Connection does.

    Raises:
        ConfigError: Something is wrong that is of more than a feed or an exchange; a line for each such mistake.
    """
    settings = load_what_is_right(path, **overrides)
    if any(fault.place[:1] not in {(FEEDS,), (EXCHANGE_TABLES,)} for fault in settings.faults):
        settings.check()
    return settings


def check_feeds_file() -> None:
    """Check that there is a feeds file, and that nothing in it is wrong.

    Raises:
        ConfigError: There is none, or a line for each mistake in it.
    """
    load_what_is_right().check()
    if not (path := feeds_path()).exists():
        raise ConfigError(f"no feeds: {path} is not there; write it, or let CHANDLER_FEEDS name another file")


def load_what_is_right(path: Path | None = None, *, now: datetime | None = None, **overrides: Any) -> Settings:
    """Read the feeds file and the environment, with the defaults for all that is wrong in the file.

    For what must go on whatever the file says, and shows or tells of `Settings.faults`: nothing may be stored by it.

    Args:
        now: The moment by which a day is in the future; this one without it.

    Raises:
        ConfigError: Something in the environment is wrong.
    """
    path, now = path or feeds_path(), now or datetime.now(UTC)
    read = read_toml(path, "CHANDLER_FEEDS")
    content, faults = read.content, list(read.faults)
    for name in (FEEDS, EXCHANGE_TABLES):
        if isinstance(content.get(name), dict):
            content[name] = dict(content[name])
    leave_out(content, faults)
    tables = {
        name: table if isinstance(table, dict) else {}
        for name, table in (content[FEEDS].items() if isinstance(content.get(FEEDS), dict) else ())
    }
    while True:
        try:
            settings = Settings(**content).of_file(path)
            break
        except ValidationError as error:
            found = [Fault(place, problem, str(path)) for place, problem in problems_of(error, _known_keys)]
            if not leave_out(content, found):
                others = [one for one in faults if one.place not in {two.place for two in found}]
                refuse([*others, *(Fault((), one.problem, _variable(one.place)) for one in found)])
            faults += found
    faults += _faults_of_values(settings, tables, faults, str(path), now)
    wrong = {root_of(fault.place)[1] for fault in faults if len(root_of(fault.place)) == 2 and fault.place[0] == FEEDS}
    sound = {name: feed for name, feed in settings.feeds.items() if name not in wrong}
    splits = {} if any(fault.place[:1] == (SERIES_TABLES,) for fault in faults) else settings.series
    settings = settings.model_copy(update={FEEDS: sound, SERIES_TABLES: splits, **overrides})
    in_two = (
        Fault((FEEDS, later), f"feed {earlier} has {_some(shared)} too; leave it out of one", str(path))
        for earlier, later, shared in shared_series(tables)
    )
    in_order = sorted(faults, key=lambda one: file_order(one, list(tables)))
    return _with_stack(settings.of_file(path, faults=in_order, shared=in_two, tables=tables))


def _with_stack(settings: Settings) -> Settings:
    """Return the settings with the home and the addresses of the local stack that they do not name themselves."""
    if not settings.is_home_chosen and settings.warehouse_url is None and (home := likely_home()) != settings.home:
        settings = settings.with_found_home(home)
    note = read_note(settings.home)
    if note is None:
        return settings
    exchanges = dict(settings.exchanges)
    for name, addresses in note.exchanges.items():
        own = exchanges.get(name)
        if own is not None and own.base_url is None:
            exchanges[name] = ExchangeSettings.model_validate({**own.model_dump(exclude_none=True), **addresses})
    return settings.model_copy(update={"exchanges": exchanges})


def _faults_of_values(
    settings: Settings, tables: Mapping[str, Any], known: Sequence[Fault], origin: str, now: datetime
) -> list[Fault]:
    """Return what is wrong with the values of feeds and splits, in those too that something else is wrong with."""
    wrong = {fault.place[1] for fault in known if fault.place[:1] == (EXCHANGE_TABLES,) and len(fault.place) > 1}

    def traits_of(exchange: str) -> Traits:
        if exchange in wrong:
            raise ConfigError(f"a mistake in the table [exchanges.{exchange}]; correct that")
        return settings.traits(exchange)

    places = {(FEEDS, name): feed_problems(name, table, traits_of, now) for name, table in tables.items()}
    places |= {
        (SERIES_TABLES, market): series_problems(market, own, traits_of, now) for market, own in settings.series.items()
    }
    faults = [Fault(place, problem, origin) for place, problems in places.items() for problem in problems]
    return faults + [Fault(("models", name), problem, origin) for name, problem in _models_problems(settings).items()]


def _models_problems(settings: Settings) -> dict[str, str]:
    """Return which settings of models contradict others at a timeframe of the feeds, the finest such."""
    timeframes = {timeframe for feed in settings.feeds.values() for timeframe in feed.timeframes}
    found = (settings.models.problems_at(one) for one in sorted(timeframes, key=lambda one: one.ms))
    return next(filter(None, found), {})


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _variable(place: Place) -> str:
    return ENVIRONMENT + "__".join(place).upper()


def _known_keys(place: Place) -> Iterable[str]:
    if len(place) == 1:
        return Settings.model_fields
    tables: Mapping[str, type[BaseModel]] = {
        FEEDS: Feed,
        SERIES_TABLES: SeriesSettings,
        "rules": Rules,
        "keep": Keep,
        "models": Learning,
    }
    return tables.get(place[0], ExchangeSettings).model_fields
