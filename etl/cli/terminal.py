"""Parts that the commands share: where they print, the arguments that several take, the stores they open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from etl.cli.logs import Stderr, log
from etl.errors import ConfigError
from etl.feeds_file import load_settings, load_what_is_right
from etl.homes import Creates
from etl.series import Series, TimeRange, spelled_as
from etl.settings import Settings
from etl.spelling import parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.problems import Fault
    from etl.stores import Stores
    from etl.warehouse import Warehouse

# Into a file or a pipe, tables are as wide as they need to be.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Stderr()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SomeSeries = Annotated[
    list[str] | None, typer.Argument(help="exchange:symbol:timeframe, such as binance:BTC/USDT:1m; all without.")
]
Start = Annotated[str | None, typer.Option(help="First moment, such as 2024-01-01 (UTC).", show_default=False)]
End = Annotated[str | None, typer.Option(help="End, exclusive, such as 2024-02-01 (UTC).", show_default=False)]


@contextmanager
def opened_stores(creates: Creates = Creates.NEVER) -> Iterator[Stores]:
    """Open the stores that the settings name.

    Args:
        creates: Where a warehouse is made, if there is none.
    """
    from etl.stores import open_stores

    with open_stores(read_settings(), creates) as stores:
        yield stores


@contextmanager
def stores_to_read() -> Iterator[Stores]:
    """Open the stores for a command that only reads: mistakes in the feeds file are shown, and do not stop it."""
    from etl.stores import open_stores

    with open_stores(read_settings_to_look(), Creates.NEVER) as stores:
        yield stores


@contextmanager
def opened_warehouse(settings: Settings) -> Iterator[Warehouse]:
    """Open the warehouse alone, which must be there."""
    from etl.lost import open_present

    with open_present(settings) as warehouse:
        yield warehouse


def tell_nothing_loaded(settings: Settings) -> None:
    """Say what to do where the warehouse knows of no series: load some, or rebuild what the archive holds."""
    from etl.lost import archived

    if held := archived(settings):
        complain(f"the warehouse knows nothing of {held} that the archive holds; chandler warehouse rebuild")
    else:
        err.print("Nothing is loaded yet; try: chandler ingest --help")


def read_settings() -> Settings:
    """Read the settings, and say which feeds are left out, and why.

    Raises:
        ConfigError: Something is wrong that is of more than a feed or an exchange.
    """
    return _showing_faults(load_settings())


def read_settings_to_look() -> Settings:
    """Read the settings for what only reads, with the defaults for what is wrong in them, and say what that is.

    Raises:
        ConfigError: Nothing says for certain where the stores are.
    """
    settings = load_what_is_right()
    settings.check_stores()
    return _showing_faults(settings)


def _showing_faults(settings: Settings) -> Settings:
    for fault in settings.faults:
        err.print(Text(f"left out: {fault}", style="yellow"), soft_wrap=True)
        err.told.add(str(fault))
    return settings


def warn(faults: Iterable[Fault]) -> None:
    """Print what may be a mistake and leaves nothing out."""
    for fault in faults:
        err.print(Text(f"warning: {fault}", style="yellow"), soft_wrap=True)


def to_range(start: str | None, end: str | None) -> TimeRange | None:
    """Return what --start and --end say; None if neither is given.

    Raises:
        ConfigError: They are no moments, or in the wrong order.
    """
    if not (start or end):
        return None
    first = parse_moment(start) if start else datetime(1970, 1, 1, tzinfo=UTC)
    last = parse_moment(end) if end else datetime(9000, 1, 1, tzinfo=UTC)
    if last <= first:
        raise ConfigError(f"--end {end} is not after the start, {first:%Y-%m-%d %H:%M}")
    return TimeRange(first, last)


def check_known(asked: Iterable[Series], known: Iterable[Series], others: Iterable[Series] = ()) -> None:
    """Check that every series is known.

    Args:
        others: What else is stored, one of which may be meant.

    Raises:
        ConfigError: It has not; with the nearest that it has.
    """
    held = set(known)
    if missing := sorted(set(asked) - held):
        stored = held.union(others)
        names = ", ".join(f"{one}{spelled_as(one, stored)}" for one in missing)
        raise ConfigError(f"never loaded: {names}; see chandler status")


def run_name() -> str:
    """Return what to call a run of this command in the warehouse: two that follow one another at once are two."""
    run = f"cli {datetime.now(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}"
    log.info("this run is %s", run, extra={"run": run})
    return run


def tell_none(noun: str, *, is_filtered: bool, hint: str = "") -> None:
    """Say that a list is empty: of all that there is, or of what was asked for."""
    what = f"No {noun} matches; leave out a filter to see others." if is_filtered else f"There is no {noun} yet."
    err.print(f"{what} {hint}".rstrip())


def complain(problem: object) -> None:
    """Print a problem as it is: what stands in brackets is a range or a table of feeds.toml, and no markup.

    Mistakes that were printed as left out are not printed again.
    """
    lines = str(problem).splitlines()
    new = [line for line in lines if line not in err.told]
    if lines and not new:
        new = ["This needs what is left out; correct that, and run it again."]
    if err.is_log:
        log.error("%s", problem if new == lines else "\n".join(new))
    else:
        err.print(Text("\n".join(new), style="red"), soft_wrap=True)
