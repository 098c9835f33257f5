"""The audit finds what is broken, where, and names what mends it; mending does, from whichever store is intact."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from etl.audit import SeriesAudit, audit, is_sound, mend
from etl.feeds_file import load_settings
from etl.handover import read_handover
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.maintenance import flag_again
from etl.quality import report_quality
from etl.schema import Flag, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import ensure_series
from tests.breakages import BREAKAGES
from tests.commands import runner
from tests.conftest import BTC
from tests.markets import START, candles_over, kline, put_pages
from tests.snapshots import archive_of, tables_of

MINUTE = timedelta(minutes=1)
SPAN = TimeRange(START, START + 60 * MINUTE)
HOLE = range(20, 30)
REVISED = range(6, 8)
FIX, AGAIN = "chandler audit binance:BTC/USDT:1m --fix", "chandler ingest binance:BTC/USDT:1m --start 2024-02-29T"


def _minutes(first: int, end: int) -> TimeRange:
    return TimeRange(START + first * MINUTE, START + end * MINUTE)


def _begin_to_load(stores: Stores, span: TimeRange, price: float = 100.0) -> None:
    """Lay out what a load of the range begins with."""
    times = range(span.start_ms, span.end_ms, 60_000)
    rows = [kline(at, price) for at in times if (at - to_ms(START)) // 60_000 not in HOLE]
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))


def _load(stores: Stores, span: TimeRange, price: float = 100.0) -> None:
    _begin_to_load(stores, span, price)
    load(stores, Partition(BTC, span), "test")


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with an hour loaded in two partitions, ten minutes of it absent, two revised twice."""
    for half in SPAN.windows(30 * 60_000):
        _load(stores, half)
    for price in (101.0, 102.0):
        _load(stores, _minutes(REVISED.start, REVISED.stop), price)
    judge_loads(stores, None, "test")
    return stores


def _break(stores: Stores, statement: str) -> None:
    with stores.warehouse.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount


def _mended(stores: Stores) -> SeriesAudit:
    (account,) = mend(stores, audit(stores))
    return account


def test_a_sound_store_is_called_sound(loaded: Stores) -> None:
    """Fifty stored and ten absent minutes are an hour, also when only a part of it is looked at."""
    (account,) = audit(loaded)
    assert is_sound([account]), account.problems
    assert (account.expected, account.stored, account.absent) == (60, 50, {"outage": 10})
    assert account.ranges == [SPAN]
    (part,) = audit(loaded, [BTC], _minutes(3, 25))
    assert (part.expected, part.stored, part.absent) == (22, 17, {"outage": 5})
    assert is_sound([part]), part.problems
    _break(loaded, "UPDATE candles SET close = 99.5 WHERE open_time = '2024-02-29 12:05Z'")
    (part,) = audit(loaded, [BTC], _minutes(10, 25))
    assert [problem.time_range for problem in part.problems] == [_minutes(0, 30)], "of which a part is looked at"
    assert is_sound(mend(loaded, [part], _minutes(10, 25)))
    (account,) = audit(loaded)
    assert mend(loaded, [account]) == [account], "what is sound is left alone"


@pytest.mark.parametrize(("statement", "complaint", "first", "end"), BREAKAGES)
def test_what_is_broken_in_the_warehouse_is_found_and_mended(
    statement: str, complaint: str, first: int | None, end: int | None, loaded: Stores
) -> None:
    """Each thing that can be wrong with the tables is found with its range and its remedy; mended, all is as before."""
    before, files = tables_of(loaded), archive_of(loaded)
    _break(loaded, statement)
    (account,) = audit(loaded)
    assert not is_sound([account])
    (problem, *_) = [problem for problem in account.problems if complaint in problem.what] or [account.problems]
    if first is not None and end is not None:
        assert problem.time_range == _minutes(first, end)
    assert problem.remedy == FIX
    (again,) = mend(loaded, [account])
    assert is_sound([again]), again.problems
    assert again.mended
    after = tables_of(loaded)
    lost = {"candles", "revisions", "quality"} if "candle_revisions" in statement else set()
    lost |= {"checkpoints"} if statement == "DELETE FROM checkpoints" else set()
    for table in before.keys() - lost:
        assert after[table] == before[table], table
    if not lost:
        assert archive_of(loaded) == files


