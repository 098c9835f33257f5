"""Ranges of the archive's files are those that loads accounted for, and an audit keeps them so."""

from __future__ import annotations

from datetime import timedelta

from etl.audit import audit, is_sound, mend
from etl.ingest import clean_pages, load
from etl.series import TimeRange
from etl.stores import Partition, Stores
from tests.conftest import BTC
from tests.markets import START, kline, put_pages


def _minutes(first: int, end: int) -> TimeRange:
    return TimeRange(START + timedelta(minutes=first), START + timedelta(minutes=end))


def _load(stores: Stores, span: TimeRange, volume: float = 5.5) -> None:
    times = range(span.start_ms, span.end_ms, 60_000)
    rows = [kline(at, volume=f"{volume * (1 + at // 60_000 % 5 / 100)}") for at in times]
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), "test")


def test_what_loads_accounted_for_is_covered_and_nothing_between(stores: Stores) -> None:
    """A load that flags candles after it otherwise does not claim what lies between and was never asked for."""
    later = _minutes(90, 130)
    _load(stores, later)
    before = stores.archive.read(BTC, later)
    _load(stores, _minutes(0, 80), volume=1e-4)
    assert not stores.archive.read(BTC, later).equals(before), "beside what was traded before, it is much"
    assert stores.archive.covered(BTC, later) == [_minutes(0, 80), later]
    _load(stores, _minutes(80, 90))
    assert stores.archive.covered(BTC, later) == [_minutes(0, 130)]


def test_an_audit_makes_a_file_say_what_checkpoints_vouch_for(stores: Stores) -> None:
    """The claim of a load that was cut off is taken back when the file is mended; that of a lost one is honoured."""
    _load(stores, _minutes(0, 60))
    cut_off = _minutes(60, 70)
    nothing = stores.archive.read(BTC, cut_off)
    put_pages(stores.raw, BTC, cut_off, [])
    clean_pages(stores, Partition(BTC, cut_off))
    for span in (cut_off, _minutes(3, 5)):
        stores.archive.write(BTC, span, nothing)
    assert stores.archive.covered(BTC, cut_off) == [_minutes(0, 70)]
    assert is_sound(mend(stores, audit(stores)))
    assert stores.archive.covered(BTC, cut_off) == [_minutes(0, 60)]
    lost = _minutes(70, 80)
    stores.archive.write(BTC, lost, nothing)
    (account,) = mend(stores, audit(stores))
    assert is_sound([account]), account.problems
    assert account.ranges == [_minutes(0, 60), _minutes(60, 80)] or account.expected == 80


def test_a_fallback_that_is_spoilt_is_written_again_from_the_warehouse(stores: Stores) -> None:
    """It is found by the audit, moved aside whole, and its place filled."""
    folder = stores.settings.home / "archive" / "candles" / BTC.path / "2024-02.parquet"
    folder.mkdir(parents=True)
    _load(stores, _minutes(0, 60))
    fallback = folder.with_suffix(".jsonl")
    spoilt = fallback.read_bytes().replace(b'"volume":5.', b'"volume":6.', 1)
    fallback.write_bytes(spoilt)
    folder.rmdir()
    (account,) = audit(stores)
    assert any(str(fallback) in problem.what for problem in account.problems)
    assert is_sound(mend(stores, [account]))
    assert fallback.with_name(".2024-02.jsonl.aside1").read_bytes() == spoilt
    assert (folder.is_file(), stores.archive.fallbacks()) == (True, [])
