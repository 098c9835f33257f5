"""Commands about feeds and exchanges, and the exchange of our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.terminal import AsJson, complain, err, out, read_settings, warn
from etl.errors import ChandlerError, ConfigError, NoStoreError
from etl.feeds_file import load_what_is_right
from etl.settings import Settings
from etl.spelling import counted

if TYPE_CHECKING:
    from etl.problems import Fault
    from etl.replay import Market


def feeds(
    check: Annotated[bool, typer.Option("--check", help="Ask each exchange whether it trades the symbols.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the feeds of the feeds file, and with --check ask the exchanges whether they trade the symbols.

    The file is feeds.toml in the working directory, or the one that CHANDLER_FEEDS names. Each mistake in it is a line,
    and the exit status is 2: the feeds without one are shown, and go on. It is 1 if a check finds something.

    Example: [bold]chandler feeds --check[/bold]
    """
    from etl import show

    settings = load_what_is_right()
    findings: dict[str, list[str]] = {}
    unused = _unused_splits(settings)
    if check:
        from etl.plan import check_feed

        findings = {name: check_feed(settings, feed) for name, feed in settings.feeds.items()}
    if as_json:
        out.print_json(data=show.feeds_json(settings, findings, [*settings.shared_series, *unused]))
    elif settings.feeds:
        out.print(show.feeds_table(settings, findings))
    elif not settings.faults:
        err.print(f"No feeds in {settings.path}; add a table such as [feeds.majors].", markup=False)
    warn(settings.shared_series)
    warn(unused)
    for problem in [problem for found in findings.values() for problem in found]:
        complain(problem)
    if settings.faults:
        raise ConfigError("\n".join(map(str, settings.faults)))
    if any(findings.values()) or (check and unused):
        raise typer.Exit(1)


def _unused_splits(settings: Settings) -> list[Fault]:
    """Return the splits of symbols that no feed has, and no warehouse; none are known if that does not answer."""
    if not settings.unused_splits(()):
        return []
    from etl.warehouse import known_series, open_warehouse

    try:
        with open_warehouse(settings) as warehouse, warehouse.begin() as connection:
            return settings.unused_splits(known_series(connection))
    except NoStoreError:
        return settings.unused_splits(())  # there is no warehouse yet
    except ChandlerError as error:
        complain(f"[series] of {settings.path} is not checked against the warehouse: {error}")
        return []


def exchanges(
    name: Annotated[
        str | None, typer.Argument(help="One of the list, such as kraken; --check needs it.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask the exchange whether it does so.")] = False,
    symbol: Annotated[
        str | None, typer.Option(help="Whose candles to ask for, such as BTC/USD.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the exchanges, and what each does in its own way; with --check, ask one whether it really does.

    Exit status 1 if it does something else than the table says.

    Example: [bold]chandler exchanges kraken --check[/bold]
    """
    from etl import show
    from etl.venues import Verdict, check_exchange, known_exchanges

    settings = read_settings()
    if not check:
        known = known_exchanges(settings) if name is None else {name: settings.traits(name)}
        if as_json:
            out.print_json(data=show.exchanges_json(known))
        else:
            out.print(show.exchanges_table(known))
        return
    if name is None:
        raise ConfigError("say which exchange to ask: chandler exchanges kraken --check")
    with err.status(f"asking {name}") as status:
        findings = check_exchange(settings, name, symbol, lambda step: status.update(f"asking {name}: {step}"))
    if as_json:
        out.print_json(data=show.check_json(findings))
    else:
        out.print(show.check_table(findings))
    if needs := show.check_needs(findings):
        err.print(f"To agree, its entry in etl/exchanges.py would say {needs}", markup=False, soft_wrap=True)
    if any(finding.verdict is Verdict.DIFFERS for finding in findings):
        raise typer.Exit(1)


def replay(
    data: Annotated[
        Path | None, typer.Option(help="A folder of recorded Parquet: <exchange>/<SYMBOL>/<timeframe>.parquet.")
    ] = None,
    exchange: Annotated[str, typer.Option(help="Whose recordings in --data to serve.")] = "binance",
    seed: Annotated[int, typer.Option(help="Which made-up market, without --data.")] = 7,
    symbols: Annotated[str | None, typer.Option(help="The made-up market's symbols, with commas between.")] = None,
    port: Annotated[int, typer.Option(help="Where to listen; 0 for any free port.")] = 8900,
    host: Annotated[str, typer.Option(help="On which of this machine's addresses.")] = "127.0.0.1",
    limits: Annotated[bool, typer.Option(help="Refuse who asks for too much, as each exchange does.")] = True,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="What shall go wrong, as name:times@after/route: http_429 (once), html:2 (twice), null:1@3 (on the "
            "4th), reset:5% (one in twenty), http_503:*/time (always, for the time), html:*/* (always, for anything)."
        ),
    ] = None,
    latency_ms: Annotated[float, typer.Option(help="Hold each answer back for so long.")] = 0.0,
) -> None:
    """Serve recorded candles or a made-up market as Binance, Coinbase and Kraken do, for a dry run before going live.

    All three answer at one address. Point Chandler at it, for BINANCE, COINBASE, KRAKEN, with
    [bold]CHANDLER_EXCHANGES__<NAME>__BASE_URL=http://127.0.0.1:8900[/bold], and at Binance's archives with
    [bold]CHANDLER_EXCHANGES__BINANCE__BULK_URL=http://127.0.0.1:8900/data[/bold].

    Example: [bold]chandler replay --fault http_500:3[/bold]
    """
    from etl.replay import FaultPlan, ReplayServer

    market = _market(data, exchange, seed, symbols)
    faults = FaultPlan.parse(fault or [])
    server = ReplayServer(market, port=port, host=host, limits=limits, faults=faults, latency_ms=latency_ms)
    server.run_forever(
        on_ready=lambda url: err.print(f"Serving {counted(len(market.symbols), 'symbol')} at {url} until Ctrl-C.")
    )


def _market(data: Path | None, exchange: str, seed: int, symbols: str | None) -> Market:
    from etl.replay import DEFAULT_SYMBOLS, MadeUpMarket, RecordedMarket

    if data is not None:
        return RecordedMarket(data, exchange)
    return MadeUpMarket(seed, symbols.split(",") if symbols else DEFAULT_SYMBOLS)
