"""The nightly maintenance of the stores, step by step. Each may be killed at any moment, and run again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from sqlalchemy import text

from etl.audit import audit, is_sound, mend
from etl.errors import ChandlerError, ConfigError, StoreError
from etl.extract import at_rest, prune
from etl.fallbacks import convert_fallbacks
from etl.health import Sample, check_archive
from etl.retention import retire_candles
from etl.schema import to_columns
from etl.series import Series, TimeRange, subtract
from etl.spelling import counted
from etl.stores import Stores
from etl.timeframe import EPOCH, Timeframe
from etl.traffic import KEPT
from etl.warehouse import (
    adapt,
    covered_ranges,
    days_without_candle,
    drop_empty_chunks,
    fold_requests,
    known_series,
    lock_series,
    make_day_candles,
    read_candles_at_once,
    read_flagged_by,
    refresh_aggregates,
    try_lock_partition,
    unlock_partition,
    with_retired,
    write_day_candles,
)

log = logging.getLogger(__name__)

_NIGHTS = 30  # after which every file of the archive was read
_AT_ONCE = timedelta(days=90)
# Where that many rows are dead, and that large a part of all, PostgreSQL's own autovacuum may be hours away.
_DEAD = """
SELECT schemaname, relname, n_dead_tup FROM pg_stat_user_tables
WHERE n_dead_tup > 50000 AND n_dead_tup > 0.1 * (n_live_tup + n_dead_tup) ORDER BY n_dead_tup DESC
"""


@dataclass(frozen=True, slots=True)
class Done:
    """Result of a step.

    Attributes:
        what: For a person.
        problems: What is wrong and what to do about it, a sentence each.
    """

    what: str
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StepReport:
    """Report of a step."""

    step: str
    done: Done
    seconds: float


Step = Callable[[Stores, datetime], Done]
"""Given the moment for which it is done, by which ages are reckoned."""


def convert(stores: Stores, moment: datetime) -> Done:
    """Make Parquet of fallbacks."""
    outcomes = list(convert_fallbacks(stores))
    failed = [f"{one.fallback.path} still waits: {one.failure}" for one in outcomes if one.failure is not None]
    return Done(f"{len(outcomes) - len(failed)} fallbacks made Parquet", failed)


def fold_raw(stores: Stores, moment: datetime) -> Done:
    """Fold raw pages that a load has left behind which was killed, or tried again over another range."""
    folded, problems = 0, []
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
        covered = {series: covered_ranges(connection, series_id) for series, series_id in known.items()}
    for partition in at_rest(stores.raw, moment):
        if subtract(partition.time_range, covered.get(partition.series, [])):
            continue  # a fetch may go on from there
        if not try_lock_partition(stores.warehouse, partition.series, partition.time_range):
            continue  # a process works on it
        try:
            partition.fold_rest()
        except FileNotFoundError:
            continue  # a load has just folded them
        except StoreError as error:
            problems.append(str(error))
        else:
            folded += 1
            log.info("%s %s: raw pages folded, that were left behind", partition.series, partition.time_range)
        finally:
            unlock_partition(stores.warehouse, partition.series, partition.time_range)
    return Done(f"{counted(folded, 'partition')} left behind folded", problems)


def prune_raw(stores: Stores, moment: datetime) -> Done:
    """Remove raw pages that have been kept for long enough."""
    keep = stores.settings.keep.raw
    pruned = prune(stores.raw, moment, keep)
    days, size_mb = keep / timedelta(days=1), pruned.size_bytes / 1e6
    age = f"{days:g} day" if days == 1 else f"{days:g} days"
    what = f"{counted(pruned.files, 'file')} of raw pages removed, {size_mb:,.1f} MB, older than {age}"
    return Done(what)


def flag_again(stores: Stores, moment: datetime) -> Done:
    """Flag the candles again that earlier rules have flagged, or the same with other parameters, where all is sound."""
    earlier, wrong = [], {}
    with stores.warehouse.begin() as connection:
        for series, series_id in known_series(connection).items():
            try:
                if read_flagged_by(connection, series_id) != stores.settings.flagging_of(series):
                    earlier.append(series)
            except ConfigError as error:
                wrong[series.exchange] = error.message
    flagged = 0
    problems = [f"candles of {exchange} are not flagged again: {message}" for exchange, message in wrong.items()]
    for series in earlier:
        (found,) = audit(stores, [series])
        if not is_sound([found]):
            problems.append(f"{series} cannot be flagged again before it is mended: chandler audit {series} --fix")
            continue
        mend(stores, [found])
        flagged += found.flagged_otherwise
    return Done(f"{counted(flagged, 'candle')} of {len(earlier)} series flagged again", problems)


def retire(stores: Stores, moment: datetime) -> Done:
    """Take candles out of the warehouse that the archive alone is to keep."""
    report = retire_candles(stores, moment)
    if report.horizon is None:
        return Done("the warehouse keeps all candles")
    what = f"{counted(report.candles, 'candle')} from before {report.horizon:%Y-%m-%d} retired from the warehouse"
    return Done(what, report.problems)


def make_days(stores: Stores, moment: datetime) -> Done:
    """Make the candles of days that an earlier version has counted, which made none."""
    made, problems, waiting = 0, [], _days_without_candle(stores)
    for series, series_id, spans in waiting:
        for piece in (piece for span in spans for piece in span.windows(_AT_ONCE // timedelta(milliseconds=1))):
            try:
                made += _make_days(stores, series, series_id, piece)
            except StoreError as error:
                problems.append(f"{series} {piece}: {error.message}")
    for series, _, spans in _days_without_candle(stores) if waiting else ():
        days, within = sum(span.count(Timeframe.D1) for span in spans), TimeRange(spans[0].start, spans[-1].end)
        problems.append(f"{series} {within}: {counted(days, 'day')} without a candle; chandler audit {series}")
    return Done(f"the candles of {counted(made, 'day')} made, counted without before", problems)


def _days_without_candle(stores: Stores) -> list[tuple[Series, int, list[TimeRange]]]:
    with stores.warehouse.begin() as connection:
        found = [(*one, days_without_candle(connection, one[1])) for one in known_series(connection).items()]
    return [one for one in found if one[2]]


def _make_days(stores: Stores, series: Series, series_id: int, days: TimeRange) -> int:
    with stores.warehouse.begin() as connection:
        lock_series(connection, series_id)
        stored = read_candles_at_once(connection, series_id, days)
        held = with_retired(connection, series_id, days, stored, lambda span: stores.archive.read(series, span))
        candles = make_day_candles(days, to_columns(held))
        write_day_candles(connection, series_id, candles)
    return len(candles)


def check_sample(stores: Stores, moment: datetime) -> Done:
    """Read a part of the archive's files, another one each night."""
    health = check_archive(stores, sample=Sample((moment - EPOCH).days % _NIGHTS, _NIGHTS))
    files, rows = sum(one.checked for one in health.series), sum(one.rows for one in health.series)
    problems = [f"{one.path}: {one.what}; {one.remedy}" for one in health.all_ailments]
    return Done(f"{counted(files, 'file')} read, {counted(rows, 'candle')}", problems)


