"""Law 8, no write is lost: what cannot be written as Parquet goes to JSON Lines, and a later run converts it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from etl.audit import audit, is_sound
from etl.errors import StoreError
from etl.ingest import clean_pages, load
from etl.read import read_candles
from etl.stores import Partition, Stores
from tests.archive.child import DEATHS, convert, convert_and_die, in_child
from tests.conftest import BTC
from tests.markets import DAYS, START, kline, put_pages
from tests.snapshots import archive_of, tables_of

PARTITION = Partition(BTC, DAYS)
ROWS = [kline(at, 100.0 + at // 60_000 % 7) for at in range(DAYS.start_ms, DAYS.end_ms, 60_000) if at % 11]


def _run(stores: Stores, run: str) -> None:
    put_pages(stores.raw, BTC, DAYS, ROWS)
    clean_pages(stores, PARTITION)
    load(stores, PARTITION, run)


@pytest.fixture
def february(stores: Stores) -> Path:
    """A folder where February's file must be, so that no user, not even root, can put it there."""
    folder = stores.settings.home / "archive" / "candles" / BTC.path / f"{START:%Y-%m}.parquet"
    folder.mkdir(parents=True)
    return folder


def _is_whole(stores: Stores) -> bool:
    """Return whether warehouse and archive hold all of it and agree on it."""
    stored = read_candles(BTC, DAYS, settings=stores.settings)
    return stored.num_rows == len(ROWS) and stores.archive.read(BTC, DAYS).equals(stored) and is_sound(audit(stores))


def test_a_load_whose_parquet_cannot_be_written_is_done_and_a_later_run_converts_it(
    stores: Stores, february: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The load commits and says so, the audit is sound, and once there is room the next run leaves no trace of it."""
    _run(stores, "first")
    (fallback,) = stores.archive.fallbacks()
    assert fallback.path == str(february.with_suffix(".jsonl"))
    assert f"{february} cannot be written" in caplog.text
    assert "chandler archive convert" in caplog.text
    assert _is_whole(stores)
    committed = tables_of(stores)
    february.rmdir()
    _run(stores, "second")
    assert stores.archive.fallbacks() == stores.archive.leftovers() == []
    assert _is_whole(stores)
    assert tables_of(stores) == committed
    assert [Path(name).suffix for name in archive_of(stores)] == [".parquet", ".parquet"]


def test_with_no_place_at_all_nothing_is_claimed(stores: Stores, february: Path) -> None:
    """The load fails as one if neither a fallback beside it nor one below the second root can be written."""
    february.with_suffix(".jsonl").mkdir()
    (stores.settings.home / "fallback").write_text("no folder")
    with pytest.raises(StoreError):
        _run(stores, "first")
    assert not any(tables_of(stores).values())


@pytest.mark.parametrize("death", DEATHS)
def test_a_conversion_that_is_killed_anywhere_loses_nothing(death: str, stores: Stores, february: Path) -> None:
    """At no step are the rows in neither place, nor is the account of them anything but sound."""
    _run(stores, "first")
    february.rmdir()
    roots = str(stores.settings.home / "archive"), str(stores.settings.home / "fallback")
    assert in_child(convert_and_die, death, *roots) == (-signal.SIGKILL, "")
    assert _is_whole(stores)
    assert in_child(convert, *roots) == (0, "")
    assert stores.archive.fallbacks() == []
    assert _is_whole(stores)
