"""Rebuilding: a warehouse that was lost is there again, from the archive alone, as it was."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text

from etl import rebuild
from etl.archive import Archive
from etl.audit import Problem, audit, is_sound, mend
from etl.cli import app
from etl.errors import ChandlerError
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.maintenance import flag_again
from etl.rebuild import LOST, plan_rebuild, run_rebuild
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.warehouse import REBUILT, Load, known_series, read_checkpoints
from tests.commands import runner
from tests.conftest import BTC
from tests.markets import START, kline, put_pages
from tests.snapshots import account_of, archive_of, differences, lose_warehouse, tables_of

ETH = Series.parse("binance:ETH/USDT:1m")
MINUTE = timedelta(minutes=1)
MIDNIGHT = START + timedelta(hours=12)  # where one file ends and the next begins
SLOTS = 40
Loads = list[tuple[Series, int, int, dict[int, float], bool]]
"""Series, first and last minute, prices, and whether it is cut off before it commits."""


def _load(
    stores: Stores, series: Series, first: int, end: int, prices: dict[int, float], is_cut_off: bool = False
) -> None:
    """Load the minutes from `first` to `end` around midnight: what has no price is not there."""
    partition = Partition(series, _minutes(first, end))
    inside = {MIDNIGHT + minute * MINUTE: price for minute, price in prices.items() if first <= minute < end}
    rows = [kline(int(at.timestamp() * 1000), price) for at, price in inside.items()]
    put_pages(stores.raw, series, partition.time_range, rows)
    clean_pages(stores, partition)
    if is_cut_off:
        with patch.object(Load, "write", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            load(stores, partition, "killed")
    else:
        load(stores, partition, f"load of {first}")


def _minutes(first: int, end: int) -> TimeRange:
    return TimeRange(MIDNIGHT + first * MINUTE, MIDNIGHT + end * MINUTE)


def _covered(stores: Stores) -> list[TimeRange]:
    """Return what the only file says that it covers."""
    (file,) = stores.archive.files(BTC)
    return stores.archive.facts(BTC, file).covered


def _fill(stores: Stores, loads: Loads) -> None:
    """Load, each series from a day before midnight to days after it, so that all that is absent has settled."""
    for series in (BTC, ETH):
        for first in (-1440, 4 * 1440):
            _load(stores, series, first, first + 3, dict.fromkeys(range(first, first + 3), 100.0))
    for one in loads:
        _load(stores, *one)
    judge_loads(stores, None, "test")


def _rebuild(stores: Stores) -> list[ChandlerError]:
    return run_rebuild(stores, plan_rebuild(stores))


def _mend(stores: Stores) -> list[Problem]:
    return [problem for account in mend(stores, audit(stores)) for problem in account.problems]


BRING_BACK: tuple[Callable[[Stores], Sequence[object]], ...] = (_rebuild, _mend)
"""Both return what could not be done."""


@st.composite
def _loads(draw: st.DrawFn) -> Loads:
    """Draw loads of overlapping ranges across midnight, whose candles are late, revised, and at times far off.

    Some are cut off once they have written the archive.
    """
    prices = st.dictionaries(st.integers(-SLOTS, SLOTS - 1), st.sampled_from([100.0, 100.5, 140.0]), min_size=10)
    bounds = st.tuples(st.integers(-SLOTS, SLOTS), st.integers(-SLOTS, SLOTS)).filter(lambda pair: pair[0] < pair[1])
    series = st.sampled_from([BTC, ETH])
    is_cut_off = st.sampled_from([False, False, True])
    return [(draw(series), *draw(bounds), draw(prices), draw(is_cut_off)) for _ in range(draw(st.integers(1, 5)))]


@given(loads=_loads())
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
def test_a_lost_warehouse_comes_back_as_it_was(
    loads: Loads, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Candles, flags, absences by kind, quality and what is covered are as before, whichever command brings them back.

    So they are after mending, which takes out of the archive what loads that were cut off have written, and no more.
    Where that was not done it counts as loaded, for both commands. The archive is untouched.
    """
    home = tmp_path_factory.mktemp("home")
    with open_stores(settings.model_copy(update={"home": home})) as stores:
        lose_warehouse(stores)
        _fill(stores, loads)
        before, ahead = account_of(stores), archive_of(stores)
        _keep(home, home / "kept")
        assert _mend(stores) == []
        assert differences(account_of(stores), before) == {}
        archive = archive_of(stores)
        for bring_back in BRING_BACK:
            lose_warehouse(stores)
            assert bring_back(stores) == []
            assert differences(account_of(stores), before) == {}
            assert archive_of(stores) == archive
            assert is_sound(audit(stores))
            done = tables_of(stores)
            assert all(not plan.tasks for plan in plan_rebuild(stores))
            assert bring_back(stores) == []
            assert tables_of(stores) == done, "a second time does nothing"
        if ahead == archive:
            return
        accounts = []
        for bring_back in BRING_BACK:
            _keep(home / "kept", home)
            lose_warehouse(stores)
            assert bring_back(stores) == []
            assert archive_of(stores).keys() == ahead.keys()
            assert flag_again(stores, START).problems == []
            accounts.append(account_of(stores))
        assert differences(*accounts) == {}


