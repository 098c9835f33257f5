"""Parts of tables, in which no figure is ever cropped."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Row, Table
from rich.text import Text

# Columns that are not worth reading when broken into lines.
_WHOLE = frozenset(
    {
        *("series", "first and last", "exchange", "looked at", "verdict"),
        *("model", "scorer", "since", "peak", "kind", "scope", "severity", "once in", "acknowledged", "and it", "sent"),
        *("when", "id", "open time", "rule", "flags", "state", "refused at", "replaced at"),
    }
)
_NUMBERS = frozenset(
    {
        *("candles", "expected", "stored", "absent", "refused", "flagged", "revised", "archive", "candles a page"),
        *("id", "revisions", "open", "high", "low", "close", "volume", "trades", "move", "share", "score", "threshold"),
        *("anomalies", "tries", "new", "rows", "quarantined", "ranges", "files", "waiting", "dead", "changed"),
        *("unjudged", "MB"),
    }
)
_FIGURE = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( ?(%|[kMG]?B))?")
_GAP = 2  # blanks between columns
_ENDLESS = 100_000  # columns of a terminal


class WholeTable(Table):
    """A table of which every word is shown whole: where its columns have no room, each row becomes a block of lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or its rows as blocks."""
        columns, left_out = self.columns, list[Column]()
        sizes = [_size_of(console, options, column) for column in columns]
        widths = _fit(sizes, options.max_width - _GAP * len(sizes))
        if widths is None:
            columns, left_out = [one for one in columns if not _says_nothing(one)], [*filter(_says_nothing, columns)]
            sizes = [_size_of(console, options, column) for column in columns]
            widths = _fit(sizes, options.max_width - _GAP * len(sizes))
        if widths is None:
            yield from self._blocks()
            return
        shown = Table(box=None, pad_edge=False, title=self.title, title_justify="left")
        for column, width in zip(columns, widths, strict=True):
            shown.add_column(
                column.header, justify=_justify(column), overflow="fold", no_wrap=column.no_wrap, width=width
            )
        for row, cells in self._rows(columns):
            shown.add_row(
                *(
                    _at_commas(cell) if _has_counts(column) and width < size.maximum else cell
                    for column, size, width, cell in zip(columns, sizes, widths, cells, strict=True)
                ),
                style=row.style,
            )
        yield shown
        if zeros := [str(one.header) for one in left_out if "0" in map(str, one.cells)]:
            yield Text(f"0 in each row: {', '.join(zeros)}", style="dim")

    def _blocks(self) -> RenderResult:
        if self.title:
            yield Text(str(self.title), style="italic")
        for number, (row, cells) in enumerate(self._rows(self.columns)):
            if number:
                yield Text()
            block = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"), padding=(0, _GAP, 0, 0))
            for column, cell in zip(self.columns, cells, strict=True):
                if str(cell):
                    block.add_row(column.header, _at_commas(cell) if _has_counts(column) else cell, style=row.style)
            yield block

    def _rows(self, columns: Sequence[Column]) -> Iterator[tuple[Row, tuple[RenderableType, ...]]]:
        yield from zip(self.rows, zip(*(column.cells for column in columns), strict=True), strict=True)


def new_table(*names: str, title: object = None) -> Table:
    """Return a table of columns that are aligned by what stands in them."""
    table = WholeTable(box=None, pad_edge=False, title=None if title is None else str(title), title_justify="left")
    for name in names:
        justify: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in _WHOLE | _NUMBERS)
    return table


def to_minute(moment: datetime | None) -> str:
    """Return a moment for people; nothing for none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def to_age(age: timedelta | None) -> str:
    """Return a duration in its two largest units, such as `3 h 5 min` or `12 d`; nothing for none."""
    if age is None:
        return ""
    minutes = round(age.total_seconds() / 60)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    first = next((place for place, (count, _) in enumerate(parts) if count), None)
    if first is None:
        return "0 min"
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def to_iso(moment: datetime | None) -> str | None:
    """Return a moment for scripts."""
    return None if moment is None else moment.isoformat()


def to_text(value: str) -> Text:
    """Return what others wrote, as it is: no markup, and nothing that a terminal would obey."""
    return Text("".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in value))


def _says_nothing(column: Column) -> bool:
    """Return whether there is nothing, or 0, in each row of a column."""
    cells = list(map(str, column.cells))
    return bool(cells) and set(cells) <= {"0", ""}


def _justify(column: Column) -> JustifyMethod:
    """Return how a column is aligned: to the right if there is nothing but figures in it, whatever its name."""
    cells = [cell for cell in map(str, column.cells) if cell]
    return "right" if cells and all(map(_FIGURE.fullmatch, cells)) else column.justify


def _has_counts(column: Column) -> bool:
    return column.justify == "right"


def _size_of(console: Console, options: ConsoleOptions, column: Column) -> Measurement:
    """Return how narrow a column may be for its words to stay whole, and how wide it would be."""
    free = options.update(width=_ENDLESS)
    sizes = [Measurement.get(console, free, cell) for cell in (column.header, *column.cells)]
    most = max(size.maximum for size in sizes)
    if not column.no_wrap:
        return Measurement(max(size.minimum for size in sizes), most)
    if not _has_counts(column):
        return Measurement(most, most)
    lines = (Measurement.get(console, free, cell) for cell in (column.header, *map(_at_commas, column.cells)))
    return Measurement(max(line.maximum for line in lines), most)


def _at_commas(cell: RenderableType) -> RenderableType:
    """Return `120 outage, 3 refused` as a line each: a count stays with what it counts."""
    if isinstance(cell, Text):
        return Text("\n").join(cell.split(", "))
    return cell.replace(", ", "\n") if isinstance(cell, str) else cell


def _fit(sizes: Sequence[Measurement], room: int) -> list[int] | None:
    """Return a width for each column, the widest narrowed first; None if there is too little room for their words."""

    def capped(cap: int) -> list[int]:
        return [max(size.minimum, min(size.maximum, cap)) for size in sizes]

    caps = range(max((size.maximum for size in sizes), default=0) + 1)
    fitting = bisect_right(caps, room, key=lambda cap: sum(capped(cap)))
    return capped(caps[fitting - 1]) if fitting else None
