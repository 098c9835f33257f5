"""Rebuilding: a warehouse that was lost is there again, from the archive alone, as it was."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text

from etl import rebuild
from etl.audit import audit, is_sound
from etl.cli import app
from etl.errors import ChandlerError
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.rebuild import LOST, plan_rebuild, run_rebuild
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.warehouse import Load, covered_ranges, known_series, tables
from tests.commands import runner
from tests.conftest import BTC
from tests.markets import START, kline, put_pages
from tests.snapshots import archive_of, tables_of

ETH = Series.parse("binance:ETH/USDT:1m")
MINUTE = timedelta(minutes=1)
MIDNIGHT = START + timedelta(hours=12)  # where one file ends and the next begins
SLOTS = 40
Loads = list[tuple[Series, int, int, dict[int, float]]]


def _load(stores: Stores, series: Series, first: int, end: int, prices: dict[int, float]) -> None:
    """Load the minutes from `first` to `end` around midnight: what has no price is not there."""
    partition = Partition(series, TimeRange(MIDNIGHT + first * MINUTE, MIDNIGHT + end * MINUTE))
    inside = {MIDNIGHT + minute * MINUTE: price for minute, price in prices.items() if first <= minute < end}
    rows = [kline(int(at.timestamp() * 1000), price) for at, price in inside.items()]
    put_pages(stores.raw, series, partition.time_range, rows)
    clean_pages(stores, partition)
    load(stores, partition, f"load of {first}")


def _fill(stores: Stores, loads: Loads) -> None:
    """Load, each series from a day before midnight to days after it, so that all that is absent has settled."""
    for series in (BTC, ETH):
        for first in (-1440, 4 * 1440):
            _load(stores, series, first, first + 3, dict.fromkeys(range(first, first + 3), 100.0))
    for one in loads:
        _load(stores, *one)
    judge_loads(stores, None, "test")


def _lose(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def _account(stores: Stores) -> dict[str, Any]:
    """Return what is to come back, whatever the ranges that it was loaded in."""
    held = tables_of(stores)
    with stores.warehouse.begin() as connection:
        covered = {series: covered_ranges(connection, one) for series, one in known_series(connection).items()}
    return {
        "candles": held["candles"],
        "absences": held["absences"],
        "quality": [(*counts, flagged) for *counts, _, flagged, _ in held["quality"]],
        "covered": covered,
    }


def _rebuild(stores: Stores) -> list[ChandlerError]:
    return run_rebuild(stores, plan_rebuild(stores))


@st.composite
def _loads(draw: st.DrawFn) -> Loads:
    """Draw loads of overlapping ranges across midnight, whose candles are late, revised, and at times far off."""
    prices = st.dictionaries(st.integers(-SLOTS, SLOTS - 1), st.sampled_from([100.0, 100.5, 140.0]), min_size=10)
    bounds = st.tuples(st.integers(-SLOTS, SLOTS), st.integers(-SLOTS, SLOTS)).filter(lambda pair: pair[0] < pair[1])
    series = st.sampled_from([BTC, ETH])
    return [(draw(series), *draw(bounds), draw(prices)) for _ in range(draw(st.integers(1, 4)))]


@given(loads=_loads())
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
def test_a_lost_warehouse_comes_back_as_it_was(
    loads: Loads, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Candles, flags, absences by kind, quality and what is covered are as before; the archive is untouched."""
    home = tmp_path_factory.mktemp("home")
    with open_stores(settings.model_copy(update={"home": home})) as stores:
        _lose(stores)
        _fill(stores, loads)
        before, archive = _account(stores), archive_of(stores)
        _lose(stores)
        assert _rebuild(stores) == []
        assert _account(stores) == before
        assert archive_of(stores) == archive
        assert is_sound(audit(stores))
        done = tables_of(stores)
        assert all(not plan.tasks for plan in plan_rebuild(stores))
        assert _rebuild(stores) == []
        assert tables_of(stores) == done, "a second time does nothing"


@pytest.mark.parametrize(
    ("step", "held"), [("before the commit", 1), ("after the commit", 2), ("before it is accounted for", 6)]
)
def test_a_killed_rebuild_goes_on(step: str, held: int, stores: Stores) -> None:
    """A process killed with SIGKILL in the middle leaves whole ranges; the next one does the rest."""
    _fill(stores, [(BTC, -SLOTS, SLOTS, dict.fromkeys(range(-30, 30), 100.0))])
    before = _account(stores)
    _lose(stores)
    environment = {name: value for name, value in os.environ.items() if name.startswith("CHANDLER_")}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_rebuild"])
    child = context.Process(target=_rebuild_and_die, args=(step, environment))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(tables_of(stores)["checkpoints"]) == held
    assert _rebuild(stores) == []
    assert _account(stores) == before


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
    _fill(stores, [(BTC, -SLOTS, SLOTS, dict.fromkeys(range(-SLOTS, SLOTS), 100.0))])
    before = _account(stores)
    path = Path(stores.settings.home) / "archive/candles" / BTC.path / "2024-03.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    _lose(stores)
    with pytest.raises(SystemExit) as exit_status:
        app(["warehouse", "rebuild"])
    assert exit_status.value.code == 1
    said = capsys.readouterr()
    assert "2024-03.parquet cannot be trusted" in said.err
    assert "earlier values of revised candles" in said.err
    held = _account(stores)
    assert held["covered"][ETH] == before["covered"][ETH]
    assert all(span.end <= MIDNIGHT for span in held["covered"][BTC])
    path.write_bytes(content)
    assert _rebuild(stores) == []
    assert _account(stores) == before


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
    _lose(stores)
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
