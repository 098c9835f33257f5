"""Every kind of file that people have: the same candles out of each, or one sentence that shows what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.errors import ConfigError
from etl.exchanges import FILE_LAYOUT
from etl.extract import CandleFile, file_rows, look_through
from etl.extract.files import limits
from etl.extract.files.decimals import to_plain
from etl.extract.files.moments import DayOrder, to_moment
from etl.extract.files.times import to_zone
from etl.schema import Origin
from etl.series import Series, TimeRange
from etl.timeframe import from_ms, to_ms
from etl.validate import ReceivedRows, clean
from tests.made_files import (
    CANDLES,
    HEADER,
    READ,
    START,
    epoch_ms,
    epoch_s,
    feather,
    form,
    lines,
    parquet,
    table,
    text,
    zipped,
)

BTC = Series.parse("kraken:BTC/USD:1h")
MINUTES = Series.parse("kraken:BTC/USD:1m")
LATER_MS = to_ms(START + timedelta(days=400))
HOUR = timedelta(hours=1)


def looked(tmp_path: Path, name: str, content: bytes, series: Series = BTC, zone: str | None = None) -> CandleFile:
    """Write a file and look it through."""
    path = tmp_path / name
    path.write_bytes(content)
    os.utime(path, (LATER_MS / 1000, LATER_MS / 1000))
    return look_through(path, series, None if zone is None else to_zone(zone))


def read(file: CandleFile) -> tuple[list[list[Any]], list[str], int]:
    """Return a file's rows, the reasons of those that are none, and how many lines are silent."""
    said = [file_rows(page.body, file.series) for page in file.pages(file.stretches, range(len(file.stretches)))]
    rows = [row for one in said for row in one.rows]
    return rows, [reason for one in said for reason in one.reasons.values()], sum(one.silent for one in said)


