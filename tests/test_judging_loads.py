"""Judging what loads left behind: by what else is held, whoever was loaded first, and again when more is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest

from etl import verdicts
from etl.audit import audit, is_sound, mend
from etl.extract import Bounds
from etl.feeds import SeriesSettings
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_absences, read_quality, unjudged_loads
from tests.markets import kline, put_pages

DAY = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
MINUTE_MS = 60_000
BTC, ETH, XRP = (Series.parse(f"binance:{base}/USDT:1m") for base in ("BTC", "ETH", "XRP"))
OUTAGE, HALT = range(300, 420), range(600, 660)


def _load(stores: Stores, series: Series, lacks: set[int], asked_after_ms: int = 10**9) -> None:
    rows = [kline(DAY.start_ms + minute * MINUTE_MS) for minute in range(1440) if minute not in lacks]
    put_pages(stores.raw, series, DAY, rows, asked_at_ms=DAY.end_ms + asked_after_ms)
    clean_pages(stores, Partition(series, DAY))
    load(stores, Partition(series, DAY), "test")


def _kinds(stores: Stores, series: Series) -> list[tuple[str, int, int]]:
    with stores.warehouse.begin() as connection:
        return [
            (a.kind.value, (a.span.start_ms - DAY.start_ms) // MINUTE_MS, (a.span.end_ms - DAY.start_ms) // MINUTE_MS)
            for a in read_absences(connection, known_series(connection)[series])
        ]


@pytest.mark.parametrize("order", list(permutations((BTC, ETH, XRP)))[:3])
def test_the_kinds_do_not_depend_on_who_was_loaded_first(order: tuple[Series, ...], stores: Stores) -> None:
    """Judged after every load, the outage of all and the halt of one are told apart once all are there."""
    for series in order:
        _load(stores, series, set(OUTAGE) | (set(HALT) if series is ETH else set()))
        judge_loads(stores, "binance", "test")
    assert _kinds(stores, BTC) == _kinds(stores, XRP) == [("outage", 300, 420)]
    assert _kinds(stores, ETH) == [("outage", 300, 420), ("halted", 600, 660)]
    assert judge_loads(stores, "binance", "test").changes == 0, "what is judged is left alone"
    with stores.warehouse.begin() as connection:
        assert unjudged_loads(connection) == []
        (day,) = read_quality(connection, known_series(connection)[ETH]).values()
        changes = connection.exec_driver_sql("SELECT kind_before, kind_after, evidence FROM absence_changes").all()
    assert (day.expected, day.stored, day.absent) == (1440, 1260, {"outage": 120, "halted": 60})
    assert {(before, after) for before, after, _ in changes} >= {("pending", "outage")}
    assert all(evidence for *_, evidence in changes)
    assert is_sound(audit(stores))


def test_an_exchange_that_sends_rows_to_refuse_is_not_silent(stores: Stores) -> None:
    """While one symbol's rows are refused another one's silence is a halt, and the refused candles are called so."""
    _load(stores, BTC, set(OUTAGE))
    rows = [kline(DAY.start_ms + m * MINUTE_MS, **({"low": "-1"} if m in OUTAGE else {})) for m in range(1440)]
    put_pages(stores.raw, ETH, DAY, rows)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    clean_pages(patient, Partition(ETH, DAY))
    load(patient, Partition(ETH, DAY), "test")
    judge_loads(stores, "binance", "test")
    assert _kinds(stores, BTC) == [("halted", 300, 420)]
    assert _kinds(stores, ETH) == [("refused", 300, 420)]


def test_what_is_young_is_not_judged_until_it_is_asked_for_again(stores: Stores) -> None:
    """A minute that was asked for within a day of its end is pending; asked for again later it gets its kind."""
    hour_ms = 3_600_000
    _load(stores, BTC, set(OUTAGE), asked_after_ms=hour_ms)
    _load(stores, ETH, set(OUTAGE), asked_after_ms=hour_ms)
    assert judge_loads(stores, None, "test").changes == 0
    assert _kinds(stores, BTC) == [("pending", 300, 420)]
    with stores.warehouse.begin() as connection:
        (absence,) = read_absences(connection, known_series(connection)[BTC])
    assert absence.next_probe == DAY.start + timedelta(minutes=420) + timedelta(hours=24), "it is asked for again then"
    _load(stores, BTC, set(OUTAGE), asked_after_ms=48 * hour_ms)
    _load(stores, ETH, set(OUTAGE), asked_after_ms=48 * hour_ms)
    judge_loads(stores, None, "test")
    assert _kinds(stores, BTC) == [("outage", 300, 420)]


def test_a_silence_that_is_young_at_its_end_alone_is_judged_before_that(stores: Stores) -> None:
    """Two days without a candle, asked for as they ended: the first is judged, though no other candle is near."""
    days = TimeRange(DAY.start, DAY.end + timedelta(days=1))
    put_pages(stores.raw, BTC, days, [], asked_at_ms=days.end_ms + 1)
    raw = stores.raw.partition(BTC, days)
    fetched = raw.read_list()
    assert fetched is not None
    raw.write_list(replace(fetched, bounds=Bounds(first_ms=DAY.start_ms - 40 * 1440 * MINUTE_MS)))
    clean_pages(stores, Partition(BTC, days))
    load(stores, Partition(BTC, days), "test")
    assert judge_loads(stores, "binance", "test").failures == {}
    assert _kinds(stores, BTC) == [("outage", 0, 1440), ("pending", 1440, 2880)]
    assert is_sound(audit(stores))


def test_a_judged_absence_keeps_its_kind_when_it_is_asked_for_again(stores: Stores) -> None:
    """A load that finds the same silence counts as a probe; one that finds candles ends the absence, and says so."""
    for series in (BTC, ETH):
        _load(stores, series, set(OUTAGE))
    judge_loads(stores, "binance", "test")
    _load(stores, BTC, set(OUTAGE))
    with stores.warehouse.begin() as connection:
        (absence,) = read_absences(connection, known_series(connection)[BTC])
    assert (absence.kind, absence.probes) == ("outage", 1)
    assert absence.asked_at is not None
    assert absence.next_probe == absence.asked_at + timedelta(days=3), "the second pause is longer than the first"
    _load(stores, BTC, set(OUTAGE) - set(range(310, 320)))
    assert _kinds(stores, BTC) == [("outage", 300, 310), ("outage", 320, 420)]
    with stores.warehouse.begin() as connection:
        filled = connection.exec_driver_sql(
            "SELECT kind_before, lower(span) FROM absence_changes WHERE kind_after IS NULL"
        ).one()
    assert filled == ("outage", DAY.start + timedelta(minutes=310))
    assert to_ms(filled[1]) % MINUTE_MS == 0
    assert np.diff([end for *_, end in _kinds(stores, BTC)]).all()


def test_a_series_that_cannot_be_judged_stops_no_other(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged and returned, the others are judged, and it is judged once its accounts are whole again."""
    for series in (BTC, ETH):
        _load(stores, series, set(OUTAGE))
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE lost AS WITH gone AS (DELETE FROM checkpoints "
            "WHERE series_id = (SELECT id FROM series WHERE symbol = 'ETH/USDT') RETURNING *) SELECT * FROM gone"
        )
    judged = judge_loads(stores, None, "test")
    assert list(judged.failures) == [ETH]
    assert "binance:ETH/USDT:1m: absences cannot be classified: ValueError" in str(judged.failures[ETH])
    assert "Traceback" in caplog.text
    assert _kinds(stores, BTC) == [("outage", 300, 420)]
    assert _kinds(stores, ETH) == [("pending", 300, 420)]
    with stores.warehouse.begin() as connection:
        assert {load.series for load in unjudged_loads(connection)} == {ETH}
        connection.exec_driver_sql("INSERT INTO checkpoints SELECT * FROM lost")
    assert not judge_loads(stores, None, "test").failures
    assert _kinds(stores, ETH) == [("outage", 300, 420)]