def _keep(home: Path, other: Path) -> None:
    """Copy the archive of a home into another one."""
    shutil.rmtree(other / "archive", ignore_errors=True)
    shutil.copytree(home / "archive", other / "archive")


@pytest.mark.parametrize("bring_back", BRING_BACK)
def test_what_was_silent_before_the_first_candle_of_a_file_comes_back(
    bring_back: Callable[[Stores], Sequence[object]], stores: Stores
) -> None:
    """A range that was loaded without a candle has no file to be covered by, until another load begins one."""
    _load(stores, BTC, -1440, -1437, dict.fromkeys(range(-1440, -1437), 100.0))
    _load(stores, BTC, 10, 20, {})
    _load(stores, BTC, 4 * 1440, 4 * 1440 + 3, dict.fromkeys(range(4 * 1440, 4 * 1440 + 3), 100.0))
    judge_loads(stores, None, "test")
    before = account_of(stores)
    lose_warehouse(stores)
    assert bring_back(stores) == []
    assert differences(account_of(stores), before) == {}


def test_what_was_loaded_empty_is_covered_with_the_first_write_of_a_file(stores: Stores) -> None:
    """A load that is killed once it has begun a file, and is run again, leaves the file with all that it covers."""
    _load(stores, BTC, 10, 20, {})
    write, spans = Archive.write, []

    def kill(*args: Any, **named: Any) -> None:
        write(*args, **named)
        spans.append(args[2])
        raise KeyboardInterrupt

    with patch.object(Archive, "write", kill), pytest.raises(KeyboardInterrupt):
        _load(stores, BTC, 30, 40, dict.fromkeys(range(30, 40), 100.0))
    partition = Partition(BTC, *spans)
    load(stores, partition, "again")
    assert _covered(stores) == [_minutes(10, 20), partition.time_range]
    assert is_sound(audit(stores))


@pytest.mark.parametrize("lost", ["file", "file of retired candles"])
def test_a_file_begun_again_does_not_cover_what_the_lost_one_held(lost: str, stores: Stores) -> None:
    """A load beside what a lost file held covers itself and what was loaded empty: the rest stays told as lost."""
    _load(stores, BTC, 0, 10, dict.fromkeys(range(5, 10), 100.0))
    _load(stores, BTC, 12, 15, {})
    judge_loads(stores, None, "test")
    if lost == "file of retired candles":
        with stores.warehouse.begin() as connection:
            connection.execute(text("DELETE FROM candles"))
            connection.execute(text("UPDATE checkpoints SET is_retired = rows > 0"))
    for path in Path(stores.settings.home).rglob("*.parquet"):
        path.unlink()
    later = 5 * 1440
    _load(stores, BTC, later, later + 3, dict.fromkeys(range(later, later + 3), 100.0))
    own = [_minutes(12, 15), _minutes(later, later + 3)]
    assert _covered(stores) == own
    assert not is_sound(audit(stores))
    lose_warehouse(stores)
    assert _rebuild(stores) == []
    assert account_of(stores)["covered"] == {BTC: own}


@pytest.mark.parametrize(
    ("step", "held"), [("before the commit", 1), ("after the commit", 2), ("before it is accounted for", 6)]
)
def test_a_killed_rebuild_goes_on(step: str, held: int, stores: Stores) -> None:
    """A process killed with SIGKILL in the middle leaves whole ranges; the next one does the rest."""
    _fill(stores, [(BTC, -SLOTS, SLOTS, dict.fromkeys(range(-30, 30), 100.0), False)])
    before = account_of(stores)
    lose_warehouse(stores)
    environment = {name: value for name, value in os.environ.items() if name.startswith("CHANDLER_")}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_rebuild"])
    child = context.Process(target=_rebuild_and_die, args=(step, environment))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(tables_of(stores)["checkpoints"]) == held
    assert _rebuild(stores) == []
    assert account_of(stores) == before


