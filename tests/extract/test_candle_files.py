"""Files of candles as people have them: what is recognised, that no line is lost, and that no file can do harm."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.errors import ConfigError
from etl.exchanges import FILE_LAYOUT
from etl.extract import CandleFile, look_through
from etl.extract.files.columns import find_columns
from etl.extract.files.page_rows import FileRows, file_rows, to_body, to_stamped
from etl.series import Series, TimeRange
from etl.timeframe import to_ms

ETH = Series.parse("binance:ETH/USDT:1h")
START = datetime(2024, 2, 29, 12, tzinfo=UTC)
START_MS = to_ms(START)
HOUR_MS = 3_600_000
LATER_MS = START_MS + 1000 * HOUR_MS
S = START_MS // 1000

HEADER = "open_time,open,high,low,close,volume"
TWO = [
    [START_MS, "1.5", "2", "1", "1.25", "10"],
    [START_MS + HOUR_MS, "1.25", "2.5", "1.2", "2", "0"],
]


def written(path: Path, content: str | bytes, at_ms: int = LATER_MS) -> Path:
    """Write a file that was last changed at a given time; one named `.gz` is packed."""
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    os.utime(path, (at_ms / 1000, at_ms / 1000))
    return path


def rows_of(file: CandleFile) -> list[list[Any]]:
    """Return all rows of a file, stretch by stretch."""
    return [row for page in file.pages(file.stretches, range(len(file.stretches))) for row in page.rows()]


def page_of(header: str, *lines: str) -> FileRows:
    """Return the rows of a page of lines that open one hour after the other."""
    columns, _ = find_columns([header, *lines], ETH)
    stamped = [to_stamped(line, START_MS + hour * HOUR_MS) for hour, line in enumerate(lines)]
    return file_rows(to_body(columns, stamped), ETH)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", f"{HEADER}\n{START_MS},1.5,2,1,1.25,10\n{START_MS + HOUR_MS},1.25,2.5,1.2,2,0\n"),
        ("packed.csv.gz", f"{HEADER}\n{START_MS},1.5,2,1,1.25,10\n{START_MS + HOUR_MS},1.25,2.5,1.2,2,0"),
        (
            "site.csv",
            "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume ETH\n"
            f"{S},2024-02-29,ETH/USDT,1.5,2,1,1.25,10\n{S + 3600}.0,?,ETHUSDT,1.25,2.5,1.2,2,0\n",
        ),
        (
            "mixed.csv",
            "Times are UTC,really\nUnix Timestamp,Open,High,Low,Close,Volume ETH\r\n"
            f"{START_MS}000,1.5,2,1,1.25,10\r\n\r\n{START_MS + HOUR_MS}.0,1.25,2.5,1.2,2,0\r\n",
        ),
        (
            "index.csv",
            ",close,low,high,open,volume\n2024-02-29 12:00:00+00:00,1.25,1,2,1.5,10\n"
            "2024-02-29T13:00:00Z,2,1.2,2.5,1.25,0\n",
        ),
        (
            "clock.csv",
            "\ufeffDate;Open;High;Low;Close;Vol\n2024-02-29 12-PM;1.5;2;1;1.25;10\n"
            "2024-02-29 01-PM; 1.25;2.5;1.2;2;0\n",
        ),
        (
            "quoted.csv",
            f'"Time","Open","High","Low","Close","Volume","note, long"\n'
            f'"{S}","1.5","2","1","1.25","10","a, b"\n{S + 3600},1.25,2.5,1.2,2,0,\n',
        ),
        ("nano.csv", f"{HEADER}\n{START_MS}000000,1.5,2,1,1.25,10\n{START_MS + HOUR_MS}000000,1.25,2.5,1.2,2,0\n"),
    ],
)
def test_what_people_have_is_recognised(name: str, content: str, tmp_path: Path) -> None:
    """Columns by their names in any order and case, times in any unit, remarks before the header: the same candles."""
    file = look_through(written(tmp_path / name, content), ETH)
    assert file.rows == 2
    assert file.stretches == (TimeRange.from_ms(START_MS, START_MS + 2 * HOUR_MS),)
    assert [row[:6] for row in rows_of(file)] == TWO
    assert {row[-1] for row in rows_of(file)} <= set(content.replace("\ufeff", "").replace("\r", "").split("\n"))


def test_files_without_a_header_are_known_by_their_width(tmp_path: Path) -> None:
    """Kraken's OHLCVT files and Binance's archives say their columns by how many there are."""
    kraken = look_through(written(tmp_path / "XBTUSD_60.csv", f"{S},1.5,2,1,1.25,10,7\n"), ETH)
    assert rows_of(kraken)[0][:8] == [*TWO[0], None, 7]
    text = f"{START_MS}000,1.5,2,1,1.25,10,{START_MS + HOUR_MS - 1}999,12.5,7,4,5.5,0\n"
    assert rows_of(look_through(written(tmp_path / "ETHUSDT-1h.csv", text), ETH))[0][:10] == [
        *(*TWO[0], "12.5", 7),
        *("4", "5.5"),
    ]


def test_what_a_file_does_not_give_is_none() -> None:
    """NULL and its likes are no values; counts that pandas made floats of are counts again."""
    lines = f"{S},1.5,2,1,1.25,10,NULL,7.0", f"{S},1.5,2,1,,10,nan, 8 "
    first, second = page_of(f"{HEADER},Volume USDT,tradecount", *lines).rows
    assert first[6:10] == [None, 7, None, None]
    assert second[4:8] == [None, "10", None, 8]


@pytest.mark.parametrize("kind", ["ms", "us", "ns", "naive", "date", "integer", "text"])
def test_parquet_is_read_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    """Whatever type its moments have, floats come out as they went in, and what is no column of ours is left out."""
    numbers = [0.1 + 0.2, 1e-7, 123456789.12345678]
    days = [datetime(2024, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    types = {"naive": pa.timestamp("us"), "date": pa.date32(), "integer": pa.int64(), "text": pa.string()}
    texts = {"integer": list(map(to_ms, days)), "text": [f"{day:%Y-%m-%d}" for day in days]}
    table = {
        "Timestamp": pa.array(texts.get(kind, days), types.get(kind) or pa.timestamp(kind, "UTC")),
        **{name: pa.array(numbers) for name in ("open", "high", "low", "close", "volume")},
        "levels": pa.array([[1], [2], [3]]),
        "picture": pa.array([b"\x00", b"\n", b","]),
    }
    path = tmp_path / "candles.parquet"
    pq.write_table(pa.table(table), path)
    rows = rows_of(look_through(path, Series.parse("binance:ETH/USDT:1d")))
    assert [row[0] for row in rows] == list(map(to_ms, days))
    assert [[float(cell) for cell in row[1:6]] for row in rows] == [[number] * 5 for number in numbers]


def test_volumes_that_stand_the_other_way_round_are_put_right(caplog: pytest.LogCaptureFixture) -> None:
    """The header names the volumes wrongly if quote over base is no price and base over quote is; and it is said."""
    header = "unix,open,high,low,close,Volume ETH,Volume USDT"
    right, wrong, near_one = f"{S},2000,2100,1900,2000,3,6000", f"{S},2000,2100,1900,2000,6000,3.01", f"{S},1,2,1,1,3,6"
    rows = page_of(header, right, wrong, near_one).rows
    assert [row[5:7] for row in rows] == [["3", "6000"], ["3.01", "6000"], ["3", "6"]]
    assert rows[1][-1] == wrong, "the line is kept as it stands"
    assert "in 1 of 3 rows the volumes in ETH and USDT stand the other way round" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        *("-5,1.5,2,1,1.25,10", "soon,1.5,2,1,1.25,10", "1e300,1.5,2,1,1.25,10", "7,1.5,2,1,1.25,10"),
        *(f"{'9' * 400},1.5,2,1,1.25,10", f"{LATER_MS + 1},1.5,2,1,1.25,10", f"{START_MS}001,1.5,2,1,1.25,10"),
        *("../../etc/passwd", '"', f"{S}\x00,1,1,1,1,1", "NaN,1,1,1,1,1"),
        "0001-01-01T00:00:00+14:00,1.5,2,1,1.25,10",
    ],
)
def test_a_line_that_states_no_possible_time_is_kept_for_quarantine(line: str, tmp_path: Path) -> None:
    """It belongs to the range of the line before it, says no open time, and widens no range."""
    content = "\n".join([HEADER, *(",".join(map(str, row)) for row in TWO), line])
    file = look_through(written(tmp_path / "odd.csv", content), ETH)
    assert file.stretches == (TimeRange.from_ms(START_MS, START_MS + 2 * HOUR_MS),)
    *_, odd = rows_of(file)
    assert FILE_LAYOUT.open_time_ms(odd) is None
    assert odd[-1] == line.replace("\x00", "\\x00")


_times = st.integers(-3, 8000).map(lambda half: str(START_MS + half * HOUR_MS // 2))  # some off the grid
_junk = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)
_lines = st.one_of(
    st.builds(lambda at, rest: f"{at},1.5,2,1,1.25,{rest}", _times, st.integers(0, 99)),
    st.builds(lambda at, rest: f"{at},{rest}", st.one_of(_times, _junk), _junk),
    _junk,
)


@example(pairs=[(f"{START_MS - HOUR_MS // 2},off the grid and before all others", 5)])
@given(pairs=st.lists(st.tuples(st.none() | _lines, st.integers(0, 3000)), max_size=30))
def test_no_line_is_lost_and_the_order_of_arrival_stays(
    pairs: Sequence[tuple[str | None, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the lines are, each that is not empty is a row of exactly one page, in the file's order."""
    lines = [line for odd, hour in pairs for line in (odd, f"{START_MS + hour * HOUR_MS},1.5,2,1,1.25,10") if line]
    lines.append(f"{START_MS + HOUR_MS},1.5,2,1,1.25,10")
    path = tmp_path_factory.getbasetemp() / "any.csv"
    file = look_through(written(path, "\n".join([HEADER, *lines]), START_MS + 5000 * HOUR_MS), ETH)
    ranges = [part for span in file.stretches for part in span.windows(300 * HOUR_MS)]
    pages = [[row[-1] for row in page.rows()] for page in file.pages(ranges, range(len(ranges)))]
    kept = [line.rstrip("\r").replace("\x00", "\\x00") for line in lines if line.strip()]
    assert sorted(chain.from_iterable(pages)) == sorted(kept)
    assert file.rows == len(kept)
    for page in pages:
        rest = iter(kept)
        assert all(line in rest for line in page), "a page is what the file has, with lines left out"