def test_a_series_that_fails_beside_a_load_of_another_is_judged_later(stores: Stores) -> None:
    """The meaning of its neighbour's load is made up for, although it had no load of its own to be judged by."""
    _load(stores, ETH, set(HALT))
    judge_loads(stores, None, "test")
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE lost AS WITH gone AS (DELETE FROM checkpoints RETURNING *) TABLE gone")
    _load(stores, BTC, set())
    assert list(judge_loads(stores, None, "test").failures) == [ETH]
    assert _kinds(stores, ETH) == [("outage", 600, 660)]
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("INSERT INTO checkpoints SELECT * FROM lost")
    assert not judge_loads(stores, None, "test").failures
    assert _kinds(stores, ETH) == [("halted", 600, 660)]


def test_absences_of_every_timeframe_are_judged(stores: Stores) -> None:
    """A slot that lacks the candle of one of two series is no longer pending, however wide the slots are."""
    for timeframe in Timeframe:
        span = TimeRange(DAY.start, DAY.start + 48 * timeframe.delta)
        for base, lacks in (("BTC", {span.start_ms + 20 * timeframe.ms}), ("ETH", set())):
            series = Series("binance", f"{base}/USDT", timeframe)
            rows = [kline(at) for at in range(span.start_ms, span.end_ms, timeframe.ms) if at not in lacks]
            put_pages(stores.raw, series, span, rows)
            clean_pages(stores, Partition(series, span))
            load(stores, Partition(series, span), "test")
    judged = judge_loads(stores, None, "test")
    assert (judged.changes, judged.failures) == (len(Timeframe), {})
    with stores.warehouse.begin() as connection:
        found = {
            series: [(absence.kind, absence.span) for absence in read_absences(connection, series_id)]
            for series, series_id in known_series(connection).items()
        }
    for timeframe in Timeframe:
        start = DAY.start + 20 * timeframe.delta
        expected = [("halted", TimeRange(start, start + timeframe.delta))]
        assert found[Series("binance", "BTC/USDT", timeframe)] == expected
        assert found[Series("binance", "ETH/USDT", timeframe)] == []


