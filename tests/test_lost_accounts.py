"""An archive beside a warehouse that knows less: what was lost is read in, and nothing of the archive is given up."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest

from etl.audit import audit, is_sound, mend
from etl.errors import StoreError
from etl.health import check_archive
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.maintenance import flag_again
from etl.rebuild import plan_rebuild, run_rebuild
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import Load
from tests.conftest import BTC
from tests.markets import START, kline, put_pages
from tests.snapshots import account_of, archive_of, differences, lose_warehouse

DAY = timedelta(days=1)
FIRST = START - 20 * DAY  # all of it in one month, and so in one file
REBUILD = f"chandler warehouse rebuild {BTC}"


SETTLING = TimeRange(FIRST + 8 * DAY, FIRST + 8 * DAY + timedelta(hours=1))
"""A last load, so late that all that is absent before it has settled."""


def _hours(first: int, end: int) -> TimeRange:
    return TimeRange(FIRST + timedelta(hours=first), FIRST + timedelta(hours=end))


def _begin_to_load(stores: Stores, span: TimeRange, price: float = 100.0) -> None:
    """Lay out what a load begins with: each eleventh minute is not there, each seventieth far off the others."""
    times = [at for at in range(span.start_ms, span.end_ms, 60_000) if at // 60_000 % 11 or span == SETTLING]
    put_pages(stores.raw, BTC, span, [kline(at, price * (1.4 if at // 60_000 % 70 == 0 else 1.0)) for at in times])
    clean_pages(stores, Partition(BTC, span))


def _load(stores: Stores, span: TimeRange, price: float = 100.0) -> None:
    _begin_to_load(stores, span, price)
    load(stores, Partition(BTC, span), "test")


def _cut_off(stores: Stores, span: TimeRange) -> None:
    """Leave what a load leaves that is killed between the archive and the commit."""
    _begin_to_load(stores, span)
    with patch.object(Load, "write", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        load(stores, Partition(BTC, span), "killed")


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with some hours, of which a part was revised, and days later some more, all in one file."""
    _load(stores, _hours(0, 4))
    _load(stores, _hours(4, 7))
    _load(stores, _hours(3, 5), price=101.0)
    _load(stores, _hours(100, 102))
    _load(stores, SETTLING)
    judge_loads(stores, None, "test")
    return stores


def _fix(stores: Stores) -> None:
    mend(stores, audit(stores))


def _rebuild(stores: Stores) -> None:
    assert run_rebuild(stores, plan_rebuild(stores)) == []


@pytest.mark.parametrize("steps", [(_fix,), (_rebuild,), (_fix, _rebuild), (_rebuild, _fix)])
def test_a_new_warehouse_beside_a_full_archive_takes_nothing_out_of_it(
    steps: tuple[object, ...], loaded: Stores
) -> None:
    """Whichever command is tried first, the archive stays as it is, and the account comes back as it was."""
    before, files = account_of(loaded), archive_of(loaded)
    lose_warehouse(loaded)
    for step in steps:
        step(loaded)  # type: ignore[operator]
        assert archive_of(loaded) == files
    assert differences(account_of(loaded), before) == {}
    assert is_sound(audit(loaded))


@pytest.mark.parametrize("step", [_fix, _rebuild])
def test_days_that_a_new_warehouse_does_not_know_are_no_loads_that_were_cut_off(step: object, loaded: Stores) -> None:
    """Though others of the same file are loaded already: they are told as unknown, and read in beside these."""
    new = _hours(103, 105)
    _load(loaded, new)
    judge_loads(loaded, None, "test")
    before, archived = account_of(loaded), loaded.archive.read(BTC, _hours(0, 200))
    lose_warehouse(loaded)
    _load(loaded, new)
    files = archive_of(loaded)
    (account,) = audit(loaded)
    told = {(problem.time_range, problem.remedy) for problem in account.problems}
    assert told == {(_hours(0, 7), REBUILD), (_hours(100, 102), REBUILD), (SETTLING, REBUILD)}
    assert not any("cut off" in problem.what for problem in account.problems)
    (health,) = check_archive(loaded).series
    assert [ailment.remedy for ailment in health.ailments] == [REBUILD]
    step(loaded)  # type: ignore[operator]
    assert archive_of(loaded).keys() == files.keys(), "nothing is moved aside"
    flag_again(loaded, new.end)
    judge_loads(loaded, None, "test")
    assert differences(account_of(loaded), before) == {}
    assert loaded.archive.read(BTC, _hours(0, 200)).equals(archived)
    assert is_sound(audit(loaded))


def test_a_load_that_was_cut_off_is_told_from_what_is_lost_beside_it(loaded: Stores) -> None:
    """The rebuild leaves it to the load, which ends with all that it would have brought."""
    before, span, known = account_of(loaded), _hours(7, 8), _hours(103, 104)
    _cut_off(loaded, span)
    lose_warehouse(loaded)
    _load(loaded, known)
    (failure,) = run_rebuild(loaded, plan_rebuild(loaded))
    assert isinstance(failure, StoreError)
    assert (failure.time_range, "a load of it was cut off" in failure.message) == (span, True)
    (covered,) = account_of(loaded)["covered"].values()
    assert sorted([*next(iter(before["covered"].values())), known]) == covered
    (account,) = audit(loaded)
    (problem,) = account.problems
    assert (problem.time_range, "a load was cut off" in problem.what) == (span, True)
    load(loaded, Partition(BTC, span), "again")
    assert is_sound(audit(loaded))


@pytest.mark.parametrize("step", [_fix, _rebuild])
def test_without_any_account_all_that_the_archive_covers_counts_as_committed(step: object, loaded: Stores) -> None:
    """Nothing is left out or taken out: what a load wrote over, and what it added, cannot be told apart any more."""
    _cut_off(loaded, _hours(6, 9))
    files = archive_of(loaded)
    lose_warehouse(loaded)
    step(loaded)  # type: ignore[operator]
    assert archive_of(loaded) == files
    (covered,) = account_of(loaded)["covered"].values()
    assert covered == [_hours(0, 9), _hours(100, 102), SETTLING]
    assert is_sound(audit(loaded))


def test_only_what_lies_beside_it_is_taken_out_of_the_archive(loaded: Stores) -> None:
    """Pages that were cleaned and not loaded, of candles that the archive has otherwise, are no reason."""
    before, files = account_of(loaded), archive_of(loaded)
    _begin_to_load(loaded, _hours(0, 7), price=99.0)
    lose_warehouse(loaded)
    _fix(loaded)
    assert archive_of(loaded) == files
    assert differences(account_of(loaded), before) == {}


def test_a_part_is_read_in_by_itself(loaded: Stores) -> None:
    """An audit of a range mends that range, and leaves the rest as unknown as it was."""
    lose_warehouse(loaded)
    within = _hours(1, 3)
    (account,) = mend(loaded, audit(loaded, [BTC], within), within)
    assert is_sound([account]), account.problems
    assert (account.ranges, account.is_rebuilt) == ([within], True)
    assert {problem.remedy for problem in audit(loaded)[0].problems} == {REBUILD}
    assert to_ms(within.start) < to_ms(within.end)