def test_what_is_restored_stands_since_when_it_stood_before(loaded: Stores) -> None:
    """A candle that is put right is no later one to those who read as of a moment."""
    query = "SELECT open_time, close, stored_at FROM candles ORDER BY open_time"
    with loaded.warehouse.begin() as connection:
        before = connection.exec_driver_sql(query).all()
    _break(loaded, "UPDATE candles SET close = 99.5 WHERE open_time <= '2024-02-29 12:06Z'")
    _break(loaded, "DELETE FROM candles WHERE open_time = '2024-02-29 12:07Z'")
    assert is_sound([_mended(loaded)])
    with loaded.warehouse.begin() as connection:
        assert connection.exec_driver_sql(query).all() == before


def test_what_is_broken_in_the_archive_is_found_and_mended(loaded: Stores) -> None:
    """Candles that the archive lacks, has alone, or has with other values or flags are named and put right."""
    files = archive_of(loaded)
    lacking = _minutes(5, 6)
    loaded.archive.write(BTC, lacking, candles_over(lacking).slice(0, 0))
    loaded.archive.write(BTC, _minutes(25, 26), candles_over(_minutes(25, 26)))
    for minute, column, value in ((40, "volume", 7.5), (45, "flags", 256), (50, "source", 2)):
        span = _minutes(minute, minute + 1)
        columns = to_columns(loaded.archive.read(BTC, span))
        loaded.archive.write(BTC, span, from_columns(columns | {column: np.array([value])}))
    (account,) = audit(loaded)
    assert {(problem.time_range, problem.what, problem.remedy) for problem in account.problems} == {
        (lacking, "1 candles that the warehouse has are not in the archive", FIX),
        (_minutes(25, 26), "1 candles that the archive has are not in the warehouse", FIX),
        (_minutes(40, 41), "1 candles have other values in the archive than in the warehouse", FIX),
        (_minutes(45, 46), "1 candles have other flags or another source in the archive than in the warehouse", FIX),
        (_minutes(50, 51), "1 candles have other flags or another source in the archive than in the warehouse", FIX),
    }
    ((path, wrong),) = archive_of(loaded).items()
    account = _mended(loaded)
    assert is_sound([account])
    assert any("2 archived candles replaced by what a checkpoint vouches for" in what for what in account.mended)
    hidden = Path(path).with_name(f".{Path(path).name}.aside1")
    assert archive_of(loaded) == files | {str(hidden): wrong}, "it may hold the only copy"


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and nothing else PAR1"])
def test_an_archive_that_is_lost_or_broken_is_written_again(content: bytes | None, loaded: Stores) -> None:
    """From the warehouse, byte for byte; what cannot be read is kept beside it under another name."""
    (path,) = Path(loaded.settings.home).rglob("*.parquet")
    whole = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    (account,) = audit(loaded)
    assert not is_sound([account])
    assert {problem.remedy for problem in account.problems} == {FIX}
    assert is_sound([_mended(loaded)])
    assert path.read_bytes() == whole
    aside = sorted(path.parent.glob("*aside*"))
    assert [each.read_bytes() for each in aside] == ([] if content is None else [content])


def test_a_single_flipped_bit_is_found_and_mended(loaded: Stores) -> None:
    """Wherever in the file it is."""
    (path,) = Path(loaded.settings.home).rglob("*.parquet")
    whole = path.read_bytes()
    for at in np.random.default_rng(5).integers(0, len(whole), 5).tolist():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        (account,) = audit(loaded)
        if not is_sound([account]):
            assert is_sound([_mended(loaded)])
        assert path.read_bytes() == whole or is_sound(audit(loaded))


