"""A file of candles as tables and JSON: how it would be read, and what became of its lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from etl.exchanges import FILE_LAYOUT
from etl.show.parts import new_table, to_iso, to_minute, to_text
from etl.spelling import counted
from etl.timeframe import from_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from etl.extract import CandleFile, FileRows
    from etl.importing import FileAccount, Preview
    from etl.schema import AbsenceKind
    from etl.warehouse import Absence

_VALUES = ("open", "high", "low", "close", "volume")


def mapping_table(file: CandleFile) -> Table:
    """Return which column of the file is which of ours."""
    table = new_table("column", "read from")
    for column, source in _mapping(file).items():
        table.add_row(column, to_text(source))
    return table


def preview_table(rows: FileRows) -> Table:
    """Return rows as they would be read, those that cannot be read with the reason."""
    given = [name for name in FILE_LAYOUT.columns if name in _VALUES or any(_value(row, name) for row in rows.rows)]
    table = new_table("open time", *(name for name in given if name != "open_time"), "note")
    for place, row in enumerate(rows.rows):
        opened = to_minute(from_ms(row[0])) if isinstance(row[0], int) else ""
        values = [str(_value(row, name) or "") for name in given if name != "open_time"]
        table.add_row(opened, *map(to_text, values), to_text(rows.reasons.get(place, "")))
    return table


def file_lines(file: CandleFile) -> Iterator[str]:
    """Yield what was found out about a file."""
    lines = _lines(file)
    parts = [
        f"{lines['header']} of names" if lines["header"] else "none of names",
        f"{lines['remarks']} of remarks",
        f"{file.blank:,} blank",
        counted(file.rows, "row"),
    ]
    # Of a format without lines nothing else is worth a word that it does not have.
    others = file.has_lines or lines["lines"] != file.rows
    yield f"{file.format}, {counted(lines['lines'], file.numbered)}" + (f": {', '.join(parts)}" if others else "")
    if file.columns.layout is not None:
        yield f"no line names columns; the rows have the layout of {file.columns.layout}"
    if file.columns.decimal_mark == ",":
        yield "numbers have decimal commas"
    if file.times.order is not None:
        yield f"dates are {file.times.order}"
    if file.times.naive:
        yield f"times without a zone are {'UTC' if file.times.zone is None else file.times.zone.key}"
    if file.open_slots:
        told = counted(file.open_slots, "candle")
        yield f"rows without a time may be of any of {told}: the file says nothing of these, and they are not requested"
    yield from file.remarks


def _lines(file: CandleFile) -> dict[str, int]:
    """Return how many lines a file has, by what they are; names of a format without lines are no line."""
    header = len(file.header.lines) if file.has_lines else 0
    lines = file.lines - (0 if file.has_lines else len(file.header.lines))
    facts = {"lines": lines, "header": header, "remarks": len(file.header.remarks)}
    return {**facts, "blank": file.blank, "rows": file.rows}


def silent_line(rows: FileRows) -> str | None:
    """Return how many of the rows say that nothing was traded; None if none does."""
    if not rows.silent:
        return None
    return f"{rows.silent} of these rows {'says' if rows.silent == 1 else 'say'} that nothing was traded"


def refused_line(preview: Preview) -> str:
    """Return how many rows an import would refuse, by rule."""
    if not preview.refused:
        return f"no row of {preview.file.rows:,} would be refused"
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in _by_rule(preview).items())
    return f"{counted(len(preview.refused), 'row')} of {preview.file.rows:,} would be refused ({by_rule})"


def candles_line(preview: Preview) -> str:
    """Return what would become of the candles of the file's ranges."""
    counts = ", ".join(f"{count:,} {fate}" for fate, count in _candles(preview).items())
    return f"{counted(preview.slots, 'candle')} in its range of time: {counts}"


def _candles(preview: Preview) -> dict[str, int]:
    without = preview.slots - preview.stored - preview.refused_slots
    return {"stored": preview.stored, "refused": preview.refused_slots, "without a row": without}


