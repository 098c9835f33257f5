"""Watching the pipeline: gaps that stay, fallback files that wait, dead channels, mistakes in feeds.toml, as notices.

What a task that fails tells of itself is not looked for here. What is history is told of to nobody: whoever loads the
past looks at it anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256

from etl.alerting import Alerting
from etl.fallbacks import waiting_fallbacks, warning_of
from etl.incidents import Severity
from etl.messages import Notice, PipelineKind, dead_channel_notice
from etl.problems import FEEDS, Place, root_of
from etl.schema import AbsenceKind
from etl.series import Series
from etl.settings import Settings
from etl.spelling import counted, sentence
from etl.stores import Stores
from etl.warehouse import Absence, Warehouse, failing_channels, open_absences, put_notice

DEAD_AFTER = timedelta(hours=1)
"""How long a channel has failed when people are told of it, by the others; shorter failures mend themselves."""
_SHOWN = 3  # stretches, or mistakes, in a message


def watch(stores: Stores, alerting: Alerting, now: datetime) -> list[Notice]:
    """Return what is wrong now, whether anybody was told of it or not.

    A notice's identity stays as long as what it tells of; mistakes in feeds.toml are told of once a day.

    Raises:
        StoreError: A store does not answer.
    """
    with stores.warehouse.begin() as connection:
        absences = open_absences(connection)
        channels = failing_channels(connection)
    return [
        *_old_gaps(absences.items(), alerting, now),
        *_fallbacks(stores, alerting, now),
        *_dead_channels(channels.items(), now),
        *_faulty_settings(stores.settings, now),
    ]


def tell(warehouse: Warehouse, notices: Iterable[Notice]) -> int:
    """Put notices into the outbox; return how many people have not heard of yet."""
    with warehouse.begin() as connection:
        return sum(put_notice(connection, notice) for notice in notices)


def _old_gaps(absences: Iterable[tuple[Series, list[Absence]]], alerting: Alerting, now: datetime) -> Iterator[Notice]:
    """Yield a notice for each load that missed candles which still nobody has: however many stretches they are."""
    for series, found in absences:
        by_load: defaultdict[datetime, list[Absence]] = defaultdict(list)
        for absence in found:
            if absence.first_seen is not None and _is_told(absence, alerting, now):
                by_load[absence.first_seen].append(absence)
        for first_seen, gaps in sorted(by_load.items()):
            yield _gap_notice(series, first_seen, gaps, now)


def _is_told(absence: Absence, alerting: Alerting, now: datetime) -> bool:
    """Return whether it has been open for so long, was missed while it was news, and has not been told of for ages."""
    since = _open_since(absence)
    was_news = absence.first_seen is not None and absence.first_seen - absence.span.end <= alerting.news
    return was_news and alerting.gap_older_than <= now - since <= alerting.gap_older_than + alerting.news


def _open_since(absence: Absence) -> datetime:
    """Return since when somebody should have had it, or said why it is not there."""
    if absence.kind is AbsenceKind.PENDING:
        # Too young to judge until it has settled, which is when it is asked for again; then it waits to be judged.
        return absence.next_probe or absence.asked_at or absence.span.end
    return absence.first_seen or absence.span.end


def _gap_notice(series: Series, first_seen: datetime, gaps: list[Absence], now: datetime) -> Notice:
    count = sum(gap.span.count(series.timeframe) for gap in gaps)
    hours = max(now - _open_since(gap) for gap in gaps) / timedelta(hours=1)
    shown = "; ".join(f"{gap.span} ({gap.kind})" for gap in gaps[:_SHOWN])
    more = f"; and {counted(len(gaps) - _SHOWN, 'more stretch', 'more stretches')}" if len(gaps) > _SHOWN else ""
    return Notice(
        identity=f"gap:{series}:{first_seen:%Y-%m-%dT%H:%M:%S.%fZ}",
        kind=PipelineKind.OLD_GAP,
        severity=Severity.HIGH,
        title=f"{series}: {counted(count, 'candle')} missing for {counted(round(hours), 'hour')}",
        detail=f"{shown}{more}. repair_gaps asks again by itself; chandler repair does so now, and says what it meets.",
        happened_at=gaps[0].span.start,
        exchange=series.exchange,
        symbol=series.symbol,
    )


def _fallbacks(stores: Stores, alerting: Alerting, now: datetime) -> Iterator[Notice]:
    for fallback in waiting_fallbacks(stores):
        if fallback.span.end <= now - alerting.news:
            continue  # months of the past: the red `warn` of whoever loads them says it
        yield Notice(
            identity=f"fallback:{fallback.path}",
            kind=PipelineKind.FALLBACK_FILE,
            severity=Severity.HIGH,
            title=f"{fallback.series}: candles could not be written as Parquet",
            detail=warning_of(fallback),
            happened_at=now,
            exchange=fallback.series.exchange,
            symbol=fallback.series.symbol,
        )


def _dead_channels(channels: Iterable[tuple[str, datetime]], now: datetime) -> Iterator[Notice]:
    for name, since in channels:
        if now - since >= DEAD_AFTER:
            yield dead_channel_notice(name, since)


def _faulty_settings(settings: Settings, now: datetime) -> Iterator[Notice]:
    """Yield a notice for each feed that is left out, and for each other table that has a mistake."""
    by_table: defaultdict[Place, list[str]] = defaultdict(list)
    for fault in settings.faults:
        by_table[root_of(fault.place)].append(fault.problem)
    for table, problems in by_table.items():
        name = ".".join(table)
        is_feed = len(table) > 1 and table[0] == FEEDS
        what = f"feed {table[1]} is left out" if is_feed else f"a mistake in {name or 'the file'}"
        shown = " ".join(sentence(problem) for problem in problems[:_SHOWN])
        more = f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        yield Notice(
            identity=f"settings:{name}:{sha256(repr(problems).encode()).hexdigest()[:12]}:{now:%Y-%m-%d}",
            kind=PipelineKind.FAULTY_SETTINGS,
            severity=Severity.HIGH,
            title=f"{settings.path.name}: {what}",
            detail=f"{shown}{more} Correct it: chandler feeds says whether all is right then.",
            happened_at=now,
        )