def candles(rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    """Return rows as the tuples of CANDLES."""
    return [(from_ms(row[0]), *map(float, row[1:6])) for row in rows]


@pytest.mark.parametrize("name", READ)
def test_the_same_candles_come_out_of_every_kind(name: str, tmp_path: Path) -> None:
    """Format, layout, separator, decimal mark and form of time are found out; the values are equal to the last bit."""
    file = looked(tmp_path, name, READ[name])
    rows, reasons, silent = read(file)
    assert candles(rows) == CANDLES
    assert (reasons, silent) == ([], 0)
    assert file.lines == len(file.header.skipped) + file.blank + file.rows
    assert file.rows == len(CANDLES)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zip"])
@pytest.mark.parametrize("packed", ["not", "gzip", "zip"])
def test_the_content_tells_what_a_file_is_packed_in(name: str, packed: str, tmp_path: Path) -> None:
    """Browsers unpack what they download, or do not, and the name stays; a text that is named .zip alone is refused."""
    plain = text(HEADER, lines(epoch_s))
    content = {"not": plain, "gzip": gzip.compress(plain), "zip": zipped({"a.csv": plain})}[packed]
    if name.endswith(".zip") and packed == "not":
        with pytest.raises(ConfigError, match="cannot be unpacked"):
            looked(tmp_path, name, content)
        return
    file = looked(tmp_path, name, content)
    assert candles(read(file)[0]) == CANDLES
    assert file.format == "CSV" + ("" if packed == "not" else " (packed: a.csv)")


@pytest.mark.parametrize("cell", ["1e-08", "NaN", "", " 1.5 ", "0.10000000000000000001", "1E5", "nan", "null", ".5"])
@pytest.mark.parametrize("count", [1, 3, 9, 24])
def test_no_first_row_is_lost_where_no_line_names_columns(cell: str, count: int, tmp_path: Path) -> None:
    """Whatever the first volumes look like, all lines of a file without a header are rows."""
    kraken = lines(epoch_s, more=",35")
    odd = [",".join([*row.split(",")[:5], cell, "35"]) for row in kraken[:count]]
    rows, reasons, _ = read(looked(tmp_path, "XBTUSD_60.csv", text(None, odd + kraken[count:])))
    assert [row[0] for row in rows] == [to_ms(opened) for opened, *_ in CANDLES]
    assert reasons == []


def test_a_first_row_without_any_value_names_no_columns(tmp_path: Path) -> None:
    """It is a row like the others, refused for its time."""
    rows = [[epoch_ms(opened), *map(float, values)] for opened, *values in CANDLES]
    content = json.dumps([[float("nan")] * len(rows[0]), *rows]).encode()
    read_rows, reasons, _ = read(looked(tmp_path, "a.json", content))
    assert len(read_rows) == len(rows) + 1
    assert len(reasons) == 1


def test_rows_of_minutes_without_trades_say_that_nothing_was_traded(tmp_path: Path) -> None:
    """A row of NaN is no row to refuse and no candle; one with a volume or one price is."""
    rows = lines(epoch_s)
    for place, cells in enumerate(
        [
            *(
                "NaN,NaN,NaN,NaN,NaN",
                ",,,,",
                *(f"nan,nan,nan,nan,{zero}" for zero in ("0.0", "-0", "0e0", ".0", "0.E+5")),
            ),
            *("NaN,NaN,NaN,NaN,3", "NaN,NaN,NaN,NaN,1e-9", "NaN,NaN,NaN,NaN,e0", "1,,,,0"),
        ]
    ):
        rows[place] = f"{epoch_s(CANDLES[place][0])},{cells}"
    found, reasons, silent = read(looked(tmp_path, "gaps.csv", text(HEADER, rows)))
    assert (len(found), reasons, silent) == (len(CANDLES) - 7, [], 7)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            "symbols.csv",
            text("symbol," + HEADER, [f"{s},{row}" for row in lines(epoch_s) for s in ("BTCUSDT", "ETHUSDT")]),
            "rows of 2 symbols: 'BTCUSDT' and 'ETHUSDT'",
        ),
        ("symbols.parquet", parquet(table(symbol=["A/USD"] * 12 + ["B/USD"] * 12)), "2 symbols: 'A/USD' and 'B/USD'"),
        (
            "intervals.csv",
            text("interval," + HEADER, [f"{'1h' if n else '1d'},{row}" for n, row in enumerate(lines(epoch_s))]),
            "rows of 2 timeframes: '1d' and '1h'",
        ),
        (
            "interval.csv",
            text("interval," + HEADER, [f"1d,{row}" for row in lines(epoch_s)]),
            "say that they are candles of '1d', not of 1h",
        ),
        (
            "exchanges.csv",
            text("exchange," + HEADER, [f"{'A' if n else 'B'},{row}" for n, row in enumerate(lines(epoch_s))]),
            "rows of 2 exchanges: 'A' and 'B'",
        ),
        (
            "yahoo.csv",
            text("Price,Open,High,Low,Close,Volume\nTicker,A,A,A,B,B\nDate,,,,,", lines(form("%Y-%m-%d %H:%M"))),
            "rows of 2 symbols: 'A' and 'B'",
        ),
        (
            "days.csv",
            text(HEADER, lines(lambda at: (at - timedelta(days=13)).strftime("%d/%m/%Y %H:%M"))),
            "a date in it can be read in two ways: '01/03/2024 00:00'",
        ),
        (
            "orders.csv",
            text(HEADER, lines(form("%d/%m/%Y %H:%M")) + lines(form("%m/%d/%Y %H:%M"))),
            "its dates are '14/03/2024 00:00' and '03/14/2024 00:00', days first and months first",
        ),
        (
            "thousands.csv",
            text("time;open;high;low;close;volume", [f"{epoch_s(at)};1,000;1,002;1,000;1,001;5" for at, *_ in CANDLES]),
            "a number in it can be read in two ways, and no other tells which: '1,000' is 1000 or 1.000;",
        ),
        (
            "marks.csv",
            text("time;open;high;low;close;volume", [f"{epoch_s(at)};1,5;2.25;1,5;2.0;5" for at, *_ in CANDLES]),
            "decimal commas and decimal points: '1,5' and '2.25'",
        ),
        ("coinbase.csv", text(None, [f"{epoch_s(at)},1,3,2,2,5" for at, *_ in CANDLES]), "none for open_time"),
        (
            "unknown.csv",
            text("data,apertura,max,min,fine,volumi", lines(epoch_s)),
            "found the columns 'data', 'apertur",
        ),
        (
            "forms.csv",
            text(HEADER, lines(form("week %U of %Y"))),
            "the open time 'week 10 of 2024' cannot be read; what",
        ),
        (
            "object.json",
            b'{"data": [[1]]}',
            "is no array of rows: .*; write that array alone, for example with jq .data",
        ),
        ("lines.json", b'{"time": 1}\n{"time": 2}', "is no array of rows: .*; write ..open_time, .* or name it .jsonl"),
        ("torn.json", READ["freqtrade.json"][:-40], "its JSON breaks off, or a row is broken"),
        ("mixed.json", b"[[1,2], 3]", "found the columns '1', '2', but none for open_time"),
        (
            "twins.csv",
            text(HEADER + ",Open", lines(epoch_s, more=",1")),
            "its columns 2 and 7 have the same name, 'open' and 'Open', and different values: '100.0' and '1'; rename",
        ),
        (
            "twins.csv",
            text("symbol," + HEADER + ",symbol", [f"A,{row},B" for row in lines(epoch_s)]),
            "'A' and 'B'; re",
        ),
        (
            "twins.json",
            b'[{"time": 1710374400, "open": 1, "open": 2}]',
            "has 'open' twice, with different values: '1' and",
        ),
        ("flat.json", b"[1, 2, 3]", "found the columns '1', but none for open_time"),
        ("deep.json", b"[" * 200_000, "its JSON breaks off"),
        ("long.json", b"[[" + b"1," * 70_000 + b"1]]", r"over 65536 bytes long: .\[1,1"),
        (
            "some.zip",
            zipped({"ETHUSD_60.csv": b"", "XBTUSD_1.csv": b""}),
            "2 files .ETHUSD_60.csv, XBTUSD_1.csv., and not",
        ),
        ("none.zip", zipped({}), "it holds no file"),
        ("a.csv", zipped({"a.parquet": parquet(table())}), "Parquet is not read out of an archive: a.parquet; unpack"),
        ("a.parquet", gzip.compress(parquet(table())), "Parquet is not read out of an archive: a.parquet; unpack it"),
        ("a.csv.gz", b"<html>moved</html>", "found the columns '<html>moved</html>', but none for open_time"),
        ("parquet.zip", zipped({"a.parquet": parquet(table())}), "Parquet is not read out of an archive: a.parquet"),
        ("broken.zip", zipped({"a.csv": READ["windows.csv"]})[:-30], "cannot be unpacked"),
        ("cell.parquet", parquet(table(symbol=["x" * 300] * 24)), "a cell of column 'symbol' is over 256 bytes"),
        ("half.feather", feather("lz4")[:-200], "cannot be read as Feather"),
        ("old.feather", b"FEA1" + b"0" * 64 + b"FEA1", "Feather of version 1; write it as version 2"),
        (
            "nested.parquet",
            parquet(pa.table({"candle": [{"open": 1.0, "close": 2.0}]})),
            "its values are nested: candle .struct<open.*; write a column for each value",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all_is_refused(
    name: str, content: bytes, complaint: str, tmp_path: Path
) -> None:
    """The sentence shows the cell or the names that are to blame."""
    with pytest.raises(ConfigError, match=complaint):
        looked(tmp_path, name, content)


@pytest.mark.parametrize("days", [2, 15])
def test_days_given_as_minutes_are_told(days: int, tmp_path: Path) -> None:
    """So few do not lie on a grid a thousand times coarser by chance; one alone may."""
    rows = [f"{epoch_s(START + timedelta(days=day))},1.5,2,1,1.25,10" for day in range(days)]
    with pytest.raises(ConfigError, match=f"all {days} rows open on the 1d grid: they are no candles of 1m"):
        looked(tmp_path, "days.csv", text(HEADER, rows), MINUTES)
    assert looked(tmp_path, "day.csv", text(HEADER, rows[:1]), MINUTES).rows == 1


BERLIN = datetime(2023, 10, 29, tzinfo=UTC) - 3 * HOUR


def in_berlin(hours: range, minutes: int = 60, is_descending: bool = False) -> bytes:
    """Return candles in Berlin's local time around the night in which its clocks were set back."""
    zone, moments = to_zone("Europe/Berlin"), [BERLIN + timedelta(minutes=minutes * n) for n in hours]
    rows = [
        f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S},{1 + n},{2 + n},{1 + n},{2 + n},1" for n, at in enumerate(moments)
    ]
    return text(HEADER, rows[::-1] if is_descending else rows)


