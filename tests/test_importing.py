"""Files of candles into the stores: every line accounted for, once, also when the import was cut off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import update

from etl import importing
from etl.accounting import account_for_loads
from etl.audit import audit, is_sound
from etl.cli import main
from etl.errors import ConfigError
from etl.extract import CandleFile, Page, RawPartition
from etl.feeds_file import load_settings
from etl.importing import account, plan_import, run_import
from etl.presence import mark_files
from etl.read import read_candles as read_stored
from etl.rebuild import plan_rebuild, run_rebuild
from etl.schema import AbsenceKind, Flag, Origin
from etl.series import Series, TimeRange
from etl.stores import Stores, open_stores
from etl.warehouse import Load, known_series, read_absences, read_candles, read_status
from etl.warehouse.database import MIGRATIONS
from etl.warehouse.tables import metadata, quality
from tests.conftest import BTC
from tests.extract.test_candle_files import written
from tests.markets import recorded_values
from tests.snapshots import archive_of, tables_of

FEBRUARY_MS = 1_709_164_800_000  # 2024-02-29
MINUTES = 3 * 1440
SPAN = TimeRange.from_ms(FEBRUARY_MS, FEBRUARY_MS + MINUTES * 60_000)
LATER_MS = SPAN.end_ms + 10**9


def line(minute: int, price: float = 100.0) -> str:
    """Return a sound line of a file."""
    return f"{FEBRUARY_MS + minute * 60_000},{price},{price * 1.01},{price * 0.99},{price},5.5"


def text(*lines: str) -> str:
    """Return three days in two months, newest first and without ten minutes, and other lines after them."""
    sound = [line(minute) for minute in reversed(range(MINUTES)) if not 1500 <= minute < 1510]
    return "\n".join(["a remark", "open_time,open,high,low,close,Volume BTC", *sound, *lines])


def imported(stores: Stores, path: Path, series: Series = BTC) -> list[importing.Imported]:
    """Import a file wholly."""
    return list(run_import(stores, plan_import(stores, path, series)))


def stored(stores: Stores, series: Series, span: TimeRange) -> list[dict[str, Any]]:
    """Return the candles of a range."""
    with stores.warehouse.begin() as connection:
        rows: list[dict[str, Any]] = read_candles(connection, known_series(connection)[series], span).to_pylist()
    return rows


def test_every_line_is_accounted_for(stores: Stores, tmp_path: Path) -> None:
    """Accepted, repeated, outside or in quarantine with its rule and as it stands: together that is the file."""
    odd = [line(7, 101.0), line(7, 101.0), line(9).replace("5.5", "many"), "hello", f"{FEBRUARY_MS + 30_000},1,1,1,1,1"]
    path = written(tmp_path / "candles.csv", text(*odd), LATER_MS)
    report = account(imported(stores, path))
    assert report.rows == MINUTES - 10 + len(odd)
    assert (report.accepted, report.repeated, report.outside) == (MINUTES - 10, 1, 0)
    assert report.refused == {"not_a_number": 1, "off_grid": 1, "shape": 1, "superseded": 1}
    refused = {rule: json.loads(row)[-1] for _, _, rule, _, row, *_ in tables_of(stores)["quarantine"]}
    assert refused == {"superseded": line(7), "not_a_number": odd[2], "shape": odd[3], "off_grid": odd[4]}
    candles = stored(stores, BTC, SPAN)
    assert {row["source"] for row in candles} == {Origin.FILE}
    assert candles[7]["close"] == 101.0, "of two rows for one candle the later counts"
    (one,) = audit(stores)
    assert is_sound([one])
    assert (one.expected, one.stored, sum(one.absent.values())) == (MINUTES, MINUTES - 10, 10)


def test_the_slots_of_refused_lines_are_refused(stores: Stores, tmp_path: Path) -> None:
    """Torn, too long, impossible, negative, without a cell or off the grid: the line is the evidence of its slot."""
    odd = {
        3: line(3).rpartition(",")[0],
        5: line(5) + ",7,8",
        7: line(7).replace("101.0", "50.0"),
        9: line(9).replace("5.5", "-5.5"),
        11: line(11).replace(",5.5", ","),
        13: line(13).replace("000,", "007,"),
        # Days with nothing on the grid, beyond what the other rows speak for.
        20 * 1440: line(20 * 1440).replace("000,", "007,"),
    }
    rows = [odd.pop(minute, line(minute)) for minute in range(1440)] + list(odd.values())
    content = "\n".join(["open_time,open,high,low,close,volume", *rows])
    report = account(imported(stores, written(tmp_path / "odd.csv", content, FEBRUARY_MS + 10**10)))
    assert report.refused == {"negative_amount": 1, "not_a_number": 1, "off_grid": 2, "ohlc": 1, "shape": 2}
    assert report.outside == 0
    account_for_loads(stores, None, "test")
    with stores.warehouse.begin() as connection:
        absences = read_absences(connection, known_series(connection)[BTC])
    assert [
        ((one.span.start_ms - FEBRUARY_MS) // 60_000, one.kind) for one in absences if one.kind != "not_requested"
    ] == [(minute, AbsenceKind.REFUSED) for minute in (3, 5, 7, 9, 11, 13, 20 * 1440)]
    assert is_sound(audit(stores))


@pytest.mark.parametrize("is_descending", [False, True])
def test_a_line_without_a_time_leaves_no_slot_that_is_told_as_empty(
    is_descending: bool, stores: Stores, tmp_path: Path
) -> None:
    """Each line is a refused row with its place; the lines beside it tell the slot, or the file says nothing there."""
    rows: list[str] = [line(minute) for minute in range(1440)]
    for minute in (5, 9, 10):
        rows[minute] = "garbage"
    rows[100] = "open_time,open,high,low,close,volume"
    rows[20:23] = ["garbage"]
    rows = rows[::-1] if is_descending else rows
    content = ["open_time,open,high,low,close,volume", *rows]
    path = written(tmp_path / "odd.csv", "\n".join(content), FEBRUARY_MS + 10**10)
    shown = importing.preview(path, BTC, None, stores.settings, 8)
    assert (shown.slots, shown.stored, shown.refused_slots) == (1437, 1433, 3)
    assert [content[one.number - 1] for one in shown.refused] == [one.line for one in shown.refused]
    assert len({one.number for one in shown.refused}) == 5
    report = account(imported(stores, path))
    assert (report.accepted, report.repeated, report.refused) == (1433, 0, {"shape": 5})
    account_for_loads(stores, None, "test")
    kinds = kinds_of(stores, BTC)
    assert kinds.pop(100) not in {AbsenceKind.REFUSED, AbsenceKind.NOT_REQUESTED}, "a copy of the names is no candle"
    refused, open_slots = (5, 9, 10), (20, 21, 22)
    assert kinds == dict.fromkeys(refused, AbsenceKind.REFUSED) | dict.fromkeys(open_slots, AbsenceKind.NOT_REQUESTED)
    assert is_sound(audit(stores))
    places = {
        int(evidence.rpartition("; line ")[2]): json.loads(row)[-1]
        for _, _, _, evidence, row, *_ in tables_of(stores)["quarantine"]
    }
    assert places == {one.number: one.line for one in shown.refused}
    imported(stores, path.rename(tmp_path / "again.csv"))
    assert len(tables_of(stores)["quarantine"]) == 5


@pytest.mark.parametrize(
    ("owner", "function", "call"),
    [
        (RawPartition, "write_page", 2),
        (RawPartition, "write_list", 2),
        (importing, "clean_pages", 1),
        (importing, "load_sound", 2),
        (RawPartition, "fold", 1),
    ],
)
def test_an_import_that_was_cut_off_goes_on(
    owner: Any, function: str, call: int, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun again it does what is left, and leaves what one clean run leaves; a third does nothing."""
    path = written(tmp_path / "candles.csv", text(line(7, 101.0)), LATER_MS)
    calls: list[int] = []

    def cut_off(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    whole = getattr(owner, function)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, function, cut_off)
        imported(stores, path)
    assert len(imported(stores, path)) == (1 if call == 2 else 2)
    assert plan_import(stores, path, BTC).left == ()
    assert imported(stores, path) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANDLER_HOME", str(tmp_path / "clean"))
        left = tables_of(stores), archive_of(stores)
        _forget(stores)
        with open_stores(load_settings()) as fresh:
            imported(fresh, path)
            assert (tables_of(fresh), archive_of(fresh)) == left