def test_what_neither_store_has_is_said_and_left(loaded: Stores) -> None:
    """Nothing is made up if both are broken: the command that asks the exchange is named, the rest is mended."""
    _break(loaded, "UPDATE candles SET close = 99.5 WHERE open_time = '2024-02-29 12:05Z'")
    (path,) = Path(loaded.settings.home).rglob("*.parquet")
    path.write_bytes(b"PAR1 and nothing else PAR1")
    remedies = {problem.what.split(" ")[0]: problem.remedy for problem in audit(loaded)[0].problems}
    assert remedies["neither"] == f"{AGAIN}12:00 --end 2024-02-29T12:30 --again"
    account = _mended(loaded)
    assert not is_sound([account])
    assert all(SPAN.start <= p.time_range.start < p.time_range.end <= _minutes(0, 30).end for p in account.problems)
    assert {problem.remedy.split(" --start")[0] for problem in account.problems} == {AGAIN.split(" --start")[0]}
    assert loaded.archive.read(BTC, SPAN).num_rows == 30, "what is intact is in the archive again, what is not is not"
    assert "neither" in account.problems[-1].what or any("neither" in problem.what for problem in account.problems)
    _load(loaded, _minutes(0, 30))
    assert is_sound([_mended(loaded)]), "as the exchange has it"


def test_what_both_stores_have_lost_is_not_believed_to_have_never_been(loaded: Stores) -> None:
    """That both lack a candle that a checkpoint counts makes them agree, not right."""
    loaded.archive.write(BTC, _minutes(5, 6), candles_over(_minutes(5, 6)).slice(0, 0))
    _break(loaded, "DELETE FROM candles WHERE open_time = '2024-02-29 12:05Z'")
    problems = _mended(loaded).problems
    assert "neither the warehouse nor the archive" in " ".join(problem.what for problem in problems)
    assert {problem.remedy.split(" --start")[0] for problem in problems} == {AGAIN.split(" --start")[0]}
    _load(loaded, _minutes(0, 30))
    assert is_sound([_mended(loaded)])


def test_holes_of_days_are_accounted_for(stores: Stores) -> None:
    """Also the quality of days between loads, which no run has requested, is what a recount gives."""
    _load(stores, _minutes(0, 10))
    later = TimeRange(START + timedelta(days=40), START + timedelta(days=40, minutes=10))
    _load(stores, later)
    (account,) = audit(stores)
    assert is_sound([account]), account.problems
    assert account.absent == {"not_requested": 40 * 1440 - 10}


@pytest.mark.parametrize(
    "early",
    [
        "UPDATE checkpoints SET asked_at = '2024-02-29 12:10Z' WHERE range_end = '2024-02-29 12:30Z'",
        # By an earlier version.
        "UPDATE checkpoints SET asked_at = NULL, loaded_at = '2024-02-29 12:10Z' WHERE range_end = '2024-02-29 12:30Z'",
    ],
)
def test_what_was_loaded_before_it_had_closed_only_the_exchange_can_mend(loaded: Stores, early: str) -> None:
    """A checkpoint from before its end is no matter of the stores."""
    _break(loaded, early)
    (problem,) = _mended(loaded).problems
    assert "before it had closed" in problem.what
    assert problem.remedy == f"{AGAIN}12:00 --end 2024-02-29T12:30 --again"


def test_a_load_cut_off_before_its_commit_is_found_and_taken_out(loaded: Stores) -> None:
    """Candles in the archive that no checkpoint vouches for are called what they are, and kept beside it."""
    files = archive_of(loaded)
    span = _minutes(60, 70)
    _begin_to_load(loaded, span)
    loaded.archive.write(BTC, span, read_handover(loaded.raw.partition(BTC, span).folder).candles)
    ((path, ahead),) = archive_of(loaded).items()
    (account,) = audit(loaded)
    (problem,) = account.problems
    assert (problem.time_range, problem.what) == (
        span,
        "10 archived candles outside every loaded range: a load was cut off",
    )
    assert problem.remedy.startswith(f"{AGAIN}13:00 --end 2024-02-29T13:10, or {FIX}")
    account = _mended(loaded)
    assert is_sound([account])
    assert "10 archived candles of a load that was cut off taken out" in account.mended[0]
    hidden = Path(path).with_name(f".{Path(path).name}.aside1")
    assert archive_of(loaded) == files | {str(hidden): ahead}


