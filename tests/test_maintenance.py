"""The nightly maintenance: what is old goes, what was left behind is put away, what is wrong is said."""

from __future__ import annotations

import ast
import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from etl import maintenance
from etl.audit import audit, is_sound
from etl.cli import app
from etl.errors import StoreError
from etl.extract import Page, RawPartition, Route, pruning
from etl.extract.raw import span_of
from etl.feeds_file import load_settings
from etl.health import Sample
from etl.ingest import clean_pages, load
from etl.keeping import Keep
from etl.maintenance import (
    STEPS,
    Done,
    fold_raw,
    maintain,
    make_days,
    prune_raw,
    retire,
    run_step,
    summary_lines,
    vacuum,
)
from etl.schema import empty_candles
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.warehouse import Quality, Warehouse, ensure_series, read_quality, try_lock_partition
from tests.conftest import BTC, REPOSITORY
from tests.markets import DAYS, START, candles_over, kline, put_pages

HOURS = [TimeRange(START + timedelta(hours=n), START + timedelta(hours=n + 1)) for n in range(4)]
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=2)


def _rows(span: TimeRange) -> list[list[object]]:
    return [kline(at) for at in range(span.start_ms, span.end_ms, 60_000)]


def _put(stores: Stores, span: TimeRange) -> RawPartition:
    put_pages(stores.raw, BTC, span, _rows(span))
    return stores.raw.partition(BTC, span)


def _load(stores: Stores, span: TimeRange) -> None:
    _put(stores, span)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), "test")


def _raw_files(stores: Stores) -> list[str]:
    root = stores.raw.root / BTC.path
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _age(path: Path, by: timedelta) -> None:
    then = (NOW - by).timestamp()
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then))


def test_raw_pages_are_kept_for_as_long_as_was_said(stores: Stores) -> None:
    """Of what was loaded or refused, reckoned from when it was written; what is under way stays, however old."""
    for span in HOURS[:2]:
        _load(stores, span)
    refused, under_way = (_put(stores, span) for span in HOURS[2:])
    aside = refused.folder.parent / "refused" / "20240229T1400-20240229T1500.1"  # as an earlier version did
    aside.parent.mkdir()
    refused.folder.rename(aside)
    folded = [aside.parents[1] / "folded" / f"20240229T1{n}00-20240229T1{n + 1}00.jsonl.zst" for n in (2, 3)]
    for path in (folded[0], under_way.folder):
        _age(path, timedelta(days=40))
    _age(aside, timedelta(days=29))
    assert "1 file of" in prune_raw(stores, NOW).what
    assert not folded[0].exists()
    assert folded[1].exists()
    assert aside.exists()
    patient = replace(stores, settings=stores.settings.model_copy(update={"keep": Keep(raw=timedelta(days=50))}))
    assert "0 files" in prune_raw(patient, NOW).what
    assert "3 files" in prune_raw(stores, NOW + timedelta(days=31)).what
    assert _raw_files(stores) == ["20240229T1500-20240229T1600/20240229T1500-20240229T1600.candles"] + [
        "20240229T1500-20240229T1600/pages.json"
    ]


def test_where_nothing_is_kept_no_folder_is(stores: Stores) -> None:
    """Empty folders go too, as far as they are the store's own."""
    _load(stores, HOURS[0])
    removed = stores.raw.root / BTC.path / "done" / "20240229T1200-20240229T1300.77"
    removed.mkdir(parents=True)
    prune_raw(stores, NOW)
    assert removed.exists(), "somebody may be at it"
    prune_raw(stores, NOW + timedelta(days=31))
    assert stores.raw.root.is_dir()
    assert list(stores.raw.root.iterdir()) == []