def test_an_import_that_was_cut_off_is_told_to_be_imported_again(stores: Stores, tmp_path: Path) -> None:
    """No exchange is asked for what a file brought."""
    path = written(tmp_path / "candles.csv", text(line(7, 101.0)), LATER_MS)
    assert next(run_import(stores, plan_import(stores, path, BTC)))
    with patch.object(Load, "write", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        imported(stores, path)
    (problem,) = [one for account in audit(stores) for one in account.problems if "cut off" in one.what]
    assert problem.remedy.startswith(f"chandler import FILE {BTC}, or chandler audit {BTC} --fix")
    (failure,) = [one for plan in plan_rebuild(stores) for one in plan.failures]
    assert str(failure).endswith(f"chandler import FILE {BTC}")
    assert len(imported(stores, path)) == 1
    assert is_sound(audit(stores))


def _forget(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("TRUNCATE series, candles CASCADE")


def test_a_large_file_is_read_in_parts(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that do not fit into memory together are read one after the other; one that never could is refused."""
    path = written(tmp_path / "candles.csv.gz", text(), LATER_MS)
    planned = plan_import(stores, path, BTC)
    sizes = [planned.file.text_bytes(partition.time_range) for partition in planned.partitions]
    assert len(sizes) == 2
    read: list[Sequence[int]] = []
    whole = CandleFile.pages

    def seen(file: CandleFile, time_ranges: Sequence[TimeRange], wanted: Sequence[int]) -> Iterator[Page]:
        read.append(wanted)
        return whole(file, time_ranges, wanted)

    monkeypatch.setattr(CandleFile, "pages", seen)
    monkeypatch.setattr(importing, "_MOST_BYTES", max(sizes))
    assert account(imported(stores, path)).accepted == MINUTES - 10
    assert read == [[0], [1]]
    monkeypatch.setattr(importing, "_MOST_BYTES", max(sizes) - 1)
    with pytest.raises(ConfigError, match="no candles need as much"):
        plan_import(stores, path, BTC)


def test_a_file_that_says_something_else_now_leaves_revisions(stores: Stores, tmp_path: Path) -> None:
    """A corrected file is another import; what it changes is kept as it was."""
    imported(stores, written(tmp_path / "candles.csv", text(), LATER_MS))
    corrected = written(tmp_path / "candles.csv", text(line(7, 102.0)), LATER_MS)
    assert sum(one.loaded.revised for one in imported(stores, corrected)) == 1
    (revision,) = tables_of(stores)["revisions"]
    assert 100.0 in revision
    first = written(tmp_path / "candles.csv", text(), LATER_MS)
    assert imported(stores, first) == []
    again = imported(stores, first.rename(tmp_path / "again.csv"))
    assert sum(one.loaded.revised for one in again) == 1, "under another name its values come back"
    assert is_sound(audit(stores))


def test_too_many_refused_rows_are_said_once_all_is_loaded(
    run: Callable[..., tuple[int, str, str]], stores: Stores, tmp_path: Path
) -> None:
    """A rotten month takes no sound line along: the account of the lines is whole, and the command fails."""
    rotten = text(*["hello"] * 3)
    for minute in range(200):
        rotten = rotten.replace(line(minute), line(minute).replace("5.5", "-5.5"))
    path = written(tmp_path / "candles.csv", rotten, LATER_MS)
    status, _, err = run("import", path, BTC)
    assert status == 1
    assert "203 in quarantine (negative_amount 200, shape 3)" in err
    assert (
        "203 of 1,443 candles came only as refused rows, 3 of these without an open time (14.1 %, limit 5.0 %)" in err
    )
    assert "chandler quarantine list binance:BTC/USDT:1m. Mend their lines in the file and import it again" in err
    assert "Airflow" not in err
    assert len(tables_of(stores)["candles"]) == MINUTES - 200 - 10
    assert run("import", path, BTC)[0] == 0, "all of it is accounted for"
    assert is_sound(audit(stores))


@pytest.fixture
def run(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command in this process: its exit status and what it printed."""

    def chandler(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chandler", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, " ".join(printed.out.split()), " ".join(printed.err.split())  # type: ignore[return-value]

    return chandler


def test_the_command_says_what_became_of_the_lines(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For people a table and a sum, for scripts JSON; the second time it says that it was done before."""
    path = written(tmp_path / "candles.csv", text(line(7, 101.0)), LATER_MS)
    status, out, err = run("import", path, BTC)
    assert status == 0
    (warned,) = [message for message in caplog.messages if "refused by superseded" in message]
    assert warned.endswith(f"): {line(7)}")
    assert "binance:BTC/USDT:1m 2024-02-29 00:00 2024-03-01 00:00 1,440" in out
    assert "4,311 rows: 4,310 accepted, 0 repeated, 0 outside, 0 without trades, 1 in quarantine (superseded 1)" in err
    assert "2 of 2 partitions imported from this file before. To import them again" in run("import", path, BTC)[2]
    corrected = written(tmp_path / "candles.csv", text(line(7, 102.0)), LATER_MS)
    report = json.loads(run("import", corrected, BTC, "--json")[1])
    assert report["account"]["refused"] == {"superseded": 1}
    assert sum(load["revised"] for load in report["loads"]) == 1
    assert "Example: chandler import" in run("import", "--help")[1].replace("│", "")


def test_a_preview_shows_how_a_file_is_read_and_asks_no_store(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapping, the first rows and their faults; no store is opened, and none is made."""
    rows = [line(0), "hello", line(1).replace(".", ","), f"{FEBRUARY_MS + 120_000},,,,,", line(3)]
    content = "\n".join(["Unix,Open,High,Low,Close,Volume BTC", *rows])
    path = written(tmp_path / "candles.csv", content, LATER_MS)
    monkeypatch.setattr("etl.stores.open_stores", None)
    status, out, _ = run("import", path, BTC, "--preview")
    assert status == 0
    assert "CSV, 6 lines: 1 of names, 0 of remarks, 0 blank, 5 rows" in out
    assert "open_time Unix open Open high High low Low close Close volume Volume BTC" in out
    assert "2024-02-29 00:00 100.0 101.0 99.0 100.0 5.5" in out
    assert out.count("hello") == 1, "among the refused rows alone"
    assert "2 rows of 5 would be refused (shape 2)" in out
    assert "3 shape 1 value where the file's columns are 6 hello" in out
    assert "1 value where the file's columns are 6" in out
    assert "1 of these rows says that nothing was traded" in out
    assert "rows 1 to 5 of 5" in out
    longer = written(tmp_path / "longer.csv", "\n".join([content, *map(line, range(4, 14))]), LATER_MS)
    assert "rows 1 to 8 of 15" in run("import", longer, BTC, "--preview")[1]
    shown = json.loads(run("import", path, BTC, "--preview", "--json")[1])
    assert shown["columns"]["volume"] == "Volume BTC"
    assert [row.get("reason", row.get("close")) for row in shown["first_rows"]] == [
        *("100.0", "1 value where the file's columns are 6", "11 values where the file's columns are 6", "100.0")
    ]


def test_a_preview_shows_what_an_import_would_refuse(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """By any rule, anywhere in the file: the first five with their lines, and how many more, as the import says."""
    high = [line(minute).replace("101.0", "50.0") for minute in range(10, 14)]
    odd = {50: "", 55: "hello", 60: line(8, 102.0), 70: high[0], 71: high[0], 72: high[1], 90: high[2], 95: high[3]}
    kept = [line(minute) for minute in range(120) if minute not in range(10, 14)]
    content = ["open_time,open,high,low,close,volume", *(odd.get(n, one) for n, one in enumerate(kept, 2))]
    content.append(line(200).replace("000,", "007,"))
    path = written(tmp_path / "odd.csv", "\n".join(content), LATER_MS)
    _, out, _ = run("import", path, BTC, "--preview")
    assert "7 rows of 116 would be refused (off_grid 1, ohlc 4, shape 1, superseded 1)" in out
    assert "... and 2 more" in out
    report = json.loads(run("import", path, BTC, "--preview", "--json")[1])["refused"]
    assert (report["rows"], report["numbers_count"]) == (7, "lines")
    first = [(one["number"], one["rule"]) for one in report["first"]]
    assert first == [(10, "superseded"), (55, "shape"), (70, "ohlc"), (72, "ohlc"), (90, "ohlc")]
    assert [content[number - 1] for number, _ in first] == [one["line"] for one in report["first"]]
    assert json.loads(run("import", path, BTC, "--json")[1])["account"]["refused"] == report["by_rule"]
    rows = json.dumps([[*map(float, line(minute).split(","))] for minute in range(3)] + [[1, 2]])
    packed = written(tmp_path / "rows.json", rows, LATER_MS)
    of_json = json.loads(run("import", packed, BTC, "--preview", "--json")[1])["refused"]
    assert (of_json["numbers_count"], [one["number"] for one in of_json["first"]]) == ("rows", [4])
    named = [dict(zip(content[0].split(","), line(n).split(","), strict=True)) for n in range(3)]
    objects = written(tmp_path / "objects.json", json.dumps(named), LATER_MS)
    assert "JSON, 3 rows column" in run("import", objects, BTC, "--preview")[1]
    sound = written(tmp_path / "sound.csv", text(), LATER_MS)
    assert "no row of 4,310 would be refused" in run("import", sound, BTC, "--preview")[1]


def test_another_case_makes_no_other_series(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Lower case is refused, and so is a symbol that is loaded in another spelling: each names the right one."""
    path = written(tmp_path / "candles.csv", text(), LATER_MS)
    assert "'btc/usdt' is in lower case; write BTC/USDT" in run("import", path, "binance:btc/usdt:1m")[2]
    assert "binance:BTC/USDT:1m 2024-02-29" in run("import", path, BTC)[1]
    status, _, err = run("import", path, "binance:Btc/USDT:1m")
    assert status == 2
    assert "'Btc/USDT' is held as BTC/USDT; write it in the same case" in err
    rows = [line(60 * number) for number in range(24)]
    hours = written(tmp_path / "hours.csv", "\n".join(["open_time,open,high,low,close,volume", *rows]), LATER_MS)
    status, _, err = run("import", hours, "binance:Btc/USDT:1h")
    assert status == 2
    assert "'Btc/USDT' is held as BTC/USDT" in err, "of any timeframe"
    raw = load_settings().home / "raw"
    assert not list(raw.rglob("symbol=Btc-USDT")), "and no page is left behind"


def test_what_reads_takes_a_symbol_as_it_is_written(
    stores: Stores, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """In other letters it was never loaded, and the message has the spelling that was; what loads refuses it."""
    imported(stores, written(tmp_path / "candles.csv", text(), LATER_MS))
    small = "binance:btc/usdt:1m"
    for command in (
        "audit",
        "quality",
        "revisions",
        "quarantine list",
        "repair",
        "archive check",
        "score",
        "anomalies",
    ):
        status, _, err = run(*command.split(), small)
        assert status == 2, command
        assert f"never loaded: {small}; it is held as binance:BTC/USDT:1m; see chandler status" in err, command
    with pytest.raises(ConfigError, match="btc/usdt:1m was never loaded; it is held as binance:BTC/USDT:1m"):
        read_stored(small, ("2024-03-01", "2024-03-02"))
    with pytest.raises(ConfigError, match="'btc/usdt' is in lower case; write BTC/USDT"):
        stores.settings.check_series(Series.parse(small))


@pytest.mark.parametrize("option", [[], ["--preview"]], ids=["import", "preview"])
@pytest.mark.parametrize(
    ("name", "series", "complaint"),
    [
        ("gone.csv", "binance:BTC/USDT:1m", "no such file: "),
        ("candles.csv", "binance:BTC/USDT:1h", "do not open on the 1h grid"),
        ("candles.csv", "binance:ETH/USDT:1m", "found the columns 'open_time', "),
        ("candles.csv", "binanse:BTC/USDT:1m", "nearest: binance"),
        ("candles.csv", "../../etc:BTC/USDT:1m", "is no exchange name"),
    ],
)
def test_a_mistake_is_one_clear_line(
    name: str,
    series: str,
    complaint: str,
    option: list[str],
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    """A command that cannot be meant says so, and loads nothing; a preview accepts nothing that is refused then."""
    written(tmp_path / "candles.csv", text(), LATER_MS)
    status, _, err = run("import", tmp_path / name, series, *option)
    assert status == 2
    assert complaint in err


def gappy(
    tmp_path: Path, name: str, silent: Callable[[int], bool], lacking: Container[int] = (), empty: Container[int] = ()
) -> Path:
    """Write a day of minutes: rows of NaN where nothing was traded, no row in `lacking`, no volume in `empty`."""
    rows = [
        f"{FEBRUARY_MS + minute * 60_000},NaN,NaN,NaN,NaN,NaN"
        if silent(minute)
        else line(minute).replace(",5.5", ",0" if minute in empty else ",5.5")
        for minute in range(1440)
        if minute not in lacking
    ]
    return written(tmp_path / name, "\n".join(["open_time,open,high,low,close,volume", *rows]), LATER_MS)


def kinds_of(stores: Stores, series: Series) -> dict[int, AbsenceKind]:
    """Return the kind of each absent minute."""
    with stores.warehouse.begin() as connection:
        absences = read_absences(connection, known_series(connection)[series])
    return {
        (at_ms - FEBRUARY_MS) // 60_000: one.kind
        for one in absences
        for at_ms in range(one.span.start_ms, one.span.end_ms, 60_000)
    }


@pytest.mark.parametrize("exchange", ["bitstamp", "binance", "binanceus", "kraken", "okx", "bitfinex", "coinbase"])
def test_minutes_of_which_a_file_says_that_nobody_traded(exchange: str, stores: Stores, tmp_path: Path) -> None:
    """They are no trades and no quarantine, also in hours of silence, alone or beside a busy series that is judged."""
    series, other = (Series.parse(f"{exchange}:{base}/USD:1m") for base in ("BTC", "ETH"))
    path = gappy(tmp_path, "gaps.csv", lambda minute: minute % 3 == 0 or 600 <= minute < 900)
    report = account(imported(stores, path, series))
    assert (report.rows, report.accepted, report.silent, report.refused) == (1440, 760, 680, {})
    account_for_loads(stores, exchange, "test")
    assert set(kinds_of(stores, series).values()) == {AbsenceKind.NO_TRADES}
    imported(stores, gappy(tmp_path, "busy.csv", lambda minute: False, range(1000, 1003), range(3)), other)
    account_for_loads(stores, exchange, "test")
    assert set(kinds_of(stores, series).values()) == {AbsenceKind.NO_TRADES}
    # Where every minute prints a candle, as this file shows, those that lack without a word are no lack of trades.
    is_silence = exchange in {"bitfinex", "coinbase"}
    assert set(kinds_of(stores, other).values()) == {AbsenceKind.NO_TRADES if is_silence else AbsenceKind.HALTED}
    assert all(is_sound([one]) for one in audit(stores))


@pytest.mark.parametrize("exchange", ["bitstamp", "bitfinex"])
def test_an_outage_of_the_whole_exchange_is_more_than_a_file_says(
    exchange: str, stores: Stores, tmp_path: Path
) -> None:
    """Whoever brings candles onto a grid writes rows of NaN in an outage too: four busy series tell."""
    names = ("BTC", "ETH", "LTC", "XRP")
    outage = range(600, 900)
    for base in names:
        path = gappy(tmp_path, f"{base}.csv", lambda minute: minute in outage or minute == 30)
        imported(stores, path, Series.parse(f"{exchange}:{base}/USD:1m"))
        account_for_loads(stores, exchange, "test")
    kinds = kinds_of(stores, Series.parse(f"{exchange}:BTC/USD:1m"))
    assert {kind for minute, kind in kinds.items() if minute in outage} == {AbsenceKind.OUTAGE}


THIN = frozenset(np.flatnonzero(np.random.default_rng(1).random(1440) < 0.4).tolist())
FEW, DOWN = {200, 900}, range(500, 620)


@pytest.mark.parametrize(
    ("lacking", "empty", "expected"),
    [
        (THIN, (), {"no_trades"}),
        (FEW, (), {"no_trades"}),
        (FEW | set(DOWN), (), {"no_trades", "outage"}),
        (FEW, range(300, 303), {"outage"}),
    ],
    ids=["thin", "busy", "down", "printing"],
)
def test_minutes_that_a_file_lacks_are_no_outage_because_the_exchange_prints_them(
    lacking: set[int], empty: range, expected: set[str], stores: Stores, tmp_path: Path
) -> None:
    """Only a file that has empty minutes prints them; long silences are outages. A rebuilt warehouse says the same."""
    series = Series.parse("kraken:BTC/USD:1m")
    # A rebuilt warehouse takes the last candle for the moment of asking; all before it is to have settled.
    later = [line(minute) for minute in range(5 * 1440, 5 * 1440 + 60)]
    header = "open_time,open,high,low,close,volume"
    imported(stores, written(tmp_path / "later.csv", "\n".join([header, *later]), LATER_MS), series)
    imported(stores, gappy(tmp_path, "gaps.csv", lambda minute: False, lacking, empty), series)
    account_for_loads(stores, "kraken", "test")
    kinds = {minute: kind for minute, kind in kinds_of(stores, series).items() if minute < 1440}
    told = {kind.value for minute, kind in kinds.items() if minute > min(set(range(1440)) - set(lacking))}
    assert told == expected
    if set(DOWN) <= lacking:
        assert {minute for minute, kind in kinds.items() if kind == "outage"} == set(DOWN)
    with stores.warehouse.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    assert run_rebuild(stores, plan_rebuild(stores)) == []
    assert {minute: kind for minute, kind in kinds_of(stores, series).items() if minute < 1440} == kinds


@pytest.mark.parametrize(
    ("exchange", "of_files"), [("binance", [False, False, False, True]), ("kraken", [False, False, True, True])]
)
def test_files_of_the_exchange_are_taken_at_its_word_and_others_are_not(
    exchange: str, of_files: list[bool], stores: Stores
) -> None:
    """By API, from trades, by archive, imported; an exchange without archives had imports of an older version there."""
    columns = {"source": np.array([1, 2, 3, 4]), "volume": np.array([0.0, 0.0, 0.0, 0.0])}
    assert [marked.tolist() for marked in mark_files(stores.settings, exchange, columns)] == [of_files, of_files]


def test_the_command_says_why_candles_are_absent(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The kinds that they have in the end, of a series without company too; nothing that is still to be judged."""
    path = gappy(tmp_path, "gaps.csv", lambda minute: minute in range(30, 40), range(600, 720))
    status, _, err = run("import", path, "bitstamp:BTC/USD:1m")
    assert status == 0
    assert "130 candles absent: no_trades 10, outage 120" in err
    assert "no_trades, the longest of 10 candles from 2024-02-29 00:30: an imported file has a row of it" in err
    assert "outage, the longest of 120 candles from 2024-02-29 10:00: nothing else of the exchange is loaded" in err
    assert "pending" not in err
    again = gappy(tmp_path, "again.csv", lambda minute: minute == 30, range(30, 30))
    assert json.loads(run("import", again, "bitstamp:BTC/USD:1m", "--json")[1])["absent"] == {"no_trades": 1}


def test_a_bad_optional_value_costs_no_candle(stores: Stores, tmp_path: Path) -> None:
    """It becomes null, with a flag that the audit bears out; a later load that gives it takes the flag away."""
    header = "open_time,open,high,low,close,volume,quote_volume,trades"
    rows = [f"{line(minute)},{'many' if minute == 7 else 550},{'-3' if minute == 9 else 4}" for minute in range(1440)]
    path = written(tmp_path / "candles.csv", "\n".join([header, *rows]), LATER_MS)
    assert account(imported(stores, path)).accepted == 1440
    candles = stored(stores, BTC, SPAN)
    flagged = {
        n: (row["quote_volume"], row["trades"]) for n, row in enumerate(candles) if row["flags"] & Flag.VALUE_DROPPED
    }
    assert flagged == {7: (None, 4), 9: (550.0, None)}
    assert is_sound(audit(stores))
    with stores.warehouse.begin() as connection:
        (status,) = read_status(connection)
        assert status.flagged == {"frozen_price": 1421, "value_dropped": 2}
        # As an earlier version has counted, which the migration counts again.
        connection.execute(update(quality).values(flagged={"frozen_price": 1421}))
        migration = ScriptDirectory(str(MIGRATIONS)).get_revision("0017").module
        connection.exec_driver_sql(migration._COUNT)
    assert is_sound(audit(stores))
    mended = [f"{line(minute)},550,4" for minute in range(1440)]
    imported(stores, written(tmp_path / "mended.csv", "\n".join([header, *mended]), LATER_MS))
    candles = stored(stores, BTC, SPAN)
    assert [n for n, row in enumerate(candles) if row["flags"] & Flag.REVISED] == [7, 9]
    assert not any(row["flags"] & Flag.VALUE_DROPPED for row in candles)
    with stores.warehouse.begin() as connection:
        assert "value_dropped" not in read_status(connection)[0].flagged
    assert is_sound(audit(stores))


@pytest.fixture
def hourly(real_data: Path) -> Path:
    """The folder of real CSV files that people share; the test is skipped where there is none."""
    folder = real_data.parent / "hourly_csv"
    if not folder.is_dir():
        pytest.skip("no real CSV files: set CHANDLER_DATA to a folder that has hourly_csv/")
    return folder


def test_2649_hours_that_a_real_file_has_twice(stores: Stores, hourly: Path) -> None:
    """Each stands there a second time with rounded values: the first rows are in quarantine, the account is sound."""
    series = Series.parse("binance:ETH/USDT:1h")
    report = account(imported(stores, hourly / "Binance_ETHUSDT_1h.csv.gz", series))
    assert (report.rows, report.accepted, report.repeated, report.outside) == (36_062, 33_413, 0, 0)
    assert report.refused == {"superseded": 2_649}
    (one,) = audit(stores)
    assert is_sound([one])
    assert (one.stored, sum(one.absent.values())) == (33_413, 16)
    hour = TimeRange.from_ms(1_602_097_200_000, 1_602_100_800_000)
    assert [(row["quote_volume"], row["trades"]) for row in stored(stores, series, hour)] == [(6_278_013.96, None)]
    (first,) = [row for row in tables_of(stores)["quarantine"] if row[1] == hour.start]
    assert json.loads(first[4])[-1].endswith("18378.87000000,6278013.95989210,6361")


@pytest.mark.parametrize(
    ("name", "series", "rows", "repeated", "absent"),
    [
        ("Bitstamp_BTCUSD_1h.csv.gz", "bitstamp:BTC/USD:1h", 37_387, 0, 0),
        ("Coinbase_BTCUSD_1h_to_2020-10.csv.gz", "coinbase:BTC/USD:1h", 29_061, 5, 5),
        ("Kraken_XBTUSD_60_ohlcvt.csv.gz", "kraken:BTC/USD:1h", 50_378, 0, 10_849),
    ],
)
def test_other_real_files(
    name: str, series: str, rows: int, repeated: int, absent: int, stores: Stores, hourly: Path
) -> None:
    """Remarks before the header, volumes in the wrong columns, no header at all: all of it is loaded."""
    report = account(imported(stores, hourly / name, Series.parse(series)))
    assert (report.rows, report.accepted, report.repeated) == (rows, rows - repeated, repeated)
    (one,) = audit(stores)
    assert is_sound([one])
    assert sum(one.absent.values()) == absent
    prices = [
        row["quote_volume"] / row["volume"] / row["close"]
        for row in stored(stores, one.series, one.ranges[0])
        if row["quote_volume"] and row["volume"] > 1
    ]
    assert all(0.5 < ratio < 2 for ratio in prices)


def test_a_real_recording_in_parquet(stores: Stores, real_data: Path, tmp_path: Path) -> None:
    """A month of minutes of a thin symbol: the archive equals the file, and 10,132 minutes are absent."""
    june = TimeRange(datetime(2018, 6, 1, tzinfo=UTC), datetime(2018, 7, 1, tzinfo=UTC))
    path = tmp_path / "june.parquet"
    pq.write_table(
        pq.read_table(real_data / "bitfinex/LTC-USD/1m.parquet", filters=[("open_time", ">=", june.start)]), path
    )
    (month,) = imported(stores, path, Series.parse("bitfinex:LTC/USD:1m"))
    assert month.partition.time_range == june
    assert (month.cleaned.rows, month.cleaned.accepted, month.loaded.absent) == (33_068, 33_068, 10_132)
    assert is_sound(audit(stores))
    archived = stores.archive.read(month.partition.series, june)
    columns = [archived.column(name).to_pylist() for name in ("open", "high", "low", "close", "volume")]
    assert list(zip(*columns, strict=True)) == list(recorded_values(path, june).values())