@pytest.mark.parametrize(("timeframe", "minutes"), [("1h", 60), ("15m", 15), ("1m", 1)])
@pytest.mark.parametrize("is_descending", [False, True])
def test_local_times_are_read_in_their_zone(timeframe: str, minutes: int, is_descending: bool, tmp_path: Path) -> None:
    """The hour that a night has twice becomes two; without a zone the file is refused, since it shows its own."""
    series, count = Series.parse(f"kraken:BTC/USD:{timeframe}"), 9 * 60 // minutes
    content = in_berlin(range(count), minutes, is_descending)
    rows, reasons, _ = read(looked(tmp_path, "berlin.csv", content, series, "Europe/Berlin"))
    expected = [to_ms(BERLIN + timedelta(minutes=minutes * n)) for n in range(count)]
    assert [row[0] for row in rows] == (expected[::-1] if is_descending else expected)
    assert reasons == []
    with pytest.raises(ConfigError, match=r"2023-10-29 02:00 is in it twice, .*\(Europe/Berlin.*--zone Europe/Berlin"):
        looked(tmp_path, "berlin.csv", content, series)
    assert looked(tmp_path, "berlin.csv", content, series, "UTC").rows == count


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize(
    ("name", "timeframe", "around"),
    [
        ("Europe/Berlin", "2h", datetime(2023, 10, 29, tzinfo=UTC)),
        ("Europe/Berlin", "1d", datetime(2023, 10, 29, tzinfo=UTC)),
        ("America/New_York", "6h", datetime(2023, 11, 5, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", "1h", datetime(2024, 4, 6, 15, tzinfo=UTC)),  # its clocks are set back half an hour
    ],
)
def test_a_local_time_of_which_one_hour_is_on_the_grid_is_read(
    name: str, timeframe: str, around: datetime, is_descending: bool, tmp_path: Path
) -> None:
    """A candle that is wider than the change is once in the file; the other reading is beside its neighbours' grid."""
    series, zone = Series.parse(f"kraken:BTC/USD:{timeframe}"), to_zone(name)
    moments = [around + n * series.timeframe.delta for n in range(-3, 4)]
    local = [at.astimezone(zone).replace(tzinfo=None) for at in moments]
    assert len({local[3].replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}) == 2, "it is there twice"
    rows = [f"{at},{1 + n},{2 + n},{1 + n},{2 + n},1" for n, at in enumerate(local)]
    content = text(HEADER, rows[::-1] if is_descending else rows)
    read_rows, reasons, _ = read(looked(tmp_path, "local.csv", content, series, name))
    expected = [to_ms(at) for at in moments]
    assert ([row[0] for row in read_rows], reasons) == (expected[::-1] if is_descending else expected, [])


def test_a_local_time_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """Of the doubled hour one alone is there; and an hour that the spring leaves out has no moment."""
    content = in_berlin(range(12)).splitlines()
    twice = next(n for n, row in enumerate(content) if row.startswith(b"2023-10-29 02:00"))
    content[-1] = b"2023-03-26 02:30:00,1,1,1,1,1"
    file = looked(tmp_path, "a.csv", b"\n".join(content[:twice] + content[twice + 1 :]), BTC, "Europe/Berlin")
    _, reasons, _ = read(file)
    assert reasons == [
        "the open time 2023-10-29 02:00:00 is twice in Europe/Berlin, and 1 time in the file",
        "the open time 2023-03-26 02:30:00 does not exist in Europe/Berlin: clocks are set forward",
    ]
    (page,) = file.pages(file.stretches, [0])
    readings = [[from_ms(at).isoformat()[:16] for at in each] for each in file_rows(page.body, BTC).readings.values()]
    assert readings == [["2023-10-29T00:00", "2023-10-29T01:00"], ["2023-03-26T00:30", "2023-03-26T01:30"]]
    with pytest.raises(ConfigError, match="unknown time zone 'Europe/Berln'.*nearest: Europe/Berlin"):
        to_zone("Europe/Berln")


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize(
    ("part", "known", "possible"),
    [(range(18, 40), range(20, 40), [(14, 16), (18, 20)]), (range(14), range(12), [(12, 14), (16, 18)])],
)
def test_a_file_speaks_for_no_slot_because_of_a_time_that_cannot_be_told(
    part: range, known: range, possible: list[tuple[int, int]], is_descending: bool, tmp_path: Path
) -> None:
    """It begins, or ends, within the doubled hour: what it has once bounds nothing of which it is asked."""
    series, content = Series.parse("kraken:BTC/USD:15m"), in_berlin(part, 15, is_descending)
    file = looked(tmp_path, "a.csv", content, series, "Europe/Berlin")
    slots = [BERLIN + timedelta(minutes=15 * n) for n in range(41)]
    assert file.stretches == (TimeRange(slots[known.start], slots[known.stop]),)
    assert file.possible == tuple(TimeRange(slots[start], slots[end]) for start, end in possible)
    assert [len(read(file)[part_of]) for part_of in (0, 1)] == [len(part), len(part) - len(known)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (HEADER, "the open time 'time' cannot be read"),
        (f"{epoch_s(START)},100.1,10", "3 values where the file's columns are 6"),
        ("2016-12-31 23:59:60,1,1,1,1,1", "the open time '2016-12-31 23:59:60' cannot be read"),
        ("7,1,1,1,1,1", "the open time '7' is before 2009-01-03"),
        (f"{LATER_MS + 1},1,1,1,1,1", r"is after 2025-04-18 00:00, when the file was written"),
    ],
)
def test_a_line_that_is_no_row_says_why(row: str, reason: str, tmp_path: Path) -> None:
    """The header again, a torn line, a leap second, a time that cannot be: each with its own reason in quarantine."""
    rows, reasons, _ = read(looked(tmp_path, "odd.csv", text(HEADER, [*lines(epoch_ms), row])))
    assert len(rows) == len(CANDLES) + 1
    [said] = reasons
    assert reason in said
    assert rows[-1][-1] == row


_odd = st.one_of(
    st.sampled_from([",,,,,", HEADER, "", "   ", f"{epoch_ms(START)},NaN,NaN,NaN,NaN,NaN", f"{epoch_ms(START)},1,2"]),
    st.builds(
        lambda row, cell, at: ",".join([*row[:at], cell, *row[at + 1 :]]),
        st.sampled_from([row.split(",") for row in lines(epoch_ms)]),
        st.sampled_from(["", "NaN", "-1", "many", "1e400", " 7 ", "1_0", "0"]),
        st.integers(0, 5),
    ),
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12),
)