def test_a_load_cut_off_stays_covered_while_another_range_of_its_file_is_in_doubt(loaded: Stores) -> None:
    """Nothing is taken out where neither store has what a checkpoint vouches for, and the file covers what it did.

    Once that range is loaded again, mending takes out the load that was cut off, and all is sound.
    """
    span = _minutes(60, 70)
    _begin_to_load(loaded, span)
    loaded.archive.write(BTC, span, read_handover(loaded.raw.partition(BTC, span).folder).candles)
    _break(loaded, "UPDATE checkpoints SET value_hash = 'x', rows = 31 WHERE range_start = '2024-02-29 12:00Z'")
    before = archive_of(loaded)
    for _ in range(2):
        account = _mended(loaded)
        assert any("a load was cut off" in problem.what for problem in account.problems)
        assert not any("outside what their file says" in problem.what for problem in account.problems)
        assert archive_of(loaded) == before
    _load(loaded, _minutes(0, 30), 102.0)
    assert is_sound([_mended(loaded)])
    assert loaded.archive.covered(BTC, span) == [SPAN]


def test_a_hole_between_loads_that_nobody_recorded_is_found_and_recorded(stores: Stores) -> None:
    """A range between loaded ones is to be ingested, or at least known as not requested."""
    _load(stores, _minutes(0, 10))
    _load(stores, _minutes(40, 50))
    (account,) = audit(stores)
    assert is_sound([account]), account.problems
    assert account.absent == {"not_requested": 30}
    _break(stores, "DELETE FROM absences")
    (problem, *_) = audit(stores)[0].problems
    assert (problem.time_range, problem.what) == (
        _minutes(10, 40),
        "30 candles between loaded ranges not accounted for",
    )
    assert problem.remedy.startswith(f"{AGAIN}12:10 --end 2024-02-29T12:40, or {FIX}")
    account = _mended(stores)
    assert is_sound([account]), account.problems
    assert account.absent == {"not_requested": 30}


def test_candles_that_only_the_warehouse_has_are_never_taken_out(loaded: Stores) -> None:
    """Outside every loaded range they may be the only copy: to load the range is what remains."""
    _break(
        loaded,
        "INSERT INTO candles (series_id, open_time, open, high, low, close, volume, flags, source)"
        " VALUES (1, '2024-02-29 15:05Z', 1, 1, 1, 1, 1, 0, 1)",
    )
    (problem, *_) = _mended(loaded).problems
    assert problem.what == "1 stored candles lie outside every loaded range"
    assert problem.remedy == f"{AGAIN}15:05 --end 2024-02-29T15:06"


def test_a_hash_that_an_earlier_version_did_not_keep_is_renewed(loaded: Stores) -> None:
    """It is no problem by itself; mending makes it known again."""
    before = tables_of(loaded)
    _break(loaded, "UPDATE checkpoints SET value_hash = ''")
    (account,) = audit(loaded)
    assert is_sound([account])
    assert len(account.unproven) == 2
    assert is_sound([_mended(loaded)])
    assert tables_of(loaded) == before