def test_what_a_killed_load_left_is_folded_once_it_is_nobodys(stores: Stores) -> None:
    """Pages of a range that is accounted for, after a day; those of another one a fetch may go on from."""
    whole = TimeRange(HOURS[0].start, HOURS[1].end)
    _load(stores, whole)
    listed, other = (_put(stores, span) for span in (HOURS[0], HOURS[3]))
    unlisted = stores.raw.partition(BTC, HOURS[1])
    unlisted.write_page(Page(BTC, HOURS[1], whole.end_ms, "[]", Route.AGAIN))
    before = _raw_files(stores)
    assert fold_raw(stores, NOW).what.startswith("0 ")
    assert _raw_files(stores) == before
    assert fold_raw(stores, LATER).what.startswith("2 ")
    assert not listed.folder.exists()
    assert not unlisted.folder.exists()
    assert other.folder.exists()
    names = [f"folded/{start}.jsonl.zst" for start in ("20240229T1200-20240229T1300", "20240229T1300-20240229T1400")]
    assert [name for name in _raw_files(stores) if name in names] == names
    lines = pa.CompressedInputStream(pa.OSFile(str(stores.raw.root / BTC.path / names[1])), "zstd").read()
    assert b'"route":"again"' in lines


def test_what_a_load_folds_at_the_same_moment_is_left_to_it(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder goes between two looks: before it is known how old it is, or before it is locked."""
    whole = TimeRange(HOURS[0].start, HOURS[1].end)
    _load(stores, whole)
    looked, locked = (_put(stores, span) for span in HOURS[:2])

    def see(name: str) -> TimeRange | None:
        span = span_of(name)
        if span == looked.time_range:
            looked.fold_rest()
        return span

    def lock(warehouse: Warehouse, series: Series, time_range: TimeRange) -> bool:
        locked.fold_rest()
        return try_lock_partition(warehouse, series, time_range)

    monkeypatch.setattr(pruning, "span_of", see)
    monkeypatch.setattr(maintenance, "try_lock_partition", lock)
    assert fold_raw(stores, LATER) == Done("0 partitions left behind folded", [])
    assert not looked.folder.exists()
    assert not locked.folder.exists()


def test_two_removals_of_the_same_pages_at_once_do_no_harm(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that one of them finds gone are the other's."""
    for span in HOURS[:3]:
        _load(stores, span)
    gone, theirs, own = sorted((stores.raw.root / BTC.path / "folded").iterdir())
    newest, remove = pruning._newest, pruning._remove

    def see(path: Path) -> float:
        if path == gone:
            path.unlink()
        return newest(path)

    def take(path: Path, pruned: pruning.Pruned) -> None:
        if path == theirs:
            path.unlink()
        remove(path, pruned)

    monkeypatch.setattr(pruning, "_newest", see)
    monkeypatch.setattr(pruning, "_remove", take)
    assert prune_raw(stores, NOW + timedelta(days=31)).what.startswith("1 file of raw pages")
    assert not own.exists()


def test_all_steps_are_done_and_done_again(stores: Stores) -> None:
    """On stores of which nothing was ever loaded, and on loaded ones; a second run finds nothing to do."""
    assert [report.step for report in maintain(stores, NOW) if not report.done.problems] == list(STEPS)
    for span in HOURS:
        _load(stores, span)
    short = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=1))})
    brief = replace(stores, settings=short)
    first = {report.step: report.done.what for report in maintain(brief, NOW)}
    assert first["retire"].startswith("240 candles")
    again = {report.step: report.done for report in maintain(brief, NOW)}
    assert again["retire"].what.startswith("0 candles")
    assert not any(done.problems for done in again.values())


def test_a_step_that_fails_keeps_no_other(stores: Stores) -> None:
    """Its failure and what is wrong elsewhere are told, below what each step did."""
    _load(stores, DAYS)
    minute = TimeRange(START, START + timedelta(minutes=1))
    stores.archive.write(BTC, minute, empty_candles())
    with (
        patch("etl.maintenance.prune", side_effect=StoreError("no rights")),
        patch.object(Sample, "has", return_value=True),
    ):
        reports = list(maintain(stores, NOW))
    lines = summary_lines(reports)
    assert [report.step for report in reports] == list(STEPS)
    assert lines[: len(STEPS)] == [line for line in lines if " s  " in line]
    assert lines[len(STEPS)] == "prune_raw: no rights"
    assert lines[-1].startswith("check_sample: ")
    assert lines[-1].endswith(f"chandler audit {BTC} --fix")


