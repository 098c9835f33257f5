"""Behaviour of the archive, whatever its root is: a folder or a bucket."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.archive import Archive, Fallback, Written
from etl.archive.root import Root
from etl.errors import ConfigError, StoreError, StoreUnavailableError
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from tests.archive.conftest import Bucket
from tests.conftest import BTC
from tests.markets import DAYS, START, candles_over

FEBRUARY, MARCH = (f"{BTC.path}/2024-{month}.parquet" for month in ("02", "03"))


def _hours(first: int, last: int) -> TimeRange:
    return TimeRange(START + timedelta(hours=first), START + timedelta(hours=last))


def test_what_was_written_is_read_and_not_written_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files come back as one table; the same write once more touches neither."""
    candles = candles_over(DAYS)
    written = archive.write(BTC, DAYS, candles)
    assert written == Written([FEBRUARY, MARCH], [])
    assert archive.read(BTC, DAYS).equals(candles)
    assert archive.read(BTC, _hours(3, 20)).equals(candles_over(_hours(3, 20)))

    def refuse(*_: Any) -> None:
        raise AssertionError("what is there already was written again")

    monkeypatch.setattr(Root, "write", refuse)
    assert archive.write(BTC, DAYS, candles) == Written([FEBRUARY, MARCH], [])


def test_an_emptied_month_has_no_file(archive: Archive) -> None:
    """A write of nothing takes out what was there, and with the last candle the file."""
    archive.write(BTC, DAYS, candles_over(DAYS))
    assert archive.write(BTC, DAYS, candles_over(DAYS).slice(0, 0)) == Written([FEBRUARY, MARCH], [])
    assert archive.files(BTC) == []
    assert archive.read(BTC, DAYS).num_rows == 0
    assert archive.write(BTC, DAYS, candles_over(DAYS).slice(0, 0)) == Written([], [])


def test_a_file_says_what_it_was_told_to_hold(archive: Archive) -> None:
    """Ranges add up and merge when they touch, candles or none; a caller who knows better says all of it."""
    for span in (_hours(0, 2), _hours(4, 5), _hours(2, 3)):
        archive.write(BTC, span, candles_over(_hours(0, 2)) if span == _hours(0, 2) else candles_over(span).slice(0, 0))
    (file,) = archive.files(BTC)
    facts = archive.facts(BTC, file)
    assert facts.covered == [_hours(0, 3), _hours(4, 5)] == archive.covered(BTC, _hours(1, 2))
    assert (facts.rows, facts.schema_version, len(facts.content_hash)) == (120, 1, 64)
    archive.write(BTC, _hours(0, 2), candles_over(_hours(0, 2)), covered=[_hours(0, 2), _hours(1, 400)])
    assert archive.covered(BTC, file.span) == [TimeRange(START, file.span.end)]
    assert archive.facts(BTC, file).content_hash == facts.content_hash


def test_the_archive_knows_its_series_files_and_leftovers(archive: Archive) -> None:
    """Series by their folders, files with size and age; what is set aside is read by nobody and left over."""
    assert (archive.series(), archive.leftovers(), archive.fallbacks()) == ([], [], [])
    future = Series("binance", "BTC/USDT:USDT-250627", Timeframe.H1)
    chinese = Series("binance", "币安人生/USDT", Timeframe.H1)
    for series in (BTC, future, chinese):
        archive.write(series, _hours(0, 2), candles_over(_hours(0, 2)))
    assert archive.series() == sorted([BTC, future, chinese])
    for number in (1, 2):
        (file,) = archive.files(BTC)
        assert (file.path, file.size_bytes > 1000, file.span.start.day) == (FEBRUARY, True, 1)
        assert abs(file.written_at - datetime.now(file.written_at.tzinfo)) < timedelta(minutes=5)
        assert archive.set_aside(file) == str(Path(FEBRUARY).with_name(f".{Path(FEBRUARY).name}.aside{number}"))
        assert archive.files(BTC) == []
        with pytest.raises(StoreError, match="not there any more"):
            archive.facts(BTC, file)
        archive.write(BTC, _hours(0, 2), candles_over(_hours(0, 2)))
    assert archive.series() == sorted([BTC, future, chinese])
    assert [Path(one.path).name for one in archive.leftovers()] == [f".2024-02.parquet.aside{n}" for n in (1, 2)]
    assert {one.what for one in archive.leftovers()} == {"set aside, since it could not be trusted"}


def test_what_a_bucket_refuses_is_kept_elsewhere_and_read_from_there(bucket: Bucket, tmp_path: Path) -> None:
    """A bucket that takes no more loses nothing: rows go below the second root, are read, merged with, converted."""
    archive = Archive(bucket.url(), tmp_path)
    archive.write(BTC, _hours(0, 4), candles_over(_hours(0, 4)))
    bucket.is_full = True
    for last in (8, 10):
        written = archive.write(BTC, _hours(4, last), candles_over(_hours(4, last)))
        assert written == Written([FEBRUARY], [str(tmp_path / "candles" / BTC.path / "2024-02.jsonl")])
        assert archive.read(BTC, _hours(0, 20)).equals(candles_over(_hours(0, last)))
    (fallback,) = archive.fallbacks()
    assert fallback == Fallback(BTC, archive.files(BTC)[0].span, written.fallbacks[0])
    with pytest.raises(StoreError, match="full|FORBIDDEN|403|UNKNOWN"):
        archive.convert(fallback)
    bucket.is_full = False
    archive.convert(fallback)
    assert archive.read(BTC, _hours(0, 20)).equals(candles_over(_hours(0, 10)))
    assert (archive.fallbacks(), archive.leftovers()) == ([], [])


def test_a_bucket_that_does_not_answer_is_worth_a_retry(bucket: Bucket, tmp_path: Path) -> None:
    """Nobody at the address is an error that a retry may help, and says where it is."""
    nowhere = bucket.url().replace(bucket.address, "127.0.0.1:9")
    with pytest.raises(StoreUnavailableError, match="s3://candles/folder.* cannot be listed just now"):
        Archive(nowhere, tmp_path).read(BTC, DAYS)


def test_both_roots_cannot_be_one(tmp_path: Path) -> None:
    """The second root is for when the first takes nothing, so it is another folder."""
    with pytest.raises(ConfigError, match="name another folder"):
        Archive(str(tmp_path), tmp_path)
