"""Proofs of candles that are kept in the archive alone: before they leave, and as long as they are away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etl.audit import SeriesAudit, audit, is_sound, mend
from etl.judging import judge_loads
from etl.schema import empty_candles, from_columns, to_columns
from etl.stores import Stores
from tests.retiring import BTC, bring_all_back, candles_held, hours, load_hours, load_ten_days, retire, retired_of
from tests.snapshots import archive_of, tables_of

FIX = f"chandler audit {BTC} --fix"


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with ten days of two series, a day at a time, two of them loaded twice."""
    load_ten_days(stores)
    return stores


def _archived(stores: Stores, hour: int, **values: float) -> None:
    """Let the archive hold something else in an hour; nothing, without values."""
    span = hours(hour, hour + 1)
    columns = to_columns(stores.archive.read(BTC, span))
    candles = from_columns(columns | {name: np.array([value]) for name, value in values.items()})
    stores.archive.write(BTC, span, candles if values else empty_candles())


LACKING = f"the archive does not hold what the checkpoint of {hours(0, 24)} vouches for"
UNLIKE = f"archive and warehouse do not hold the same in {hours(0, 24)}"


@pytest.mark.parametrize(("values", "why"), [({}, LACKING), ({"close": 100.2}, LACKING), ({"flags": 256}, UNLIKE)])
def test_what_the_archive_does_not_prove_stays(values: dict[str, float], why: str, loaded: Stores) -> None:
    """A day stays if the archive lacks a candle of it or has another one, and the report says so; the rest leaves."""
    _archived(loaded, 5, **values)
    report = retire(loaded, 10)
    assert report.problems == [f"{BTC} {hours(0, 24)} stays: {why}; see chandler audit {BTC}"]
    assert retired_of(loaded) == [hours(24, 240)]
    assert is_sound(mend(loaded, audit(loaded)))
    assert retire(loaded, 10).problems == []
    assert retired_of(loaded) == [hours(0, 240)]


def _problems(stores: Stores) -> SeriesAudit:
    (account, _) = audit(stores)
    assert not is_sound([account])
    return account


@pytest.mark.parametrize("values", [{}, {"close": 100.2}])
def test_what_the_archive_has_lost_of_what_it_alone_kept_only_the_exchange_can_mend(
    values: dict[str, float], loaded: Stores
) -> None:
    """The audit names it; nothing touches it until it is given up; then it is loaded as the exchange has it."""
    before = tables_of(loaded)
    retire(loaded, 4)
    _archived(loaded, 100, close=100.3)
    _archived(loaded, 80, **values)
    again = f"chandler ingest {BTC} --start 2024-12-30T00:00 --end 2024-12-31T00:00 --again"
    account = _problems(loaded)
    (problem,) = [p for p in account.problems if "the archive does not hold the candles" in p.what]
    assert (problem.time_range, problem.remedy) == (hours(72, 96), f"{FIX}, then {again}")
    with pytest.raises(Exception, match="the archive does not hold the candles of .* that it alone is to keep"):
        load_hours(loaded, BTC, 72, 80)
    audits = mend(loaded, [account])
    assert {problem.remedy.partition(" --start")[0] for problem in audits[0].problems} == {f"chandler ingest {BTC}"}
    load_hours(loaded, BTC, 72, 96)
    assert is_sound(mend(loaded, audit(loaded)))
    bring_all_back(loaded)
    assert tables_of(loaded)["candles"] == before["candles"]


BREAKAGES = [
    ("UPDATE quality SET stored = stored + 1 WHERE day = '2024-12-28'", "the quality of 1 day"),
    ("DELETE FROM quality WHERE day = '2024-12-28'", "the quality of 1 day"),
    ("DELETE FROM absences", "neither stored nor recorded as absent"),
    ("UPDATE checkpoints SET rows = rows + 1", "its checkpoint counts 25 candles"),
    ("UPDATE candle_revisions SET revision = 2", "not numbered from 1 without gaps"),
    (
        "INSERT INTO candles (series_id, open_time, open, high, low, close, volume, flags, source)"
        " VALUES (1, '2024-12-28 05:00Z', 1, 1, 1, 1, 1, 0, 1)",
        "that the archive alone is to keep are in the warehouse still",
    ),
]


@pytest.mark.parametrize(("statement", "complaint"), BREAKAGES)
def test_the_account_of_what_was_retired_is_proved_and_mended(statement: str, complaint: str, loaded: Stores) -> None:
    """A fault in the tables is found by the archive's candles, and mended without bringing them back."""
    retire(loaded, 6)
    before, files, retired = tables_of(loaded), archive_of(loaded), retired_of(loaded)
    with loaded.warehouse.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount
    audits = audit(loaded)
    problems = [problem for one in audits for problem in one.problems]
    assert [p for p in problems if complaint in p.what], problems
    mended = mend(loaded, audits)
    assert is_sound(mended), mended
    judge_loads(loaded, None, "test")
    assert tables_of(loaded) == before
    assert archive_of(loaded) == files
    assert retired_of(loaded) == retired


def test_flags_of_what_was_retired_are_mended_where_it_is(loaded: Stores) -> None:
    """The archive is written again, the warehouse gets nothing of it."""
    retire(loaded, 6)
    held, files = candles_held(loaded), archive_of(loaded)
    _archived(loaded, 5, flags=256)
    assert "1 candles have other flags than the rules find" in [problem.what for problem in _problems(loaded).problems]
    assert is_sound(mend(loaded, audit(loaded)))
    assert (candles_held(loaded), archive_of(loaded)) == (held, files)


def test_a_file_with_retired_candles_that_is_broken_is_kept_aside(loaded: Stores) -> None:
    """Nothing of it is deleted; put back in its place it proves again what it proved before."""
    retire(loaded, 4)
    (path,) = (path for path in Path(loaded.settings.home).rglob("2024.parquet") if "BTC" in str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert _problems(loaded)
    mend(loaded, audit(loaded))
    (aside,) = path.parent.glob("*aside*")
    assert aside.read_bytes() == whole[:-100]
    path.write_bytes(whole)
    assert is_sound(mend(loaded, audit(loaded)))