def test_between_two_coins_of_one_name_one_ends_and_another_begins(stores: Stores) -> None:
    """The silence is no halt if the settings split a series; its first candle after is flagged, and all adds up."""
    split = {"binance:ETH/USDT": SeriesSettings(split=(DAY.start + timedelta(minutes=650),))}
    told = replace(stores, settings=stores.settings.model_copy(update={"series": split}))
    for series in (BTC, ETH):
        _load(told, series, set(OUTAGE) | (set(HALT) if series is ETH else set()))
    judge_loads(told, "binance", "test")
    assert _kinds(told, ETH) == [("outage", 300, 420), ("delisted", 600, 650), ("not_listed", 650, 660)]
    with told.warehouse.begin() as connection:
        flagged = read_quality(connection, known_series(connection)[ETH])[DAY.start.date()].flagged
        evidence = [one.evidence for one in read_absences(connection, known_series(connection)[ETH])]
    assert flagged["new_coin"] == 1
    assert "another coin has the symbol since 2024-03-01 10:50" in evidence[1]
    assert judge_loads(told, "binance", "test").changes == 0
    assert is_sound(audit(told))
    # Told of the split only later, what is stored is flagged anew by the audit.
    _load(stores, XRP, set(HALT))
    later = {"binance:XRP/USDT": SeriesSettings(split=(DAY.start + timedelta(minutes=660),))}
    told = replace(stores, settings=stores.settings.model_copy(update={"series": {**split, **later}}))
    (found,) = audit(told, [XRP])
    assert found.flagged_otherwise > 0
    (mended,) = mend(told, [found])
    assert is_sound([mended])
    assert mended.flagged_otherwise == 0


def test_what_lies_before_the_first_candle_is_no_halt(stores: Stores) -> None:
    """Nothing says that it was listed then; an older candle does, whoever was loaded first."""
    for series in (BTC, XRP):
        _load(stores, series, set(OUTAGE))
    _load(stores, ETH, set(range(420)) | set(HALT))
    judge_loads(stores, "binance", "test")
    assert _kinds(stores, ETH) == [("no_trades", 0, 420), ("halted", 600, 660)]
    assert _kinds(stores, BTC) == [("outage", 300, 420)]
    with stores.warehouse.begin() as connection:
        evidence = read_absences(connection, known_series(connection)[ETH])[0].evidence
    assert evidence == "no candle of it came before the first, at 2024-03-01 07:00: not traded, or not listed yet"
    # A day of the week before says that it was: what was unknown is judged, although nothing near it was loaded.
    week = timedelta(days=7)
    past = TimeRange(DAY.start - week, DAY.end - week)
    rows = [kline(past.start_ms + minute * MINUTE_MS) for minute in range(1440)]
    put_pages(stores.raw, ETH, past, rows, asked_at_ms=DAY.end_ms + 10**9)
    clean_pages(stores, Partition(ETH, past))
    load(stores, Partition(ETH, past), "test")
    judge_loads(stores, "binance", "test")
    told = [kind for kind in _kinds(stores, ETH) if kind[1] >= 0]
    assert told == [("halted", 0, 300), ("outage", 300, 420), ("halted", 600, 660)]
    assert is_sound(audit(stores))


def test_many_absences_are_judged_before_they_are_written(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thin series' silences are not recorded as pending first, and come to the same kinds as if they were."""
    drawn = np.random.default_rng(0).random((2, 1440)) < 0.5
    drawn[0, :600] = drawn[1, OUTAGE] = True
    lacks = [set(np.flatnonzero(each).tolist()) for each in drawn]
    told = []
    for worth_reading, is_at_once in ((10**9, False), (verdicts._WORTH_READING, True)):
        monkeypatch.setattr(verdicts, "_WORTH_READING", worth_reading)
        for series, minutes in zip((BTC, ETH), lacks, strict=True):
            _load(stores, series, minutes)
        with stores.warehouse.begin() as connection:
            recorded = [read_absences(connection, number) for number in known_series(connection).values()]
            pending = sum(one.kind == "pending" for each in recorded for one in each)
        at_once = _kinds(stores, ETH)
        judge_loads(stores, "binance", "test")
        assert (_kinds(stores, ETH) == at_once) is is_at_once, "who is loaded last has seen all"
        with stores.warehouse.begin() as connection:
            recorded = [read_absences(connection, number) for number in known_series(connection).values()]
            told.append([[replace(one, first_seen=None) for one in each] for each in recorded])
        assert (pending == 0) is is_at_once
        assert is_sound(audit(stores))
        with stores.warehouse.begin() as connection:
            connection.exec_driver_sql("TRUNCATE candles, candle_revisions, checkpoints, absences, loads, quality")
        for series in (BTC, ETH):
            for file in stores.archive.files(series):
                stores.archive.set_aside(file)
    assert told[0] == told[1]
    assert {one.kind.value for each in told[0] for one in each} == {"no_trades", "outage", "halted"}
