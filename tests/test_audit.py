"""The audit finds what is broken, where, and names what mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.audit import audit, is_sound
from etl.ingest import clean_pages, load
from etl.schema import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START, candles_over, kline, put_pages

SPAN = TimeRange(START, from_ms(to_ms(START) + 60 * 60_000))
HOLE = range(20, 30)


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with an hour loaded in two partitions, ten minutes of it absent."""
    times = range(SPAN.start_ms, SPAN.end_ms, 60_000)
    rows = [kline(at) for minute, at in enumerate(times) if minute not in HOLE]
    for half in SPAN.windows(30 * 60_000):
        put_pages(stores.raw, BTC, half, [row for row in rows if half.start_ms <= row[0] < half.end_ms])
        clean_pages(stores, Partition(BTC, half))
        load(stores, Partition(BTC, half), "test")
    return stores


def _break(stores: Stores, statement: str) -> None:
    with stores.warehouse.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount


def test_a_sound_store_is_called_sound(loaded: Stores) -> None:
    """Fifty stored and ten absent minutes are an hour, also when only a part of it is looked at."""
    (account,) = audit(loaded)
    assert is_sound([account]), account.problems
    assert (account.expected, account.stored, account.absent) == (60, 50, {"unexplained": 10})
    (part,) = audit(loaded, [BTC], TimeRange(START, from_ms(to_ms(START) + 25 * 60_000)))
    assert (part.expected, part.stored, part.absent) == (25, 20, {"unexplained": 5})
    assert is_sound([part])


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DELETE FROM candles WHERE open_time = '2024-02-29 12:05Z'", "1 candles are neither stored nor recorded"),
        ("DELETE FROM absences", "10 candles are neither stored nor recorded as absent"),
        (
            "UPDATE absences SET span = tstzrange('2024-02-29 12:19Z', upper(span))",
            "1 candles are stored and recorded as absent at once",
        ),
        ("UPDATE candles SET close = close + 1e-9 WHERE open_time = '2024-02-29 12:05Z'", "have different values"),
        ("UPDATE candles SET trades = NULL WHERE open_time = '2024-02-29 12:05Z'", "have different values"),
        (
            "UPDATE candles SET open_time = open_time + interval '7 s' WHERE open_time = '2024-02-29 12:05Z'",
            "1 candles are off the 1m grid",
        ),
        ("DELETE FROM checkpoints WHERE range_start = '2024-02-29 12:30Z'", "lie outside every loaded range"),
        ("UPDATE checkpoints SET content_hash = 'x'", "not those that its checkpoint vouches for"),
        ("UPDATE checkpoints SET loaded_at = '2024-02-29 12:10Z'", "before it had closed"),
    ],
)
def test_what_is_broken_in_the_warehouse_is_found(statement: str, complaint: str, loaded: Stores) -> None:
    """Each thing that can be wrong with the tables is found, with its range and a command that mends it."""
    _break(loaded, statement)
    (account,) = audit(loaded)
    assert not is_sound([account])
    (problem, *_) = [problem for problem in account.problems if complaint in problem.what]
    assert problem.remedy.startswith("chandler ingest binance:BTC/USDT:1m --start 2024-02-29T")
    assert SPAN.start <= problem.time_range.start < problem.time_range.end <= SPAN.end


def test_a_candle_that_the_archive_lacks_or_has_alone_is_found(loaded: Stores) -> None:
    """A candle missing from the archive, and one that only the archive has, are named with their minute."""
    one = TimeRange(from_ms(to_ms(START) + 5 * 60_000), from_ms(to_ms(START) + 6 * 60_000))
    loaded.archive.write(BTC, one, candles_over(one).slice(0, 0))
    two = TimeRange(from_ms(to_ms(START) + 25 * 60_000), from_ms(to_ms(START) + 26 * 60_000))
    loaded.archive.write(BTC, two, candles_over(two))
    (account,) = audit(loaded)
    found = {(problem.time_range, problem.what) for problem in account.problems}
    assert found == {
        (one, "the warehouse has candles that the archive lacks"),
        (two, "the archive has candles that the warehouse lacks"),
    }


def test_an_archive_that_cannot_be_read_is_found(loaded: Stores) -> None:
    """A broken file is a problem of the ranges that it holds, not the end of the audit."""
    (path,) = Path(loaded.settings.home).rglob("*.parquet")
    path.write_bytes(b"PAR1 and nothing else PAR1")
    (account,) = audit(loaded)
    assert any("cannot be trusted" in problem.what for problem in account.problems)


def test_a_load_cut_off_before_its_commit_is_found(loaded: Stores) -> None:
    """Candles in the archive that no checkpoint vouches for are called what they are."""
    later = TimeRange(SPAN.end, from_ms(SPAN.end_ms + 10 * 60_000))
    loaded.archive.write(BTC, later, candles_over(later))
    (account,) = audit(loaded)
    (problem,) = account.problems
    assert problem.what.startswith("10 archived candles lie outside every loaded range")