def _rebuild_and_die(step: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    calls = itertools.count(1)

    def die(*args: Any) -> None:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    rebuild._AT_ONCE = 1
    if step == "before the commit":
        write = Load.write
        Load.write = lambda *args, **named: (write(*args, **named), die())[0]  # type: ignore[method-assign]
    elif step == "before it is accounted for":
        rebuild.account_for_loads = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
    with open_stores(load_settings()) as stores:
        run_rebuild(stores, plan_rebuild(stores), die if step == "after the commit" else lambda *args: None)


def test_a_broken_file_is_named_and_left_out(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    """All other files are rebuilt, the command's exit status is 1, and what is missing is recorded as such."""
    _fill(stores, [(BTC, -SLOTS, SLOTS, dict.fromkeys(range(-SLOTS, SLOTS), 100.0), False)])
    before = account_of(stores)
    path = Path(stores.settings.home) / "archive/candles" / BTC.path / "2024-03.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    lose_warehouse(stores)
    with pytest.raises(SystemExit) as exit_status:
        app(["warehouse", "rebuild"])
    assert exit_status.value.code == 1
    said = capsys.readouterr()
    assert "2024-03.parquet cannot be trusted" in said.err
    assert "earlier values of revised candles" in said.err
    held = account_of(stores)
    assert held["covered"][ETH] == before["covered"][ETH]
    assert all(span.end <= MIDNIGHT for span in held["covered"][BTC])
    path.write_bytes(content)
    assert _rebuild(stores) == []
    assert account_of(stores) == before


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize("command", [["warehouse", "rebuild"], ["audit", "--fix"]])
def test_slots_without_a_candle_stay_in_the_account_and_what_is_lost_is_said(
    command: list[str],
    as_json: list[str],
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A day of which six hours came is a day; refused rows lose their kind, which whoever rebuilds is told."""
    day = TimeRange(START - timedelta(hours=12), START + timedelta(hours=12))
    noon_ms = int(START.timestamp() * 1000)
    hours = [kline(noon_ms + minute * 60_000, 100.0) for minute in range(-180, 180)]
    hours[7][2] = "1.0"  # a high below its low
    put_pages(stores.raw, BTC, day, hours)
    clean_pages(stores, Partition(BTC, day))
    load(stores, Partition(BTC, day), "test")
    judge_loads(stores, None, "test")
    (account,) = audit(stores)
    assert (account.expected, account.stored, account.absent["refused"]) == (1440, 359, 1)
    lose_warehouse(stores)
    done = runner(monkeypatch, capsys)(*command, *as_json)
    assert done.status == 0
    (account,) = audit(stores)
    assert is_sound([account])
    assert (account.expected, account.stored, account.ranges) == (1440, 359, [day])
    assert "refused" not in account.absent
    for what in LOST:
        assert what in done.err
    done = runner(monkeypatch, capsys)(*command, *as_json)
    assert (done.status, "did not come back" in done.err) == (0, False), "it has nothing left to do"


def test_a_warehouse_that_holds_something_else_is_left_alone(stores: Stores) -> None:
    """None of a series is touched if stored candles differ from the archive's, and the audit is named."""
    _fill(stores, [])
    with stores.warehouse.begin() as connection:
        connection.execute(text("DELETE FROM checkpoints"))
        connection.execute(text("UPDATE candles SET close = 100.5 WHERE series_id = 1 AND open_time > '2024-03-01'"))
    before = tables_of(stores)
    (failure,) = _rebuild(stores)
    assert "chandler audit binance:BTC/USDT:1m --fix" in str(failure)
    after = tables_of(stores)
    assert after["candles"] == before["candles"]
    symbols = [row[0] for row in after["checkpoints"]]
    assert symbols.count("ETH/USDT") == 2, "whose candles were there, and are vouched for again"


def test_a_load_under_way_is_waited_for_and_not_told_as_cut_off(stores: Stores) -> None:
    """Once it has committed, all that it has written is vouched for."""
    _load(stores, BTC, 0, 10, dict.fromkeys(range(10), 100.0))
    write, planned = Load.write, []

    def write_while_planned(*args: Any, **named: Any) -> Any:
        planning = threading.Thread(target=lambda: planned.extend(plan_rebuild(stores, [BTC])))
        planning.start()
        threads.append(planning)
        while planning.is_alive() and not _waits_for_a_series(stores):
            time.sleep(0.01)
        return write(*args, **named)

    threads: list[threading.Thread] = []
    with patch.object(Load, "write", write_while_planned):
        _load(stores, BTC, 20, 30, dict.fromkeys(range(20, 30), 100.0))
    threads[0].join()
    (plan,) = planned
    assert (plan.tasks, plan.failures) == ((), ())


def _waits_for_a_series(stores: Stores) -> bool:
    with stores.warehouse.begin() as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.execute(text(query)).scalar_one())


@pytest.mark.parametrize("is_partial", [False, True])
def test_what_was_loaded_since_a_rebuild_was_planned_stays_as_it_was_loaded(is_partial: bool, stores: Stores) -> None:
    """The rest is rebuilt. What a load was cut off in since is left to it where the account tells it apart."""
    _load(stores, BTC, 0, 20, dict.fromkeys(range(20), 100.0))
    lose_warehouse(stores)
    if is_partial:
        _load(stores, BTC, 100, 110, dict.fromkeys(range(100, 110), 100.0))
    plans = plan_rebuild(stores)
    _load(stores, BTC, 5, 10, dict.fromkeys(range(5, 9), 100.5))
    _load(stores, BTC, 15, 18, dict.fromkeys(range(15, 18), 100.5), is_cut_off=True)
    assert run_rebuild(stores, plans) == []
    rebuilt = [(0, 5), (10, 15), (18, 20)] if is_partial else [(0, 5), (10, 20)]
    with stores.warehouse.begin() as connection:
        found = {one.time_range: one.run for one in read_checkpoints(connection, known_series(connection)[BTC])}
    assert found.pop(_minutes(5, 10)) == "load of 5"
    assert found.pop(_minutes(100, 110), "load of 100") == "load of 100"
    assert found == {_minutes(*span): REBUILT for span in rebuilt}
    assert {row[1]: row[2] for row in tables_of(stores)["candles"]}[MIDNIGHT + 5 * MINUTE] == 100.5