def test_a_week_of_silence_is_not_spoken_for(tmp_path: Path) -> None:
    """A file of several stretches says nothing of what lies between; a shorter silence is part of what it says."""
    lines = [f"{START_MS + hour * HOUR_MS},1.5,2,1,1.25,10" for hour in (0, 100, 101, 500, 501)]
    file = look_through(written(tmp_path / "parts.csv", "\n".join([HEADER, *lines])), ETH)
    spans = [((span.start_ms - START_MS) // HOUR_MS, (span.end_ms - START_MS) // HOUR_MS) for span in file.stretches]
    assert spans == [(0, 102), (500, 502)]


def test_a_candle_that_had_not_closed_is_not_spoken_for(tmp_path: Path) -> None:
    """The range ends with what had closed when the file was written."""
    content = "\n".join([HEADER, *(",".join(map(str, row)) for row in TWO)])
    file = look_through(written(tmp_path / "young.csv", content, START_MS + 2 * HOUR_MS - 1), ETH)
    assert file.stretches == (TimeRange.from_ms(START_MS, START_MS + HOUR_MS),)
    assert len(rows_of(file)) == 2
    with pytest.raises(ConfigError, match="no candle in it had closed"):
        look_through(written(tmp_path / "one.csv", content.rpartition("\n")[0], START_MS + HOUR_MS - 1), ETH)
    with pytest.raises(ConfigError, match="is after 2024-02-29 11:59, when the file was written"):
        look_through(written(tmp_path / "old.csv", content, START_MS - 1), ETH)


MINUTES = "\n".join([HEADER, *(f"{START_MS + minute * 60_000},1.5,2,1,1.25,10" for minute in range(90))])


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.csv", None, "no such file"),
        ("empty.csv", "", "it is empty"),
        ("blank.csv.gz", "\n\n", "it is empty"),
        ("header.csv", HEADER, "it holds no row"),
        ("candles.xlsx", "x", r"format is not known: candles\.xlsx; what is read is \.csv, "),
        ("other.csv", "name,age\nbob,7\n", "found the columns 'name', 'age', but none for open_time, open, high"),
        ("coins.csv", HEADER.replace("volume", "Volume BTC") + f"\n{S},1,1,1,1,1", "but none for volume; .*Volume ETH"),
        ("picture.csv", b"\x89PNG\x00\x01", "it is no text"),
        ("broken.csv.gz", b"", "cannot be unpacked"),
        ("..", None, "is no file; name a file of candles"),
        ("text.parquet", "this is no Parquet", "cannot be read as Parquet"),
        ("endless.csv.gz", b"0" * 100_000, "line 1 is over 65536 bytes"),
        ("bomb.csv.gz", MINUTES + ("x" * 1000 + "\n") * 2000, "it unpacks to over"),
        ("minutes.csv", MINUTES, "88 of 90 rows do not open on the 1h grid, for example at 2024-02-29 1"),
        (
            "counted.csv",
            f"{HEADER}\n1,1,1,1,1,1\n2,1,1,1,1,1",
            "only 0 state when they open: the open time '1' is before 2009-01-03",
        ),
    ],
)
def test_a_file_that_will_not_do_is_a_clear_error(
    name: str, content: str | bytes | None, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read, or cannot be meant, is named with the reason, and costs little."""
    monkeypatch.setattr("etl.extract.files.limits.MAX_TEXT_BYTES", 1 << 20)
    path = tmp_path / name
    if content is not None:
        written(path, content)
    if name == "broken.csv.gz":
        path.write_bytes(gzip.compress(MINUTES.encode())[:-20])
    with pytest.raises(ConfigError, match=complaint) as caught:
        look_through(path, ETH)
    assert str(path) in caught.value.message


def test_candles_of_a_coarser_timeframe_are_told(tmp_path: Path) -> None:
    """Hours given as minutes would leave 59 of 60 absent."""
    lines = [f"{START_MS + hour * HOUR_MS},1.5,2,1,1.25,10" for hour in range(48)]
    path = written(tmp_path / "hours.csv", "\n".join([HEADER, *lines]))
    with pytest.raises(ConfigError, match="all 48 rows open on the 1h grid: they are no candles of 1m"):
        look_through(path, Series.parse("binance:ETH/USDT:1m"))


@pytest.mark.parametrize("changed", [MINUTES + "\n", MINUTES.replace("1.25", "1.75"), ""])
@pytest.mark.parametrize("at_ms", [LATER_MS, LATER_MS + 1000])
def test_a_file_that_changes_while_it_is_read_is_not_used(changed: str, at_ms: int, tmp_path: Path) -> None:
    """A plan for the old content is not carried out with the new, also if its size and its time are the old one's."""
    file = look_through(written(tmp_path / "live.csv", MINUTES), Series.parse("binance:ETH/USDT:1m"))
    written(tmp_path / "live.csv", changed, at_ms)
    with pytest.raises(ConfigError, match="was written to while it was read"):
        rows_of(file)
