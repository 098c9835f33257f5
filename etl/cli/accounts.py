"""Commands that give account of what is held."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from etl.cli.rebuilding import tell_lost
from etl.cli.terminal import (
    AsJson,
    End,
    SomeSeries,
    Start,
    check_known,
    err,
    opened_stores,
    out,
    stores_to_read,
    tell_nothing_loaded,
    to_range,
    warn,
)
from etl.series import Series


def status(as_json: AsJson = False) -> None:
    """Show each series: how far it reaches, how fresh it is, what it holds, and what is absent, refused or flagged.

    [bold]loaded[/bold] is when a load of the series was committed for the last time, [bold]behind[/bold] how long ago
    the last accounted-for range ended; [bold]complete up to[/bold] is where the first gap between accounted-for ranges
    begins, or the end of the last one.

    Example: [bold]chandler status --json[/bold]
    """
    from etl import show
    from etl.warehouse import read_status

    with stores_to_read() as stores:
        with stores.warehouse.begin() as connection:
            rows = read_status(connection)
        now = datetime.now(UTC)
        unused = stores.settings.unused_splits(row.series for row in rows)
        sizes = {row.series: sum(file.size_bytes for file in stores.archive.files(row.series)) for row in rows}
    if as_json:
        out.print_json(data=show.status_json(rows, sizes, now))
    elif rows:
        out.print(show.status_table(rows, sizes, now))
    else:
        tell_nothing_loaded(stores.settings)
    warn(unused)


def audit(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend from whichever store is intact, and audit again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that every candle is accounted for, and that archive and warehouse agree value for value and flag for flag.

    Exit status 1, and the ranges and what mends them, if not.

    Example: [bold]chandler audit binance:BTC/USDT:1m --fix[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl import show
    from etl.audit import audit as run_audit
    from etl.audit import is_sound, mend

    with opened_stores() if fix else stores_to_read() as stores:
        audits = run_audit(stores, only, within)
        check_known(only, (one.series for one in audits), stores.archive.series())
        if fix:
            audits = mend(stores, audits, within)
    if as_json:
        out.print_json(data=show.audit_json(audits))
    else:
        out.print(show.audit_table(audits))
        for line in (*show.audit_mended(audits), *show.audit_problems(audits), *show.audit_remarks(audits)):
            err.print(line, soft_wrap=True)
    if any(one.is_rebuilt for one in audits):
        tell_lost()
    if not is_sound(audits):
        raise typer.Exit(1)