def test_a_mistake_in_the_table_of_one_exchange_keeps_no_other_from_being_flagged_again(
    stores: Stores, tmp_path: Path
) -> None:
    """Other rules flag the candles of Binance again, and what is wrong with the table of Kraken is told."""
    _load(stores, HOURS[0])
    kraken = Series.parse("kraken:BTC/USD:1m")
    with stores.warehouse.begin() as connection:
        ensure_series(connection, kraken)
    feeds = tmp_path / "feeds.toml"
    feeds.write_text("[exchanges.kraken]\nfaster = true\n[rules]\nfrozen_after = 5\n", encoding="utf-8")
    own = {"home": stores.settings.home, "warehouse_url": stores.settings.warehouse_url}
    done = run_step(replace(stores, settings=load_settings(feeds, **own)), "flag_again", NOW).done
    assert done.what.endswith(" of 1 series flagged again")
    (problem,) = done.problems
    assert problem.startswith(f"candles of kraken are not flagged again: {feeds}: exchanges.kraken.faster: unknown key")


def test_days_that_an_earlier_version_has_counted_get_their_candle(stores: Stores) -> None:
    """From the warehouse, or from the archive which alone keeps them; the same that a load makes. Audit is patient."""
    _load(stores, DAYS)
    made = _quality(stores)
    assert [day.candle and day.candle.volume for day in made.values()] == [5.5 * 720, 5.5 * 1440, 5.5 * 720]
    _forget_candles(stores)
    (account,) = audit(stores)
    assert is_sound([account]), account.problems
    assert make_days(stores, NOW).what.startswith("the candles of 3 days")
    assert _quality(stores) == made
    assert make_days(stores, NOW).what.startswith("the candles of 0 days")
    short = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=1))})
    assert retire(replace(stores, settings=short), NOW).what.startswith("2,880 candles")
    _forget_candles(stores)
    assert make_days(stores, NOW).what.startswith("the candles of 3 days")
    assert _quality(stores) == made


def test_days_whose_candles_are_gone_are_told_each_night(stores: Stores) -> None:
    """The notice has their number, their place, and the command that says more: nobody takes it for done."""
    _load(stores, DAYS)
    short = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=1))})
    retire(replace(stores, settings=short), NOW)
    _forget_candles(stores)
    (march,) = Path(stores.settings.home).rglob("2024-03.parquet")
    march.unlink()
    told = [f"{BTC} [2024-03-01 00:00, 2024-03-03 00:00): 2 days without a candle; chandler audit {BTC}"]
    assert make_days(stores, NOW) == Done("the candles of 1 day made, counted without before", told)
    assert make_days(stores, NOW).problems == told


def _quality(stores: Stores) -> dict[date, Quality]:
    with stores.warehouse.begin() as connection:
        return read_quality(connection, 1)


def _forget_candles(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE quality SET open = null, high = null, low = null, close = null, volume = null"
        )


def test_tables_of_which_much_is_dead_are_vacuumed(stores: Stores) -> None:
    """A tenth, and fifty thousand rows: less is left to PostgreSQL."""
    _load(stores, DAYS)
    assert vacuum(stores, NOW).what.startswith("0 ")
    with stores.warehouse.begin() as connection:
        for _ in range(20):
            connection.exec_driver_sql("UPDATE candles SET flags = flags")
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    assert run_step(stores, "vacuum", NOW).done.what.startswith("1 ")
    with stores.warehouse.begin() as connection:
        query = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'candles'"
        assert connection.exec_driver_sql(query).scalar_one() < 50_000


def test_the_dag_knows_every_step() -> None:
    """Its names, which are cheap to import, are those of the steps."""
    source = (REPOSITORY / "plugins" / "chandler_airflow" / "maintenance.py").read_text()
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(assigned["STEPS"]) == tuple(STEPS)


def test_the_command_shows_each_step_and_fails_with_any(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a step, a line a problem, exit status 1 if there is one."""
    _load(stores, HOURS[0])
    done = CliRunner().invoke(app, ["maintain"])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == list(STEPS)
    stores.archive.write(BTC, HOURS[0], candles_over(HOURS[0]).slice(5))
    monkeypatch.setattr(Sample, "has", lambda *_: True)
    wrong = CliRunner().invoke(app, ["maintain"])
    assert wrong.exit_code == 1
    assert "55 candles" in wrong.output
