"""The command that loads candles out of a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.terminal import AsJson, complain, err, opened_stores, out, read_settings, run_name
from etl.errors import ChandlerError, QuarantineLimitError
from etl.homes import Creates
from etl.series import Series, check_is_loadable
from etl.spelling import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

    from etl.importing import Import, Imported
    from etl.schema import AbsenceKind
    from etl.warehouse import Absence

_PREVIEWED = 8  # rows
_REFUSED = 5  # rows that a preview shows of those that would be refused


def import_candles(
    file: Annotated[
        Path,
        typer.Argument(
            help="A .csv, .tsv, .txt, .json, .jsonl, .parquet or .feather file; text formats also as .gz or .zip.",
            show_default=False,
        ),
    ],
    series: Annotated[
        str, typer.Argument(help="Whose candles they are, such as binance:BTC/USDT:1h.", show_default=False)
    ],
    zone: Annotated[
        str | None,
        typer.Option(help="Time zone of times that say none, such as Europe/Berlin; else UTC.", show_default=False),
    ] = None,
    is_preview: Annotated[
        bool, typer.Option("--preview", help="Show how the file would be read, and load nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load candles out of a file: every line is stored, absent, or in quarantine with its reason.

    Columns are known by their names (unix, open_time, timestamp or date; open, high, low, close; volume or Volume BTC;
    Volume USDT, trades), times in seconds or smaller are told by their size, dates by their form. Without a header:
    ccxt's six columns, Kraken's OHLCVT files, MetaTrader's, and Binance's archives. Of two rows for one candle the
    later counts.

    An import that was cut off goes on when it is begun again. The file stays as it is.

    Example: [bold]chandler import Binance_ETHUSDT_1h.csv.gz binance:ETH/USDT:1h[/bold]
    """
    from etl.extract.files.times import to_zone

    whose, its_zone = Series.parse(series), None if zone is None else to_zone(zone)
    check_is_loadable(whose.symbol)
    if is_preview:
        _preview(file, whose, its_zone, as_json)
    else:
        _import(file, whose, its_zone, as_json)


def _preview(path: Path, series: Series, zone: ZoneInfo | None, as_json: bool) -> None:
    from etl.importing import preview
    from etl.show.importing import (
        candles_line,
        file_lines,
        mapping_table,
        preview_json,
        preview_table,
        refused_line,
        refused_table,
        silent_line,
    )

    previewed = preview(path, series, zone, read_settings(), _PREVIEWED)
    file, rows = previewed.file, previewed.rows
    if as_json:
        out.print_json(data=preview_json(previewed, _REFUSED))
        return
    for line in file_lines(file):
        out.print(line, markup=False)
    out.print(mapping_table(file))
    out.print(preview_table(rows))
    shown = min(_PREVIEWED, file.rows)
    out.print(f"row{'' if shown == 1 else 's 1 to'} {shown} of {file.rows:,}", markup=False)
    if (silent := silent_line(rows)) is not None:
        out.print(silent)
    out.print(candles_line(previewed), markup=False)
    out.print(refused_line(previewed), markup=False)
    if previewed.refused:
        out.print(refused_table(previewed, _REFUSED))
    if (more := len(previewed.refused) - _REFUSED) > 0:
        out.print(f"... and {more:,} more")


def _import(path: Path, series: Series, zone: ZoneInfo | None, as_json: bool) -> None:
    from rich.progress import track

    from etl.accounting import account_for_loads
    from etl.importing import absent_kinds, plan_import, run_import

    with opened_stores(Creates.UNLESS_LOST) as stores:
        with err.status(f"looking through {path.name}"):
            planned = plan_import(stores, path, series, zone)
        steps = run_import(stores, planned)
        imported: list[Imported] = []
        failures: list[ChandlerError] = []
        try:
            for one in track(steps, description=str(series), total=len(planned.left), console=err, transient=True):
                imported.append(one)
        except QuarantineLimitError as error:
            failures.append(error)  # what is sound is stored all the same
        judged = account_for_loads(stores, series.exchange, run_name())
        absent = absent_kinds(stores, planned)
    if (failure := judged.failures.get(series)) is not None:
        failures.append(failure)
    _show(planned, imported, absent, as_json)
    for each in failures:
        complain(each)
    if failures:
        raise typer.Exit(1)


def _show(
    planned: Import, imported: Sequence[Imported], absent: Mapping[AbsenceKind, Sequence[Absence]], as_json: bool
) -> None:
    from etl.importing import account
    from etl.progress import Outcome
    from etl.show.importing import absent_lines, account_line, file_lines

    if as_json:
        out.print_json(data=_to_json(planned, imported, absent))
        return
    if imported:
        out.print(Outcome([(one.partition, one.loaded) for one in imported]).to_table())
        for line in (*file_lines(planned.file), account_line(account(imported)), *absent_lines(planned.file, absent)):
            err.print(line, markup=False)
    if before := len(planned.partitions) - len(planned.left):
        said = f"{before} of {counted(len(planned.partitions), 'partition')} imported from this file before"
        err.print(f"{said}. To import them again, for example after another file revised them, rename the file.")


def _to_json(
    planned: Import, imported: Sequence[Imported], absent: Mapping[AbsenceKind, Sequence[Absence]]
) -> dict[str, object]:
    from etl.importing import account
    from etl.show.importing import absent_json, account_json, file_json

    return {
        **file_json(planned.file),
        "run": planned.run,
        "imported_before": len(planned.partitions) - len(planned.left),
        "account": account_json(account(imported)),
        "absent": absent_json(planned.file, absent),
        "loads": [{**one.partition.to_dict(), **asdict(one.loaded)} for one in imported],
    }
