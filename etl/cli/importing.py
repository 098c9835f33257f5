"""The command that loads candles out of a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.terminal import AsJson, complain, err, opened_stores, out, run_name
from etl.errors import ChandlerError, QuarantineLimitError
from etl.series import Series, check_is_loadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.importing import Import, Imported


def import_candles(
    file: Annotated[Path, typer.Argument(help="A .csv, .csv.gz or .parquet file.", show_default=False)],
    series: Annotated[
        str, typer.Argument(help="Whose candles they are, such as binance:BTC/USDT:1h.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Load candles out of a file: every line is stored, or in quarantine with its reason.

    Columns are known by their names (unix, open_time, timestamp or date; open, high, low, close; volume or Volume BTC;
    Volume USDT, trades), times in seconds or smaller are told by their size. Without a header: Kraken's OHLCVT files,
    and Binance's archives. Of two rows for one candle the later counts.

    An import that was cut off goes on when it is begun again. The file stays as it is.

    Example: [bold]chandler import Binance_ETHUSDT_1h.csv.gz binance:ETH/USDT:1h[/bold]
    """
    whose = Series.parse(series)
    check_is_loadable(whose.symbol)
    from rich.progress import track

    from etl.accounting import account_for_loads
    from etl.importing import plan_import, run_import
    from etl.progress import Outcome

    with opened_stores(creates=True) as stores:
        with err.status(f"looking through {file.name}"):
            planned = plan_import(stores, file, whose)
        steps = run_import(stores, planned)
        imported: list[Imported] = []
        failures: list[ChandlerError] = []
        try:
            for one in track(steps, description=str(whose), total=len(planned.left), console=err, transient=True):
                imported.append(one)
        except QuarantineLimitError as error:
            failures.append(error)  # what is sound is stored all the same
        judged = account_for_loads(stores, whose.exchange, run_name())
    before = len(planned.partitions) - len(planned.left)
    if as_json:
        out.print_json(data=_to_json(planned, imported))
    elif imported:
        out.print(Outcome([(one.partition, one.loaded) for one in imported]).to_table())
        err.print(_account(imported))
    if before and not as_json:
        err.print(f"{before} of {len(planned.partitions)} partitions were imported from this file before.")
    if (failure := judged.failures.get(whose)) is not None:
        failures.append(failure)
    for each in failures:
        complain(each)
    if failures:
        raise typer.Exit(1)


def _account(imported: Sequence[Imported]) -> str:
    from etl.importing import account

    report = account(imported)
    others = f"{report.repeated:,} repeated, {report.outside:,} outside"
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in report.refused.items())
    refused = f"{sum(report.refused.values()):,} in quarantine" + (f" ({by_rule})" if by_rule else "")
    return f"{report.rows:,} rows: {report.accepted:,} accepted, {others}, {refused}"


def _to_json(planned: Import, imported: Sequence[Imported]) -> dict[str, object]:
    from etl.importing import account

    return {
        "file": str(planned.file.path),
        "run": planned.run,
        "rows": planned.file.rows,
        "imported_before": len(planned.partitions) - len(planned.left),
        "account": asdict(account(imported)),
        "loads": [{**one.partition.to_dict(), **asdict(one.loaded)} for one in imported],
    }