@given(header=st.sampled_from([None, HEADER, f"a remark\n{HEADER}"]), odd=st.lists(st.tuples(_odd, st.integers(0, 24))))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_every_line_of_a_file_is_accounted_for(
    header: str | None, odd: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Lines are names, remarks, blank or rows; rows are accepted, repeated, outside, silent or refused for a reason."""
    rows = [(at, row) for at, row in enumerate(lines(epoch_ms))] + [(at, row) for row, at in odd]
    content = text(header, [row for _, row in sorted(rows, key=lambda pair: pair[0])])
    try:
        file = looked(tmp_path_factory.getbasetemp(), "any.csv", content)
    except ConfigError:
        return  # mostly junk: nothing of it is loaded
    assert file.lines == content.count(b"\n")
    assert file.lines == len(file.header.skipped) + file.blank + file.rows
    sums: Counter[str] = Counter()
    for page, span in zip(file.pages(file.stretches, range(len(file.stretches))), file.stretches, strict=True):
        said = file_rows(page.body, BTC)
        received = ReceivedRows(said.rows, page.fetched_at_ms, FILE_LAYOUT, Origin.FILE, reasons=said.reasons)
        cleaned = clean([received], BTC, TimeRange(span.start, span.end))
        assert all(row.evidence for row in cleaned.refused)
        report = cleaned.report
        sums.update(accepted=report.accepted, repeated=report.repeated, outside=report.outside, silent=said.silent)
        sums.update(refused=len(cleaned.refused))
    assert sums.total() == file.rows


@given(value=st.integers(-(10**15), 10**15), places=st.integers(0, 8), mark=st.sampled_from([",", "."]))
def test_a_number_is_the_same_in_every_spelling(value: int, places: int, mark: str) -> None:
    """Groups and decimal commas are undone; a plain number stays as it is."""
    number = value / 10**places
    spelt = f"{number:,.{places}f}"
    spelt = spelt.translate(str.maketrans(",.", ".,")) if mark == "," else spelt
    if mark == "," and "," not in spelt:
        return  # groups alone could be decimals
    assert float(to_plain(spelt, mark)) == float(f"{number:.{places}f}")


@given(at=st.datetimes(*(datetime(year, 2, 1) for year in (2009, 2099))), order=st.sampled_from(DayOrder))  # noqa: DTZ001 (files name no zone)
def test_a_moment_is_the_same_in_every_form(at: datetime, order: DayOrder) -> None:
    """A moment that is written in any of the forms comes back."""
    at = at.replace(microsecond=0)
    first = "%d/%m/%Y" if order is DayOrder.DAY_FIRST else "%m/%d/%Y"
    for pattern in (
        "%Y-%m-%d %H:%M:%S",
        "%Y.%m.%d %H:%M:%S",
        "%Y%m%d%H%M%S",
        "%d %b %Y %H:%M:%S",
        f"{first} %I:%M:%S %p",
    ):
        assert to_moment(at.strftime(pattern), order) == at


def test_a_feather_that_claims_too_much_is_not_unpacked(tmp_path: Path) -> None:
    """The size that a buffer says it unpacks to is read before it is."""
    zeros = pa.table({**table().to_pydict(), "zeros": np.zeros(24)})
    sink = io.BytesIO()
    pyarrow.feather.write_feather(zeros, sink, compression="zstd")
    content = bytearray(sink.getvalue())
    claim = struct.pack("<q", 24 * 8)
    assert content.count(claim)
    with pytest.raises(ConfigError, match="a batch of it unpacks to 1,048,57., MB|a batch of it unpacks to [0-9,]+ MB"):
        looked(tmp_path, "bomb.feather", bytes(content).replace(claim, struct.pack("<q", 1 << 40)))


def test_a_large_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a footer: what a file says of itself costs no more than a file of candles would."""
    monkeypatch.setattr(limits, "MAX_READ_BYTES", 1000)
    many = zipped({f"{number}.csv": b"" for number in range(100)})
    with pytest.raises(ConfigError, match="its directory is over"):
        looked(tmp_path, "many.zip", many)
    monkeypatch.setattr("etl.extract.files.parquet.MAX_READ_BYTES", 100)
    with pytest.raises(ConfigError, match="its footer is over"):
        looked(tmp_path, "footer.parquet", parquet(table()))


def test_json_lines_that_are_no_rows_are_kept(tmp_path: Path) -> None:
    """A torn line, a number and an object with another name are refused by themselves, each with its reason."""
    good = READ["objects.ndjson"].decode().splitlines()
    other = json.dumps({**json.loads(good[0]), "surprise": 1})
    rows, reasons, _ = read(looked(tmp_path, "odd.jsonl", "\n".join([*good, good[0][:20], "7", other]).encode()))
    assert len(rows) == len(CANDLES) + 3
    assert len(reasons) == 3
    assert reasons[-1] == "7 values where the file's columns are 6"


@pytest.mark.parametrize("odd", ["1710", f"{epoch_s(START)},,,,,"])
def test_a_line_of_a_time_alone_is_no_end_of_a_header(odd: str, tmp_path: Path) -> None:
    """Without a header the lines before it are rows, and no symbols."""
    rows = lines(epoch_s)
    file = looked(tmp_path, "torn.csv", text(None, [*rows[:5], odd, *rows[5:]]))
    assert (file.rows, file.header.skipped) == (len(CANDLES) + 1, frozenset())


@pytest.mark.parametrize("place", [0, 9, 24])
@pytest.mark.parametrize("odd", ["null", "7", '"torn"', "true"])
@pytest.mark.parametrize("name", ["freqtrade.json", "objects.json", "objects.jsonl"])
def test_an_element_that_is_no_row_is_one_refused_row(name: str, odd: str, place: int, tmp_path: Path) -> None:
    """It stays as it is written, wherever it is: no remark, and no reason to refuse the others."""
    arrays = json.loads(READ["freqtrade.json"])
    values = arrays if name == "freqtrade.json" else [dict(zip(HEADER.split(","), row, strict=True)) for row in arrays]
    elements = [json.dumps(value) for value in values]
    elements.insert(place, odd)
    content = "\n".join(elements) if name.endswith("l") else "[" + ",\n".join(elements) + "]"
    rows, reasons, _ = read(looked(tmp_path, name, content.encode()))
    assert candles([row for row in rows if row[-1] != odd]) == CANDLES
    assert [row[-1] for row in rows if row[-1] == odd] == [odd]
    assert len(reasons) == 1


def test_columns_without_a_name_are_not_taken_for_one(tmp_path: Path) -> None:
    """An index that pandas wrote without a name, before lines that end with a separator."""
    header = "," + HEADER.partition(",")[2] + ","
    file = looked(tmp_path, "index.csv", text(header, lines(form("%Y-%m-%d %H:%M:%S"), more=",")))
    assert file.columns.names[0] == file.columns.names[-1] == ""
    assert file.rows == len(CANDLES)


@pytest.mark.parametrize(
    ("column", "name", "says"),
    [
        *(
            ("symbol", name, "same")
            for name in ("BTCUSD", "btcusd", "BTC/USD", "btc-usd", "BTC_USD", "XBTUSD", "XBT/USD")
        ),
        *(("ticker", name, "same") for name in ("tBTCUSD", "XXBTZUSD", "KRAKEN:BTCUSD", "BTC.V", "BTC", "btc", "XBT")),
        *(
            ("pair", name, "other")
            for name in ("ETHUSD", "eth/usd", "BTC-USDT", "BTCUSD:USD", "ETH", "USD", "BTC/EUR", "ETH.V")
        ),
        *(("coin", name, "remark") for name in ("Bitcoin", "bitcoin", "Ethereum", "17")),
        *(("market", name, "remark") for name in ("spot", "SPOT", "crypto")),
        *(("exchange", name, "same") for name in ("Kraken", "KRAKEN", "kraken")),
        *(("venue", name, "other") for name in ("Binance", "coinbase pro", "GATE.IO")),
        *(("exchange", name, "remark") for name in ("Bitso", "A")),
        *(("base", name, says) for name, says in (("BTC", "same"), ("XBT", "same"), ("ETH", "other"), ("1.5", "same"))),
        *(("quote currency", name, says) for name, says in (("usd", "same"), ("USDT", "other"), ("dollars", "remark"))),
        *(
            ("interval", name, "same")
            for name in (
                "1h",
                "1H",
                "60min",
                "60",
                "3600",
                "3600000",
                "PT1H",
                "PT60M",
                "hourly",
                "H1",
                "ONE_HOUR",
                "hour",
                "3600000ms",
                "3600000 milliseconds",
            )
        ),
        *(
            ("interval", name, "other")
            for name in (
                "4h",
                "240",
                "14400",
                "1w",
                "1M",
                "M15",
                "PT4H",
                "P1D",
                "daily",
                "D",
                "D1",
                "MN1",
                "SIX_HOUR",
                "W",
                "60000ms",
            )
        ),
        *(("period", name, "remark") for name in ("candle", "PT", "P", "2 sessions", "H1.5")),
        ("symbol", "NaN", "same"),
    ],
)
def test_a_file_is_of_whom_its_rows_say(column: str, name: str, says: str, tmp_path: Path) -> None:
    """However it is written, another coin, quote, exchange or timeframe is refused; what cannot be told is shown."""
    content = text(f"{column},{HEADER}", [f"{name},{row}" for row in lines(epoch_s)])
    if says == "other":
        with pytest.raises(ConfigError, match=re.escape(repr(name))) as error:
            looked(tmp_path, "whose.csv", content)
        assert "1h" in error.value.message
        return
    file = looked(tmp_path, "whose.csv", content)
    assert candles(read(file)[0]) == CANDLES
    assert [name in remark and column in remark for remark in file.remarks] == [True] * (says == "remark")


def test_columns_of_one_name_and_one_value_are_one(tmp_path: Path) -> None:
    """Equal in all rows, it does not matter which is read."""
    rows = [row + "," + row.split(",")[1] for row in lines(epoch_s)]
    assert candles(read(looked(tmp_path, "twins.csv", text(HEADER + ",Open", rows)))[0]) == CANDLES


def test_a_row_that_names_no_symbol_is_taken_for_the_others(tmp_path: Path) -> None:
    """All others name the series; how many do not is shown."""
    content = text(f"symbol,{HEADER}", [f"{'BTCUSD' if n % 8 else ''},{row}" for n, row in enumerate(lines(epoch_s))])
    file = looked(tmp_path, "some.csv", content)
    assert candles(read(file)[0]) == CANDLES
    assert file.remarks == ("3 rows say nothing in column 'symbol': taken for the others' series",)


def test_the_ticker_in_a_header_is_of_the_series(tmp_path: Path) -> None:
    """Yahoo names it there alone."""
    with pytest.raises(ConfigError, match=r"of 'BTC-USD' \(column 'Ticker'\), and not of kraken:ETH/USD:1h; name the"):
        looked(tmp_path, "yahoo.csv", READ["yahoo.csv"], Series.parse("kraken:ETH/USD:1h"))


def in_semicolons(prices: str, volume: str = "5", separator: str = ";", more: str = "") -> bytes:
    """Return hours whose four prices, and whose volumes, are written alike; the last volume is `more`."""
    rows = [separator.join([epoch_s(at), *[prices] * 4, volume]) for at, *_ in CANDLES]
    if more:
        rows[-1] = rows[-1].removesuffix(volume) + more
    return text(HEADER.replace(",", separator), rows)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        # Where no other number tells, a number may be a thousand times as large.
        (in_semicolons("42.000"), None),
        (in_semicolons("42.000", "1.250"), None),
        (in_semicolons("1,234"), None),
        (in_semicolons("42.000", "1,234"), None),
        (in_semicolons("42.000", "4.6162"), (42.0, 4.6162)),
        (in_semicolons("42.000", "0.125"), (42.0, 0.125)),
        (in_semicolons("1042.000"), (1042.0, 5)),
        (in_semicolons("42.000", "4,6162"), (42_000.0, 4.6162)),
        (in_semicolons("1.042.000"), (1_042_000.0, 5)),
        (in_semicolons("42,5", "1.250"), (42.5, 1250)),
        (in_semicolons("42.000", separator=","), (42.0, 5)),
        (in_semicolons("42.000", separator="\t"), (42.0, 5)),
        (in_semicolons("42"), (42.0, 5)),
    ],
)
def test_no_number_is_a_thousand_times_too_large_or_too_small(
    content: bytes, values: tuple[float, float] | None, tmp_path: Path
) -> None:
    """A number that can be read in two ways is refused, showing the cell and both readings; any other is read."""
    if values is None:
        with pytest.raises(
            ConfigError, match=r"read in two ways, and no other tells which: '(42.000|1,234)' is \d+ or \d"
        ):
            looked(tmp_path, "marks.csv", content)
        return
    rows, reasons, _ = read(looked(tmp_path, "marks.csv", content))
    assert {(float(row[4]), float(row[5])) for row in rows} == {values}
    assert reasons == []


