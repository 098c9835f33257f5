"""The `chandler` command: what a person types and reads. Decides nothing; every command calls one function of `etl`.

Heavy imports stand in the commands that need them, so that `--help` is quick.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from etl.errors import ChandlerError, ConfigError
from etl.schema import Series, TimeRange
from etl.settings import Settings, feeds_path, load_settings
from etl.spelling import parse_moment

if TYPE_CHECKING:
    from etl.ingest import Stores
    from etl.replay import Market

app = typer.Typer(
    name="chandler",
    help="Exchange candles into Parquet and PostgreSQL, every one accounted for.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
# Into a file or a pipe, tables are as wide as they need to be.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SomeSeries = Annotated[list[str] | None, typer.Argument(help="exchange:symbol:timeframe, such as binance:BTC/USDT:1m.")]
Start = Annotated[str | None, typer.Option(help="First moment, such as 2024-01-01 (UTC).", show_default=False)]
End = Annotated[str | None, typer.Option(help="End, exclusive, such as 2024-02-01 (UTC).", show_default=False)]


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each step does.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, show_time=verbose, markup=False, highlighter=None)],
    )
    for noisy in ("alembic", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@app.command()
def ingest(
    series: SomeSeries = None,
    feed: Annotated[str | None, typer.Option(help="Every series of this feed.", show_default=False)] = None,
    start: Start = None,
    end: End = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch also what is accounted for already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch, clean and load candles. What is accounted for already is left out, so a run that was cut off goes on.

    Without --end: up to the last candle that has closed. Without --start: from the feed's start.

    Example: [bold]chandler ingest binance:BTC/USDT:1m --start 2024-01-01 --end 2024-02-01[/bold]
    """
    settings = load_settings()
    wanted, settle = _wanted_series(settings, series or [], feed)
    begin = parse_moment(start) if start else settings.feed(feed).start if feed else None
    if begin is None:
        raise ConfigError("say from when: --start 2024-01-01, or --feed, whose start is in feeds.toml")
    finish = parse_moment(end) if end else None
    if finish is not None and finish <= begin:
        raise ConfigError(f"--end {end} is not after the start, {begin:%Y-%m-%d %H:%M}")
    from etl.ingest import open_stores
    from etl.pipeline import Wanted, ingest_all
    from etl.progress import Bars

    run = f"cli {datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    with open_stores(settings) as stores, Bars(wanted, err) as bars:
        ingest_all(stores, Wanted(wanted, begin, finish, None if again else settle, run), bars)
    outcome = bars.outcome
    if as_json:
        out.print_json(data=outcome.to_json())
    elif not outcome.loads and not outcome.failures:
        err.print("Everything in that range is accounted for already; --again fetches it once more.")
    elif outcome.loads:
        out.print(outcome.to_table())
    for failure in outcome.failures:
        _complain(failure)
    if outcome.failures:
        raise typer.Exit(1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show, for each series: first, last, watermark, candles, absent by kind, quarantined, last load.

    Example: [bold]chandler status --json[/bold]
    """
    from etl import show
    from etl.warehouse import read_status

    with _stores() as stores:
        with stores.warehouse.begin() as connection:
            rows = read_status(connection)
        sizes = {row.series: sum(file.size_bytes for file in stores.archive.files(row.series)) for row in rows}
    if as_json:
        out.print_json(data=show.status_json(rows, sizes))
    elif rows:
        out.print(show.status_table(rows, sizes))
    else:
        err.print("Nothing is loaded yet; try: chandler ingest --help")


@app.command()
def audit(series: SomeSeries = None, start: Start = None, end: End = None, as_json: AsJson = False) -> None:
    """Prove that every candle is accounted for, and that archive and warehouse agree value for value.

    Exit status 1, and the ranges and what mends them, if not.

    Example: [bold]chandler audit binance:BTC/USDT:1m[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = None
    if start or end:
        within = TimeRange(
            parse_moment(start) if start else datetime(1970, 1, 1, tzinfo=UTC),
            parse_moment(end) if end else datetime(9000, 1, 1, tzinfo=UTC),
        )
    from etl import show
    from etl.audit import audit as run_audit
    from etl.audit import is_sound

    with _stores() as stores:
        audits = run_audit(stores, only, within)
    if missing := sorted({str(one) for one in only} - {str(one.series) for one in audits}):
        raise ConfigError(f"never loaded: {', '.join(missing)}; see chandler status")
    if as_json:
        out.print_json(data=show.audit_json(audits))
    else:
        out.print(show.audit_table(audits))
        for line in show.audit_problems(audits):
            err.print(line, soft_wrap=True)
    if not is_sound(audits):
        raise typer.Exit(1)


@app.command()
def feeds(
    check: Annotated[bool, typer.Option("--check", help="Ask each exchange whether it lists the symbols.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is configured, and with --check what the exchanges say to it.

    Example: [bold]chandler feeds --check[/bold]
    """
    from etl import show

    settings = load_settings()
    findings = {}
    if check:
        from etl.plan import check_feed

        findings = {name: check_feed(settings, feed) for name, feed in settings.feeds.items()}
    if as_json:
        out.print_json(data=show.feeds_json(settings, findings))
    elif not settings.feeds:
        err.print(f"No feeds in {feeds_path()}; add a table such as [feeds.majors].", markup=False)
    else:
        out.print(show.feeds_table(settings, findings))
    for problem in [problem for found in findings.values() for problem in found]:
        _complain(problem)
    if any(findings.values()):
        raise typer.Exit(1)


@app.command()
def exchanges(
    name: Annotated[str | None, typer.Argument(help="One of them.", show_default=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask the exchange whether it does so.")] = False,
    symbol: Annotated[
        str | None, typer.Option(help="Whose candles to ask for, such as BTC/USD.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each exchange does in its own way, and with --check whether one really does.

    Exit status 1 if it does something else than the table says.

    Example: [bold]chandler exchanges kraken --check[/bold]
    """
    from etl import show
    from etl.venues import Verdict, check_exchange, known_exchanges

    settings = load_settings()
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


@app.command()
def replay(
    data: Annotated[
        Path | None, typer.Option(help="A folder of recorded Parquet: <exchange>/<SYMBOL>/<timeframe>.parquet.")
    ] = None,
    exchange: Annotated[str, typer.Option(help="Whose recordings in --data to serve.")] = "binance",
    seed: Annotated[int, typer.Option(help="Which made-up market, without --data.")] = 7,
    symbols: Annotated[str | None, typer.Option(help="The made-up market's symbols, with commas between.")] = None,
    port: Annotated[int, typer.Option(help="Where to listen on 127.0.0.1; 0 for any free port.")] = 8900,
    limits: Annotated[bool, typer.Option(help="Refuse who asks for too much, as each exchange does.")] = True,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="What shall go wrong, as name:times@after/route: http_429 (once), html:2 (twice), null:1@3 (on the "
            "4th), reset:5% (one in twenty), http_503:*/time (always, for the time)."
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
    server = ReplayServer(market, port=port, limits=limits, faults=faults, latency_ms=latency_ms)
    server.run_forever(on_ready=lambda url: err.print(f"Serving {len(market.symbols)} symbols at {url} until Ctrl-C."))


def _market(data: Path | None, exchange: str, seed: int, symbols: str | None) -> Market:
    from etl.replay import DEFAULT_SYMBOLS, MadeUpMarket, RecordedMarket

    if data is not None:
        return RecordedMarket(data, exchange)
    return MadeUpMarket(seed, symbols.split(",") if symbols else DEFAULT_SYMBOLS)


def _wanted_series(settings: Settings, texts: Sequence[str], feed: str | None) -> tuple[list[Series], timedelta]:
    if bool(texts) == bool(feed):
        raise ConfigError("name either series, such as binance:BTC/USDT:1m, or a feed: --feed majors")
    if feed:
        return list(settings.feed(feed).series), settings.feed(feed).settle
    wanted = [Series.parse(text) for text in texts]
    for one in wanted:
        settings.check_series(one)
    return wanted, timedelta(0)


@contextmanager
def _stores() -> Iterator[Stores]:
    from etl.ingest import open_stores

    with open_stores(load_settings()) as stores:
        yield stores


def _complain(problem: object) -> None:
    # As it is: what stands in brackets is a range or a table of feeds.toml, and no markup.
    err.print(Text(str(problem), style="red"), soft_wrap=True)


def main() -> None:
    """Run the command; errors that are ours are one line, and their kind is the exit status."""
    try:
        app()
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except ChandlerError as error:
        _complain(error)
        sys.exit(1)