def test_what_other_rules_have_flagged_is_sound_and_the_maintenance_flags_it_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, a changed rule or a new split the audit counts what today's rules flag otherwise."""
    monkeypatch.setenv("CHANDLER_RULES__OFF", '["price_outlier", "volume_outlier"]')
    earlier = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    _load(earlier, SPAN)
    monkeypatch.delenv("CHANDLER_RULES__OFF")
    (account,) = audit(stores)
    assert (is_sound([account]), account.flagged_otherwise) == (True, 50), account.problems
    assert is_sound(audit(earlier)), "by the rules that have flagged them nothing is otherwise"
    _break(stores, "UPDATE candles SET flags = flags | 64 WHERE open_time = '2024-02-29 12:05Z'")
    problems = [problem.what for problem in audit(stores)[0].problems]
    assert problems, "the stores differ"
    assert not any("than the rules find" in problem for problem in problems)
    assert flag_again(stores, SPAN.end).problems, "what is broken is for a person to see first"
    _break(stores, "UPDATE candles SET flags = flags & ~64 WHERE open_time = '2024-02-29 12:05Z'")
    assert flag_again(stores, SPAN.end).what == "50 candles of 1 series flagged again"
    (account,) = audit(stores)
    assert (is_sound([account]), account.flagged_otherwise, account.is_mendable) == (True, 0, False)
    (quality,) = report_quality(stores.warehouse)
    assert quality.whole.unjudged == 50
    _break(stores, "UPDATE candles SET flags = 0")
    assert not is_sound(audit(stores)), "whoever has flagged by today's rules is held to them"


def test_a_warehouse_that_was_lost_is_rebuilt_from_the_archive(loaded: Stores) -> None:
    """With every candle as it was flagged, its absences judged anew, and nothing but what only it knew missing."""
    before, files = tables_of(loaded), archive_of(loaded)
    with loaded.warehouse.begin() as connection:
        connection.exec_driver_sql("TRUNCATE series CASCADE")
        connection.exec_driver_sql("TRUNCATE candles, candle_revisions")
    part = _minutes(10, 25)
    (account,) = audit(loaded, (), part)
    ((span, what),) = [(problem.time_range, problem.what) for problem in account.problems]
    assert (span, what.partition(" holds ")[2]) == (part, "10 candles of it"), "the range that was asked for alone"
    (account,) = audit(loaded, (), TimeRange(START - timedelta(days=90), START - timedelta(days=80)))
    assert is_sound([account])
    (account,) = audit(loaded)
    (problem,) = account.problems
    assert "the warehouse does not know the series" in problem.what
    assert problem.remedy == "chandler warehouse rebuild binance:BTC/USDT:1m", "which is faster than --fix"
    account = _mended(loaded)
    assert is_sound([account]), account.problems
    assert (account.expected, account.stored) == (60, 50)
    after = tables_of(loaded)
    assert after["candles"] == before["candles"]
    assert {row[0] for row in after["candles"]} == {"BTC/USDT"}
    assert any(row[11] & Flag.REVISED for row in after["candles"]), "that it was revised is known still"
    assert [row[1:3] for row in after["absences"]] == [row[1:3] for row in before["absences"]]
    assert sum(row[3] for row in after["checkpoints"]) == 50
    assert archive_of(loaded) == files
    assert is_sound(audit(loaded))


def test_a_mistake_in_the_table_of_one_exchange_keeps_no_other_from_being_audited(
    loaded: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each series of that exchange is told what is wrong with the table, and is neither sound nor mended."""
    kraken = Series.parse("kraken:BTC/USD:1m")
    with loaded.warehouse.begin() as connection:
        ensure_series(connection, kraken)
    feeds = tmp_path / "feeds.toml"
    feeds.write_text("[exchanges.binance]\nfaster = true\n", encoding="utf-8")
    monkeypatch.setenv("CHANDLER_FEEDS", str(feeds))
    run = runner(monkeypatch, capsys)
    before = tables_of(loaded)
    for command in (["audit"], ["audit", "--fix"]):
        done = run(*command)
        assert done.status == 1
        assert f"{BTC}: not audited: {feeds}: exchanges.binance.faster: unknown key" in done.err
        assert str(kraken) in done.out
    assert tables_of(loaded) == before
    shown = json.loads(run("audit", "--json").raw)
    assert {one["series"]: bool(one["not_audited"]) for one in shown["series"]} == {str(BTC): True, str(kraken): False}
    assert not shown["sound"]