@pytest.mark.parametrize(("last", "close"), [("4.25", 42.0), ("4,25", 42_000.0), ("4.250", None)])
def test_the_whole_file_tells_how_decimals_are_written(last: str, close: float | None, tmp_path: Path) -> None:
    """One cell far behind the first lines tells if they do not."""
    rows = [f"{epoch_s(START + n * HOUR)};42.000;42.000;42.000;42.000;5" for n in range(400)]
    content = text(HEADER.replace(",", ";"), [*rows, rows[-1].replace(";5", f";{last}")])
    if close is None:
        with pytest.raises(ConfigError, match="'42.000' is 42000 or 42.000;"):
            looked(tmp_path, "long.csv", content)
    else:
        assert float(read(looked(tmp_path, "long.csv", content))[0][0][4]) == close


DAYS = Series.parse("kraken:BTC/USD:1d")


def days_of(per_day: int, days: int = 30) -> list[str]:
    """Return rows that say their date alone, several a day, each with a price of its own."""
    return [
        f"{START + timedelta(days=day):%Y-%m-%d},{number},{day + 1},{day + 90},{day + 1},{number + day + 2},5"
        for day in range(days)
        for number in range(per_day)
    ]


@pytest.mark.parametrize(
    ("per_day", "days", "looks"),
    [
        (24, 30, "candles of 1h"),
        (24, 1, "candles of 1h"),
        (2, 30, "candles of 12h"),
        (1440, 2, "candles of 1m"),
        (7, 30, "candles of a finer timeframe, or of several series"),
    ],
)
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_rows_that_say_their_date_alone_are_no_candles_of_a_day(
    per_day: int, days: int, looks: str, is_shuffled: bool, tmp_path: Path
) -> None:
    """The last row of each day would be its candle, and the others superseded."""
    rows = sorted(days_of(per_day, days), key=lambda row: row[::-1]) if is_shuffled else days_of(per_day, days)
    with pytest.raises(ConfigError, match=f"{per_day:,} different rows open at .*look like {looks}, told apart"):
        looked(tmp_path, "dates.csv", text("date,hr,open,high,low,close,volume", rows), DAYS)


def test_a_sample_of_many_candles_tells_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of candles some of them are looked at, from all over the file."""
    monkeypatch.setattr("etl.extract.files.crowding._MAX_CANDLES", 16)
    header = "date,hr,open,high,low,close,volume"
    with pytest.raises(ConfigError, match=r"and (\d+) of \1 candles have several rows: they look like candles of 12h"):
        looked(tmp_path, "dates.csv", text(header, days_of(2, 300)), DAYS)
    assert looked(tmp_path, "dates.csv", text(header, days_of(1, 300)), DAYS).rows == 300


def test_repeated_rows_and_some_revisions_are_no_finer_timeframe(tmp_path: Path) -> None:
    """A file that stands in itself three times over, and one that revises two fifths of its candles, are read."""
    rows, header = days_of(1), "date,hr,open,high,low,close,volume"
    revised = [row[:-1] + "6" for row in rows[:12]]
    assert looked(tmp_path, "thrice.csv", text(header, rows * 3), DAYS).rows == 90
    assert looked(tmp_path, "revised.csv", text(header, rows + revised), DAYS).rows == 42
