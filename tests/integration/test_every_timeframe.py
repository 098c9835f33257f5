"""The whole path on every timeframe: what works for minutes works for days, and the other way round.

All timeframes go through one pair of stores, as feeds do; then each is looked at by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from etl import read_candles
from etl.accounting import account_for_loads
from etl.alerting import Alerting
from etl.alerts.addresses import Address
from etl.audit import SeriesAudit, audit, is_sound
from etl.coarse import read_coarse
from etl.coverage import read_coverage
from etl.days import read_day, read_series
from etl.delivery import Delivered, deliver
from etl.feeds_file import load_settings
from etl.importing import account, plan_import, run_import
from etl.judging import Judged
from etl.learning import Learning
from etl.marks import read_marks
from etl.pipeline import Wanted, ingest_all
from etl.progress import Outcome
from etl.quality import Period, report_quality
from etl.read import Source
from etl.repair import RepairReport, repair
from etl.replay import RecordedMarket, ReplayServer
from etl.schema import to_column, to_columns
from etl.series import Series, TimeRange, clip, utc_day
from etl.settings import ExchangeSettings, Settings
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import Timeframe, to_ms
from etl.validate import CleanReport
from etl.warehouse import LoadReport, Wish, known_series, list_incidents, read_absences
from etl.warehouse.aggregates import AGGREGATES, aggregate_name
from models import scorers, training
from models.judging import Round
from models.recent import ENOUGH, STEP, slots_before
from models.rounds import score_loads
from models.targets import Target
from models.trained import Trained
from tests.alerts.receivers import web_receiver
from tests.databases import fresh_database
from tests.models.made_up import walk

SLOTS = 800  # enough to train with
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)  # an archive file of any timeframe ends here
FIRST_ASKED, ASKED_AGAIN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)
HALT, OUTAGE, REFUSED, REVISED = range(60, 64), range(100, 112), 20, 240
FILE_SLOTS, FILE_LACKS = 90, range(30, 45)
LIVE = range(SLOTS, SLOTS + 8)  # what comes last, with a crash in the last candle
CRASH, CHANGE = 0.7, 1.0001
Absences = list[tuple[str, int, int]]
ALERTING = Alerting.model_validate(
    {
        "gather_s": 0,
        "channels": {"desk": {"allow_private": True, "timeout_s": 60}},
        "routes": [{"channels": ["desk"]}],
    }
)
every_timeframe = pytest.mark.parametrize("timeframe", list(Timeframe))


def span_of(timeframe: Timeframe, slots: range = range(SLOTS)) -> TimeRange:
    """Return what these slots span; the 150th opens with the year."""
    start = NEW_YEAR - 150 * timeframe.delta
    return TimeRange(start + slots.start * timeframe.delta, start + slots.stop * timeframe.delta)


def btc(timeframe: Timeframe) -> Series:
    """Return the series that is halted for a while."""
    return Series("binance", "BTC/USDT", timeframe)


def eth(timeframe: Timeframe) -> Series:
    """Return the series that has a row to refuse, and a candle that is revised."""
    return Series("binance", "ETH/USDT", timeframe)


def filed(timeframe: Timeframe) -> Series:
    """Return the series that comes out of a file."""
    return Series("bitstamp", "BTC/USD", timeframe)


@dataclass(frozen=True, slots=True)
class Journey:
    """Results of all timeframes.

    Attributes:
        judged: What the first classification left, by series: kind, first slot, end.
        imported: What became of the lines of each timeframe's file.
        received: What a channel was sent: the text of each message, and how many files came with it.
    """

    stores: Stores
    outcome: Outcome
    judged: Mapping[Series, Absences]
    repaired: RepairReport
    imported: Mapping[Timeframe, CleanReport]
    last_judged: Judged
    trained: Mapping[Timeframe, Trained]
    scored: Mapping[Timeframe, Round]
    delivered: Delivered
    received: Sequence[tuple[str, int]]
    audits: Mapping[Series, SeriesAudit]


class Noted(Outcome):
    """A watcher that takes note of loads and failures."""

    def planned(self, series: Series, partitions: object) -> None:
        """Nothing is shown."""

    def arrived(self, partition: Partition, candles: int, used_weight: int, permitted_weight: int) -> None:
        """Nothing is shown."""

    def loaded(self, partition: Partition, report: LoadReport) -> None:
        """Note a load."""
        self.loads.append((partition, report))

    def failed(self, series: Series, error: Exception) -> None:
        """Note a failure."""
        self.failures.append(error)


@pytest.fixture(scope="module")
def journey(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """Ingest and judge, let the exchange fill and change things, repair, ingest again, import, judge.

    Then train, ingest what has come meanwhile, score it, tell people of it, and audit. Only baselines are trained: each
    scorer has tests of its own.
    """
    home = tmp_path_factory.mktemp("every_timeframe")
    noted = Noted()
    with fresh_database(postgres) as url, pytest.MonkeyPatch.context() as patch, web_receiver() as web:
        patch.setattr(scorers, "SCORERS", {name: scorers.SCORERS[name] for name in ("ewma_z", "seasonal_z")})
        patch.setattr(scorers, "LEARNED", "ewma_z")
        with _stores(home, url, _market(home / "first", is_later=False), FIRST_ASKED) as stores:
            for timeframe in Timeframe:
                _ingest(stores, noted, span_of(timeframe), [btc(timeframe), eth(timeframe)], "ingest")
            judged = {
                one: _absences(stores, one) for timeframe in Timeframe for one in (btc(timeframe), eth(timeframe))
            }
        with _stores(home, url, _market(home / "second", is_later=True), ASKED_AGAIN) as stores:
            repaired = repair(stores, "binance", ASKED_AGAIN, "repair")
            for timeframe in Timeframe:
                _ingest(stores, noted, span_of(timeframe, range(230, 250)), [eth(timeframe)], "again")
            imported = {timeframe: _import(stores, home, timeframe) for timeframe in Timeframe}
            trained = {timeframe: _train(stores, timeframe) for timeframe in Timeframe}
            for timeframe in Timeframe:
                _ingest(stores, noted, span_of(timeframe, LIVE), [btc(timeframe), eth(timeframe)], "live")
            last_judged = account_for_loads(stores, None, "account")
            scored = {timeframe: _score(stores, timeframe) for timeframe in Timeframe}
            delivered = deliver(stores.warehouse, ALERTING, lambda _: Address(web.url()), "deliver", wait=False)
            audits = {one.series: one for one in audit(stores)}
            received = [(str(one.json["message"]), len(one.json["attachments"])) for one in web.requests]
            yield Journey(
                stores, noted, judged, repaired, imported, last_judged, trained, scored, delivered, received, audits
            )


def test_nothing_stops_on_the_way(journey: Journey) -> None:
    """No ingest, repair, import or classification has failed, of any timeframe."""
    assert journey.outcome.failures == []
    assert journey.repaired.failures == []
    assert journey.last_judged.failures == {}
    assert len(journey.audits) == 3 * len(Timeframe)


@every_timeframe
def test_silences_are_told_apart(journey: Journey, timeframe: Timeframe) -> None:
    """All silent is an outage, one alone a halt, and a refused row a refusal, however wide the slots are."""
    outage = ("outage", OUTAGE.start, OUTAGE.stop)
    assert journey.judged[btc(timeframe)] == [("halted", HALT.start, HALT.stop), outage]
    assert journey.judged[eth(timeframe)] == [("refused", REFUSED, REFUSED + 1), outage]


@every_timeframe
def test_what_appears_later_is_repaired(journey: Journey, timeframe: Timeframe) -> None:
    """The exchange fills its outage and mends its row; the halt stays one."""
    assert _absences(journey.stores, btc(timeframe)) == [("halted", HALT.start, HALT.stop)]
    assert _absences(journey.stores, eth(timeframe)) == []


@every_timeframe
def test_a_file_is_imported_whole(journey: Journey, timeframe: Timeframe) -> None:
    """Each line is accepted; what the file lacks is absent with a kind."""
    report = journey.imported[timeframe]
    assert (report.rows, report.accepted) == (FILE_SLOTS - len(FILE_LACKS), FILE_SLOTS - len(FILE_LACKS))
    ((kind, start, end),) = _absences(journey.stores, filed(timeframe))
    assert (start, end) == (FILE_LACKS.start, FILE_LACKS.stop)
    assert kind != "pending"


@every_timeframe
def test_the_audit_is_sound_and_complete(journey: Journey, timeframe: Timeframe) -> None:
    """Every slot is expected, and stored or absent, in both stores."""
    counts = {}
    for series in (btc(timeframe), eth(timeframe), filed(timeframe)):
        account_of = journey.audits[series]
        assert is_sound([account_of]), account_of.problems
        counts[series.symbol] = (account_of.expected, account_of.stored, sum(account_of.absent.values()))
    lacking = len(FILE_LACKS)
    assert counts == {
        "BTC/USDT": (LIVE.stop, LIVE.stop - len(HALT), len(HALT)),
        "ETH/USDT": (LIVE.stop, LIVE.stop, 0),
        "BTC/USD": (FILE_SLOTS, FILE_SLOTS - lacking, lacking),
    }


@every_timeframe
def test_quality_counts_every_slot_once(journey: Journey, timeframe: Timeframe) -> None:
    """By day and as a whole: expected, stored, absent by kind, and the value that was revised."""
    wanted = (btc(timeframe), eth(timeframe))
    by_day, by_month = (report_quality(journey.stores.warehouse, wanted, by=by) for by in (Period.DAY, Period.MONTH))
    for days, months in zip(by_day, by_month, strict=True):
        assert days.whole == months.whole
        assert days.whole.expected == LIVE.stop
    halted, revised = (one.whole for one in by_day)
    assert (halted.stored, halted.absent) == (LIVE.stop - len(HALT), {"halted": len(HALT)})
    assert (revised.stored, revised.absent, revised.revisions) == (LIVE.stop, {}, 1)


@every_timeframe
def test_both_stores_are_read_alike_and_the_past_is_kept(journey: Journey, timeframe: Timeframe) -> None:
    """Warehouse and archive give the same candles; as of a moment before the revision the earlier value stands."""
    settings, series, span = journey.stores.settings, eth(timeframe), span_of(timeframe)
    now = read_candles(series, span, settings=settings)
    assert now.num_rows == SLOTS
    assert now == read_candles(series, span, source=Source.ARCHIVE, settings=settings)
    with journey.stores.warehouse.begin() as connection:
        replaced_at = connection.execute(
            text("SELECT min(replaced_at) FROM candle_revisions JOIN series ON id = series_id WHERE timeframe = :one"),
            {"one": timeframe.value},
        ).scalar_one()
    then = read_candles(series, span, as_of=replaced_at - timedelta(milliseconds=1), settings=settings)
    before, after = (float(to_column(candles, "close")[REVISED]) for candles in (then, now))
    assert after == pytest.approx(CHANGE * before, rel=1e-12)


@every_timeframe
def test_the_market_page_shows_it(journey: Journey, timeframe: Timeframe) -> None:
    """Extents, days, a day, candles of any width and marks: each agrees with what is stored."""
    series, span = btc(timeframe), span_of(timeframe)
    last = span_of(timeframe, LIVE)
    halt = span_of(timeframe, HALT)
    with journey.stores.warehouse.begin() as connection:
        (facts,) = (one for one in read_series(connection) if one.series == str(series))
        (cover,) = read_coverage(connection, span, [series])
        whole = read_coarse(connection, series, span)
        few = read_coarse(connection, series, span, most=10)
        marks = read_marks(connection, series, span)
        day = read_day(connection, series, halt.start.date())
    assert (facts.first, facts.watermark) == (span.start, last.end)
    assert cover.per_day == Timeframe.D1.ms // timeframe.ms
    shown = Counter[str]()
    for counts in cover.missing.values():
        shown.update(counts)
    assert shown == {"halted": len(HALT)}
    assert set(cover.states) == {"s", "h"}
    assert whole.width is timeframe
    assert whole.counts.tolist() == [1] * (SLOTS - len(HALT))
    assert few.counts.sum() >= SLOTS - len(HALT), "the last wide candle is whole, beyond what was asked for"
    assert few.width.ms >= timeframe.ms
    (mark,) = marks.absences
    assert (mark.start, mark.end, mark.kind) == (halt.start, halt.end, "halted")
    (absence,) = day.absences
    on_day = clip(halt, utc_day(halt.start.date()))
    assert on_day is not None
    assert (absence.start, absence.kind, absence.slots) == (halt.start, "halted", on_day.count(timeframe))


@every_timeframe
def test_a_model_judges_and_people_are_told(journey: Journey, timeframe: Timeframe) -> None:
    """A champion is trained, finds the crash of the last candle, and one message of it arrives."""
    assert journey.trained[timeframe].champion.scorer in ("ewma_z", "seasonal_z")
    outcome = journey.scored[timeframe]
    assert outcome.waiting is None
    unjudged = LIVE.stop - len(HALT) - outcome.candles  # the first, of which nobody knows yet what is usual
    assert 0 <= unjudged <= (ENOUGH + STEP if slots_before(timeframe) else 0)
    with journey.stores.warehouse.begin() as connection:
        crash = span_of(timeframe, range(LIVE.stop - 1, LIVE.stop))
        (incident,) = list_incidents(connection, Wish([btc(timeframe)], time_range=crash))
    assert (incident.found.peak, incident.is_history) == (crash.start, False)
    assert incident.found.evidence.move_pct == pytest.approx(100 * (CRASH - 1), abs=1)
    assert outcome.alerts == 1
    told = [charts for message, charts in journey.received if f"incidents show {incident.id}`" in message]
    assert told == [1], "one message, with its chart"


def test_every_alert_is_delivered(journey: Journey) -> None:
    """One message for each timeframe, and no other."""
    assert journey.delivered.sent == len(journey.received) == len(Timeframe)


def test_minutes_alone_are_aggregated(journey: Journey) -> None:
    """Coarser candles are made of `1m` alone, each stored minute in one of each width."""
    with journey.stores.warehouse.begin() as connection:
        known = known_series(connection)
        expected = {known[btc(Timeframe.M1)]: LIVE.stop - len(HALT), known[eth(Timeframe.M1)]: LIVE.stop}
        expected[known[filed(Timeframe.M1)]] = FILE_SLOTS - len(FILE_LACKS)
        for width in AGGREGATES:
            sums = f"SELECT series_id, sum(candles)::int FROM {aggregate_name(width)} GROUP BY 1"  # noqa: S608  # our names
            assert dict(map(tuple, connection.execute(text(sums)))) == expected


@contextmanager
def _stores(home: Path, url: str, market: RecordedMarket, now: datetime) -> Iterator[Stores]:
    with ReplayServer(market, clock=lambda: to_ms(now)) as server:
        own = ExchangeSettings.model_validate({"base_url": server.url, "repair_share": 1})
        settings = load_settings(None, home=home / "home", warehouse_url=url, exchanges={"binance": own})
        with open_stores(settings) as stores:
            yield stores


def _ingest(stores: Stores, noted: Noted, span: TimeRange, series: list[Series], run: str) -> None:
    ingest_all(stores, Wanted(series, span.start, span.end, None, run), noted)


def _train(stores: Stores, timeframe: Timeframe) -> Trained:
    end = span_of(timeframe).end
    return training.train(stores.warehouse, _learning(stores, timeframe), Target(timeframe), end, "night")


def _score(stores: Stores, timeframe: Timeframe) -> Round:
    now = span_of(timeframe, LIVE).end
    settings = _learning(stores, timeframe)
    return score_loads(stores.warehouse, settings, ALERTING, btc(timeframe), run="score", now=now)


def _learning(stores: Stores, timeframe: Timeframe) -> Settings:
    """Return settings by which so few candles are enough; their thirds are whole days where they are days."""
    width = timeframe.delta
    learning = Learning(history=SLOTS * width, least_history=(SLOTS - 10) * width, held_out=576 * width)
    return stores.settings.model_copy(update={"models": learning})


def _import(stores: Stores, home: Path, timeframe: Timeframe) -> CleanReport:
    span = span_of(timeframe, range(FILE_SLOTS))
    times = np.delete(np.arange(span.start_ms, span.end_ms, timeframe.ms), FILE_LACKS)
    path = home / f"{timeframe}.csv"
    rows = [f"{at},100,101,99,100,{5 + at // timeframe.ms % 3}" for at in times.tolist()]
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]))
    return account(list(run_import(stores, plan_import(stores, path, filed(timeframe)))))


def _absences(stores: Stores, series: Series) -> Absences:
    start_ms, width_ms = span_of(series.timeframe).start_ms, series.timeframe.ms
    with stores.warehouse.begin() as connection:
        return [
            (one.kind.value, (one.span.start_ms - start_ms) // width_ms, (one.span.end_ms - start_ms) // width_ms)
            for one in read_absences(connection, known_series(connection)[series])
        ]


def _market(folder: Path, *, is_later: bool) -> RecordedMarket:
    """Return a market of two symbols that stumbles; later it has filled its outage, and mended and changed a row."""
    for timeframe in Timeframe:
        for seed, (series, lacks) in enumerate(((btc(timeframe), HALT), (eth(timeframe), range(0)))):
            span = span_of(timeframe, range(LIVE.stop))
            times = np.arange(span.start_ms, span.end_ms, timeframe.ms)
            values = to_columns(walk(LIVE.stop, seed=seed, timeframe=timeframe))
            columns = {name: values[name].copy() for name in ("open", "high", "low", "close", "volume")}
            if series == eth(timeframe):
                columns["close"][REVISED] *= CHANGE if is_later else 1.0
                columns["high"][REVISED] *= 1.01
                columns["low"][REFUSED] *= 1.0 if is_later else -1.0
            else:
                columns["close"][-1] = CRASH * columns["open"][-1]
                columns["low"][-1] = columns["close"][-1]
            absent = [*lacks] if is_later else [*lacks, *OUTAGE]
            path = folder / "binance" / series.symbol.replace("/", "-") / f"{timeframe}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = {"open_time": pa.array(np.delete(times, absent)).cast(pa.timestamp("ms", tz="UTC"))}
            pq.write_table(
                pa.table(table | {name: np.delete(values, absent) for name, values in columns.items()}), path
            )
    return RecordedMarket(folder)