def refused_table(preview: Preview, most: int) -> Table:
    """Return the first rows that an import would refuse, each with its place in the file and the reason."""
    table = new_table(preview.file.numbered, "rule", "reason", "as it stands in the file")
    for one in preview.refused[:most]:
        table.add_row(f"{one.number:,}", one.rule, *map(to_text, (one.reason, one.line)))
    return table


def _by_rule(preview: Preview) -> dict[str, int]:
    return dict(sorted(Counter(one.rule for one in preview.refused).items()))


def preview_json(preview: Preview, most: int) -> dict[str, Any]:
    """Return the same for scripts.

    Args:
        most: How many of the refused rows at most.
    """
    file, rows = preview.file, preview.rows
    read = [
        {"reason": rows.reasons[place], "line": row[-1]}
        | ({"open_time": to_iso(from_ms(row[0]))} if isinstance(row[0], int) else {})
        if place in rows.reasons
        else {"open_time": to_iso(from_ms(row[0]))}
        | {name: _value(row, name) for name in list(FILE_LAYOUT.columns)[1:]}
        for place, row in enumerate(rows.rows)
    ]
    return {
        **file_json(file),
        "columns": _mapping(file),
        "decimal_mark": file.columns.decimal_mark,
        "ranges": [stretch.to_dict() for stretch in file.stretches],
        "first_rows": read,
        "silent": rows.silent,
        "candles": {name.replace(" ", "_"): count for name, count in _candles(preview).items()},
        "refused": {
            "rows": len(preview.refused),
            "by_rule": _by_rule(preview),
            "numbers_count": f"{file.numbered}s",
            "first": [asdict(one) for one in preview.refused[:most]],
        },
    }


def file_json(file: CandleFile) -> dict[str, Any]:
    """Return a file's lines by what they are."""
    return {
        "file": str(file.path),
        "format": file.format,
        **_lines(file),
        "open_slots": file.open_slots,
        "remarks_on_names": list(file.remarks),
    }


def account_line(account: FileAccount) -> str:
    """Return what became of the rows that were imported."""
    others = f"{account.repeated:,} repeated, {account.outside:,} outside, {account.silent:,} without trades"
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in account.refused.items())
    refused = f"{sum(account.refused.values()):,} in quarantine" + (f" ({by_rule})" if by_rule else "")
    return f"{counted(account.rows, 'row')}: {account.accepted:,} accepted, {others}, {refused}"


def account_json(account: FileAccount) -> dict[str, Any]:
    """Return the same for scripts."""
    return asdict(account)


def absent_lines(file: CandleFile, absent: Mapping[AbsenceKind, Sequence[Absence]]) -> Iterator[str]:
    """Yield of what kinds the candles are that the file lacks, each with the evidence of its longest stretch."""
    counts = absent_json(file, absent)
    if not counts:
        return
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    yield f"{counted(sum(counts.values()), 'candle')} absent: {kinds}"
    for kind, (longest, *_) in absent.items():
        told = counted(longest.span.count(file.series.timeframe), "candle")
        yield f"{kind}, the longest of {told} from {to_minute(longest.span.start)}: {longest.evidence}"


def absent_json(file: CandleFile, absent: Mapping[AbsenceKind, Sequence[Absence]]) -> dict[str, int]:
    """Return how many candles are absent, by kind."""
    timeframe = file.series.timeframe
    return {kind.value: sum(one.span.count(timeframe) for one in absences) for kind, absences in absent.items()}


def _mapping(file: CandleFile) -> dict[str, str]:
    columns = file.columns
    mapping = {}
    for column in FILE_LAYOUT.columns:
        if column in columns.places:
            place = columns.places[column]
            mapping[column] = columns.names[place] or f"column {place + 1}"
    if columns.clock_place is not None:
        mapping["open_time"] += f" and {columns.names[columns.clock_place]}"
    return mapping


def _value(row: list[Any], name: str) -> Any:
    return row[FILE_LAYOUT.columns[name]]