def tend_warehouse(stores: Stores, moment: datetime) -> Done:
    """Let TimescaleDB do as the settings say, drop the chunks that all candles have left, and sum up old requests."""
    with stores.warehouse.begin() as connection:
        adapt(connection, stores.settings.keep.uncompressed)
        keep = stores.settings.keep.warehouse
        dropped = 0 if keep is None else drop_empty_chunks(connection, moment - keep)
        fold_requests(connection, moment - KEPT)
    return Done(f"{dropped} empty chunks dropped")


def refresh(stores: Stores, moment: datetime) -> Done:
    """Count coarser candles anew where finer ones have changed."""
    refresh_aggregates(stores.warehouse)
    return Done("coarser candles are up to date")


def vacuum(stores: Stores, moment: datetime) -> Done:
    """Make room in tables of which much has changed."""
    with stores.warehouse.begin() as connection:
        dead = connection.execute(text(_DEAD)).all()
    with stores.warehouse.translated(), stores.warehouse.engine.connect() as connection:
        free = connection.execution_options(isolation_level="AUTOCOMMIT")
        for schema, table, count in dead:
            log.info("vacuuming %s.%s, which has %d dead rows", schema, table, count)
            statement = sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(schema, table))
            free.exec_driver_sql(statement.as_string())
    return Done(f"{len(dead)} tables vacuumed")


STEPS: Mapping[str, Step] = {
    "convert": convert,
    "fold_raw": fold_raw,
    "prune_raw": prune_raw,
    "make_days": make_days,
    "flag_again": flag_again,
    "retire": retire,
    "tend_warehouse": tend_warehouse,
    "check_sample": check_sample,
    "refresh_aggregates": refresh,
    "vacuum": vacuum,
}
"""In the order in which they are done; none needs another one to have come through."""


def run_step(stores: Stores, step: str, moment: datetime) -> StepReport:
    """Do one of STEPS.

    Raises:
        StoreError: A store refuses or went away.
    """
    started = time.monotonic()
    done = STEPS[step](stores, moment)
    log.info("%s: %s", step, done.what)
    return StepReport(step, done, time.monotonic() - started)


def maintain(stores: Stores, moment: datetime) -> Iterator[StepReport]:
    """Do all STEPS, and yield how each went; one that fails does not keep the others."""
    for step in STEPS:
        started = time.monotonic()
        try:
            yield run_step(stores, step, moment)
        except ChandlerError as error:
            yield StepReport(step, Done("failed", [error.message]), time.monotonic() - started)


def summary_lines(reports: Sequence[StepReport]) -> list[str]:
    """Return the reports as plain text, aligned, with what is wrong below."""
    width = max(len(report.step) for report in reports)
    lines = [f"{report.step:<{width}}  {report.seconds:8.1f} s  {report.done.what}" for report in reports]
    return lines + [f"{report.step}: {problem}" for report in reports for problem in report.done.problems]
