"""Tables on narrow terminals: no figure is cropped, whatever the width."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from etl.audit import SeriesAudit
from etl.quality import COLUMNS, SeriesQuality
from etl.series import Series, TimeRange
from etl.show import audit_table, quality_table, status_table
from etl.show.parts import new_table
from etl.warehouse import Quality, SeriesStatus
from tests.conftest import BTC, REPOSITORY

WIDTHS = (60, 80, 100, 200)
PACKAGES = ("etl", "models", "stack", "plugins")
DAY = datetime(2024, 2, 1, tzinfo=UTC)
COUNTS = {"no_trades": 43_119, "outage": 1_234_567, "halted": 552}

# What a cell may hold at its longest, by its column; anything else holds a figure.
CELLS = {
    "series": "bitstamp:1000SATS/USDT:15m",
    "first and last": "2024-01-01 00:00\n2024-01-31 23:59",
    "absent": "43,119 no_trades, 1,234,567 outage, 552 halted",
    "refused": "12,345 high_below_low",
    "flagged": "98,765 zero_volume_run, 1,000 jump",
    "evidence": "the exchange sent a row that impossible_prices refused; see quarantine",
    "why": "its VUS-PR of 0.912 is not above the champion's 0.934 by more than 0.010",
    "verdict": "problems: 12,345",
    **dict.fromkeys(("watermark", "complete up to", "loaded", "from", "to", "when", "open time"), "2024-01-31 23:59"),
}
FIGURE = "1,234,567.89"


def _tables() -> Iterator[tuple[str, list[str]]]:
    """Yield where the code makes a table, and its headings; those that are known only when it runs as a word each."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "new_table":
                    names = [name for argument in node.args for name in _literals(argument)]
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", names


def _literals(argument: ast.expr) -> list[str]:
    found = [
        part.value for part in ast.walk(argument) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return found or list(COLUMNS)


TABLES = dict(_tables())


def _shown(table: RenderableType, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def _words(texts: Sequence[str]) -> Counter[str]:
    return Counter(word.rstrip(",") for text in texts for word in text.split())


def _assert_whole(table: RenderableType, cells: Sequence[str], width: int) -> None:
    lines = _shown(table, width)
    assert max(map(len, lines)) <= width
    missing = _words(cells) - _words(lines)
    assert not missing, f"cropped at {width}: {missing}\n" + "\n".join(lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("where", TABLES)
def test_no_table_crops_a_cell(where: str, width: int) -> None:
    """Each table that the code makes, with long cells in each of its columns, in three rows."""
    table = new_table(*TABLES[where])
    rows = [[CELLS.get(name, FIGURE) for name in TABLES[where]] for _ in range(3)]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _assert_whole(table, [cell for row in rows for cell in row], width)


@pytest.mark.parametrize("width", WIDTHS)
def test_status_quality_and_audit_show_whole_figures(width: int) -> None:
    """The three that people read most, as they are made, of a series of which all sorts of things are known."""
    span = TimeRange(DAY, DAY + timedelta(days=30))
    status = SeriesStatus(
        *(BTC, span.start, span.end, span.end, span.start, span.end, 43_119_000, 12_345_678),
        *(COUNTS, {"off_grid": 9_999}, {"jump": 7_718}, 1_001, span.end, span.start, None),
    )
    counts = ["43,119,000", "12,345,678", "43,119", "1,234,567", "552", "9,999", "7,718", "1,001", "678.9", str(BTC)]
    _assert_whole(status_table([status], {BTC: 678_900_000}, span.end + timedelta(hours=7)), [*counts, "7 h"], width)
    quality = Quality(1_440_000, 161_762, absent=COUNTS, refused={"off_grid": 9_999}, revisions=7_718)
    report = SeriesQuality(BTC, {"2024-02-01": quality}, quality)
    counts = ["1,440,000", "161,762", "43,119", "1,234,567", "552", "9,999", "7,718"]
    _assert_whole(quality_table([report]), counts, width)
    account = SeriesAudit(BTC, [span], expected=1_440_000, stored=161_762, absent=COUNTS)
    _assert_whole(audit_table([account]), [*counts[:5], "accounted", "for"], width)


@pytest.mark.parametrize("name", sorted({name for names in TABLES.values() for name in names}))
def test_figures_are_aligned_to_the_right(name: str) -> None:
    """A column of figures alone ends where its longest figure does, whatever it is called."""
    table = new_table(name)
    for figure in ("7", "1,234.5", "-31.2 %"):
        table.add_row(figure)
    assert {len(line.rstrip()) for line in _shown(table, 80)[1:]} == {max(len(name), len("1,234.5"))}


def test_a_column_of_zeros_makes_room() -> None:
    """Before rows become blocks, what is 0 in each row is left out, and named below."""
    counts = Quality(1440, 1439, absent={"outage": 1})
    report = SeriesQuality(BTC, {f"2024-02-0{day}": counts for day in range(1, 5)}, counts)
    assert "0 in each row" not in "".join(_shown(quality_table([report]), 200))
    lines = _shown(quality_table([report]), 80)
    assert lines[0].split() == ["series", "when", "expected", "stored", "absent"]
    assert lines[-1] == "0 in each row: refused, flagged, unjudged, revisions"
    assert len(lines) == 7


def test_a_count_stays_with_what_it_counts() -> None:
    """Counts by kind that do not fit into one line take a line each."""
    table = new_table("series", "absent", "stored")
    table.add_row(str(Series.parse("binance:BTC/USDT:1m")), CELLS["absent"], FIGURE)
    assert [line.split()[-2:] for line in _shown(table, 60)[2:]] == [["1,234,567", "outage"], ["552", "halted"]]
    lines = _shown(table, 30)
    assert lines[1].split() == ["absent", "43,119", "no_trades"]
    assert lines[4].split() == ["stored", FIGURE], "and where the columns have no room, each row is a block"


def test_every_table_is_made_by_the_one_builder() -> None:
    """No other module makes a table of the library's own, whose columns may be cropped: it may name the type alone."""
    makers = [
        path.relative_to(REPOSITORY)
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if _makes_tables(ast.parse(path.read_text()))
    ]
    assert makers == [Path("etl/show/parts.py")]


def _makes_tables(module: ast.Module) -> bool:
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom) and node.module == "rich.table"]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    calls = [node.func for node in ast.walk(module) if isinstance(node, ast.Call)]
    return any(isinstance(name, ast.Name) and name.id in names for call in calls for name in ast.walk(call))
