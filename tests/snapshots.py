"""Content of the stores, without what differs between two runs that did the same: times of writing and run names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import text

from etl.stores import Stores
from etl.warehouse import covered_ranges, known_series, tables

# By the series' name: its number may be another after a load that was rolled back.
_QUERIES = {
    "candles": "SELECT symbol, open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,"
    " taker_buy_quote_volume, flags, source FROM candles JOIN series ON series_id = id ORDER BY symbol, open_time",
    "revisions": "SELECT symbol, open_time, revision, open, high, low, close, volume"
    " FROM candle_revisions JOIN series ON series_id = id ORDER BY 1, 2, 3",
    "absences": "SELECT symbol, lower(span), upper(span), kind, evidence"
    " FROM absences JOIN series ON series_id = id ORDER BY 1, 2",
    "quarantine": "SELECT symbol, open_time, rule, evidence, row"
    " FROM quarantine JOIN series ON series_id = series.id ORDER BY 1, 2, 3, 5",
    "quality": "SELECT symbol, day, expected, stored, absent, refused, flagged, revisions"
    " FROM quality JOIN series ON series_id = id ORDER BY 1, 2",
    "checkpoints": "SELECT symbol, range_start, range_end, rows, absent, quarantined, value_hash, archive_files"
    " FROM checkpoints JOIN series ON series_id = id ORDER BY 1, 2, 3",
}


def tables_of(stores: Stores) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table's rows."""
    with stores.warehouse.begin() as connection:
        return {name: [tuple(row) for row in connection.execute(text(query))] for name, query in _QUERIES.items()}


def account_of(stores: Stores) -> dict[str, Any]:
    """Return the account of each series, whatever the ranges that it was loaded in."""
    held = tables_of(stores)
    with stores.warehouse.begin() as connection:
        covered = {series: covered_ranges(connection, one) for series, one in known_series(connection).items()}
    return {
        "candles": held["candles"],
        "absences": held["absences"],
        "quality": [(*counts, flagged) for *counts, _, flagged, _ in held["quality"]],
        "covered": covered,
    }


def lose_warehouse(stores: Stores) -> None:
    """Empty every table, as if the warehouse were lost and made new."""
    with stores.warehouse.begin() as connection:
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def archive_of(stores: Stores) -> dict[str, bytes]:
    """Return every file of the archive, leftovers included."""
    root = Path(stores.settings.home) / "archive"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what only one of two accounts has, by its part: of lists the rows."""
    return {
        name: (
            ([row for row in one[name] if row not in other[name]], [row for row in other[name] if row not in one[name]])
            if isinstance(one[name], list)
            else (one[name], other[name])
        )
        for name in one
        if one[name] != other[name]
    }
